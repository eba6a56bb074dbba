"""logits-SAM: only the output layer is perturbed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lowland.parameters.parallel import owner_of

HEAD = "head"
"""The word that stands for the output layer among the patterns of `perturb`."""


def head_of(module: nn.Module) -> list[Tensor]:
    """Finds the parameters of the layer that gives the logits: the model's own, else its last `nn.Linear`."""
    inner = owner_of(module, "get_output_embeddings")
    head = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if head is None:
        layers = [part for part in inner.modules() if type(part) is nn.Linear]
        head = layers[-1] if layers else None
    if head is None:
        raise ValueError("perturb='head': the model has no output layer that is an nn.Linear.")
    own = list(head.parameters())
    others = {id(p) for part in inner.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
    if any(id(parameter) in others for parameter in own):
        raise ValueError(
            "perturb='head': the output layer shares its weights with the token embeddings, so that a "
            "perturbation of the head alone cannot be had. Use a model whose weights are not tied."
        )
    return own


def only_head(module: nn.Module | None) -> Callable[[str, Tensor], bool]:
    """Makes the choice of `perturb` that is the output layer."""
    if module is None:
        raise ValueError("perturb='head' needs the module: hand it to SAM instead of its parameters.")
    chosen = {id(parameter) for parameter in head_of(module)}
    return lambda name, parameter: id(parameter) in chosen

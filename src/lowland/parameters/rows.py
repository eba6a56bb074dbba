"""Tables of embeddings: of their many rows a batch uses few, and only these have a gradient and are moved."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor, nn

MANY = 1000
"""Rows from which on a table is worth the trouble; of a smaller one most rows occur."""


def is_table(module: nn.Module) -> TypeGuard[nn.Embedding]:
    """Says whether a module is a table of which a batch uses few rows, with weights of its own.

    Computed or sharded weights, and those with a hook on their gradient, do not take sparse gradients.
    """
    if type(module) is not nn.Embedding or module.num_embeddings < MANY or module.scale_grad_by_freq:
        return False
    weight = module.weight
    hooks = weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None)
    return type(weight) is nn.Parameter and weight.requires_grad and not hooks


def dense_tables(module: nn.Module) -> list[nn.Embedding]:
    """Lists the large tables of a module whose gradients are dense and could be sparse.

    A compiled module has none: it would be compiled twice.
    """
    if any(hasattr(part, "_orig_mod") for part in module.modules()):
        return []
    return [
        part
        for part in module.modules()
        if is_table(part) and part.weight.device.type in ("cpu", "cuda") and not part.sparse
    ]


def by_rows(gradient: Tensor) -> Tensor:
    """Leaves a sparse gradient as it is where it names whole rows, and not many; fills up any other."""
    if not gradient.is_sparse:
        return gradient
    few = gradient.sparse_dim() == 1 and 2 * gradient._nnz() <= len(gradient)
    return gradient if few else gradient.to_dense()

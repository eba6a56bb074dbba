"""The methods on tiny models of all three families, through the laboratory's own losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families.test_losses import CPU, EXAMPLES, batch_of, classes
from tests.families.tiny import write_model
from torch import Tensor
from torch.nn.functional import cross_entropy

import lowland
from lowland.batches.batch import rows
from lowland.families.base import Family
from lowland.families.recognise import load_family
from lowland.families.settings import FamilySettings
from lowland.sam import SAMConfig
from lowland.train.loss import token_loss

HEADS = {
    "mt5": ["lm_head.weight"],
    "llama": ["lm_head.weight"],
    "bert": ["classifier.weight", "classifier.bias"],
}
A = 2


def made(tmp_path: Path, kind: str) -> Family:
    """A tiny model, without dropout."""
    path = write_model(tmp_path / kind, kind)
    start = classes(*(example.targets for example in EXAMPLES)) if kind == "bert" else None
    family = load_family(str(path), settings=FamilySettings(), start=start)
    family.loaded.model.eval()
    return family


def scored(family: Family, batch: dict[str, Tensor], kind: str) -> tuple[Tensor, Any]:
    """The logits of a batch by the library's own forward pass, and the loss of such logits."""
    model: Any = family.loaded.model
    if kind == "bert":
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return logits, lambda scores: cross_entropy(scores, batch["labels"])
    logits, labels = family.scores(model, batch)  # type: ignore[attr-defined]
    return logits, lambda scores: token_loss(scores, labels)


def close(model: Any, expected: list[Tensor]) -> None:
    """The model's gradients are as expected."""
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        # 1e-5: float32, summed in another order by trimmed and padded batches.
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def shift(parameters: list[Tensor], directions: Any, rho: float) -> None:
    """Moves weights by rho along directions."""
    norm = torch.cat([direction.flatten() for direction in directions]).norm()
    with torch.no_grad():
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.add_(direction, alpha=float(rho / norm))


@pytest.mark.parametrize("kind", HEADS)
def test_logits_sam(kind: str, tmp_path: Path) -> None:
    """perturb="head" is the gradient after the head's weights are moved by hand, and they alone."""
    family = made(tmp_path, kind)
    model, batch = family.loaded.model, batch_of(family, EXAMPLES)
    loss_fn = family.loss(CPU)
    sam = lowland.SAM(loss_fn.module, SAMConfig(rho=0.3, ascent_examples=A, perturb="head"))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    sam(loss_fn, batch)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())

    head = [model.get_parameter(name) for name in HEADS[kind]]
    logits, loss = scored(family, rows(batch, 0, A), kind)
    shift(head, torch.autograd.grad(loss(logits), head), 0.3)
    logits, loss = scored(family, batch, kind)
    close(model, list(torch.autograd.grad(loss(logits), list(model.parameters()))))


@pytest.mark.parametrize("kind", HEADS)
def test_functional(kind: str, tmp_path: Path) -> None:
    """Functional SAM is J(w_adv)^T dL/dlogits(w) of the library's model."""
    family = made(tmp_path, kind)
    model, batch = family.loaded.model, batch_of(family, EXAMPLES)
    loss_fn = family.loss(CPU)
    lowland.SAM(loss_fn.module, SAMConfig(rho=0.3, ascent_examples=A, functional=True))(loss_fn, batch)

    parameters = list(model.parameters())
    logits, loss = scored(family, batch, kind)
    (slope,) = torch.autograd.grad(loss(logits), logits)
    logits, loss = scored(family, rows(batch, 0, A), kind)
    shift(parameters, torch.autograd.grad(loss(logits), parameters), 0.3)
    logits, _ = scored(family, batch, kind)
    close(model, list(torch.autograd.grad(logits, parameters, slope)))


def test_a_tied_head_is_refused(tmp_path: Path) -> None:
    """Where the head is the table of embeddings, a perturbation would move both, and a sentence says so."""
    model = made(tmp_path, "gpt2").loaded.model
    with pytest.raises(ValueError, match="shares its weights with the token embeddings"):
        lowland.SAM(model, SAMConfig(perturb="head"))

"""What goes wrong in an ascent pass is said in sentences that name it, and SAM is never silently off."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.sam.toys import batch_of, loss_of, mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import lowland


def contrastive(encoder: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A loss with in-batch negatives: one pair alone has none, and a loss of 0."""
    scores = encoder(batch[0]) @ encoder(batch[1]).T
    return nn.functional.cross_entropy(scores, torch.arange(len(scores)))


def test_in_batch_negatives() -> None:
    """Where the ascent's gradient is zero in three steps, one warning names the ascent and its setting."""
    encoder, pairs = mlp(torch.float32), (torch.randn(4, 6), torch.randn(4, 6))
    sam = lowland.SAM(encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            sam(lambda batch: contrastive(encoder, batch), pairs)
    with pytest.warns(UserWarning, match=r"ascent examples \(1 of 4\) is zero.*set ascent_examples="):
        sam(lambda batch: contrastive(encoder, batch), pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sam(lambda batch: contrastive(encoder, batch), pairs).radius == 0


def test_a_radius_that_is_hardly_meant() -> None:
    """A radius far above those in use is warned of once; ASAM's has another meaning."""
    with pytest.warns(UserWarning, match=r"rho=5 is far above the radii in use, 0\.02 to 0\.4"):
        lowland.SAM(mlp(torch.float32), rho=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lowland.SAM(mlp(torch.float32), lowland.SAMConfig(rho=5, adaptive=True))
        lowland.SAM(mlp(torch.float32), rho=2)


@pytest.mark.parametrize(
    ("parameters", "options", "said"),
    [
        (torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1), {}, r"given a SGD\. Give the model"),
        (None, {}, r"given a NoneType\. Give the model"),
        (mlp(torch.float32), {"micro_batch_size": "4"}, "micro_batch_size='4'. Must be a whole number"),
        (mlp(torch.float32), {"micro_batch_size": 2.5}, "micro_batch_size=2.5. Must be a whole number"),
        (mlp(torch.float32), {"rho": "0.05"}, "rho='0.05'. Must be a finite number"),
    ],
)
def test_what_is_of_a_wrong_kind(parameters: Any, options: dict[str, Any], said: str) -> None:
    """Arguments of a wrong kind are answered in a sentence that says what to give."""
    with pytest.raises(ValueError, match=said):
        lowland.SAM(parameters, **options)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_counts_must_be_counts(wrong: float) -> None:
    """What a micro-batch weighs must be a finite number that is not negative, or no gradient is."""
    model = mlp(torch.float32)
    sam = lowland.SAM(model, micro_batch_size=4, count=lambda batch: wrong)
    with pytest.raises(ValueError, match="count= must give finite numbers >= 0"):
        sam(loss_of(model), batch_of(8, torch.float32))


@pytest.mark.parametrize("perturb", [3, ["*", 3]])
def test_patterns_are_texts(perturb: Any) -> None:
    """What are no patterns of names is refused when the settings are made."""
    with pytest.raises(ValueError, match="Must be patterns of names, or a function of them"):
        lowland.SAMConfig(perturb=perturb)


def test_no_warning_of_what_was_asked_for() -> None:
    """Radius 0, and a step without a direction between steps with one, are not warned of."""
    model, batch = mlp(), batch_of(8)
    off, on = lowland.SAM(model, rho=0.0), lowland.SAM(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(8):
            off(loss_of(model), batch)
            on(lambda piece, step=step: loss_of(model)(piece) * (step % 3 > 0), batch)


def test_nan_is_told() -> None:
    """An ascent gradient that is not finite three times running is warned of, too."""
    model = mlp()
    sam = lowland.SAM(model)

    def loss(batch: dict[str, Tensor]) -> Tensor:
        return loss_of(model)(batch) * float("nan")

    sam(loss, batch_of(8))
    sam(loss, batch_of(8))
    with pytest.warns(UserWarning, match=r"is not finite"):
        sam(loss, batch_of(8))


def test_batch_norm() -> None:
    """BatchNorm's error on an ascent of one example names the ascent; a larger ascent works."""
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    with pytest.raises(ValueError, match="more than 1 value per channel") as caught:
        lowland.SAM(model)(lambda x: model(x).square().mean(), torch.randn(4, 6))
    assert "the first 1 of" in caught.value.__notes__[0]
    info = lowland.SAM(model, ascent=0.5)(lambda x: model(x).square().mean(), torch.randn(4, 6))
    assert info.radius == pytest.approx(0.15, rel=1e-4)  # fp32


def test_other_errors_are_noted() -> None:
    """Another error in the ascent stays what it is, with a note that says where it was raised."""
    model = mlp()

    def loss(batch: dict[str, Tensor]) -> Tensor:
        chosen, rejected = batch["x"].chunk(2)  # one example has no second half
        return (model(chosen) - model(rejected)).mean()

    with pytest.raises(ValueError, match="unpack") as caught:
        lowland.SAM(model)(loss, batch_of(4))
    assert "SAM's ascent pass, which sees the first 1 of" in caught.value.__notes__[0]


def test_reentrant_checkpointing_in_a_whole_model() -> None:
    """Reentrant checkpointing, where torch itself refuses it, is told in our sentence."""
    deep = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
    with pytest.raises(ValueError, match=r"reentrant activation checkpointing.*use_reentrant=False"):
        lowland.SAM(deep)(
            lambda x: checkpoint(deep[1], deep[0](x), use_reentrant=True).mean(), torch.randn(8, 6)
        )


def test_ascent_context() -> None:
    """`ascent_context` is open during the ascent and closed during the descent."""
    model, depth = mlp(), 0
    passes: list[tuple[int, int]] = []

    @contextlib.contextmanager
    def aside() -> Iterator[None]:
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    def loss(batch: dict[str, Tensor]) -> Tensor:
        passes.append((len(batch["x"]), depth))
        return loss_of(model)(batch)

    sam = lowland.SAM(model)
    sam.ascent_context = aside
    sam(loss, batch_of(8))
    assert passes == [(2, 1), (8, 0)]

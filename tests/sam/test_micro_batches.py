"""Property 4: a batch in pieces gives the gradient of the whole batch, in both passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, Tagger, batch_of, distance, gradients, loss_of, mlp, same, token_batch
from torch import Tensor, nn

from lowland import GradientInfo, StandardGradient
from lowland.batches.batch import rows

# Float64 sums of numbers of order 1 in another order.
ROUNDING = 1e-13


def pieces_of(batch: Any, sizes: Sequence[int]) -> list[Any]:
    """Cuts a batch in pieces of the given sizes."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [rows(batch, end - size, end) for size, end in zip(sizes, ends, strict=True)]


OPTIONS: dict[str, dict[str, Any]] = {
    "m=1": {"ascent": 5},
    "all of the batch": {"ascent": 1.0},
    "m=2, share": {"ascent": 6, "m": 2},
    "m=3, full": {"ascent": 6, "m": 3, "descent": "full"},
}


def compare(whole: GradientInfo, cut: GradientInfo, model: nn.Module, other: nn.Module) -> None:
    """Asserts that two ways of taking one gradient agree in all they give."""
    assert distance(gradients(model), gradients(other)) < ROUNDING
    assert float(whole.loss) == pytest.approx(float(cut.loss), abs=ROUNDING)
    if whole.ascent_loss is not None and cut.ascent_loss is not None:
        assert float(whole.ascent_loss) == pytest.approx(float(cut.ascent_loss), abs=ROUNDING)
        assert whole.ascent_norm == pytest.approx(cut.ascent_norm, abs=ROUNDING)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("sizes", [[11], [3, 8], [1, 1, 2, 7], [4, 4, 3], [1] * 11], ids=str)
def test_examples(sizes: list[int], options: dict[str, Any]) -> None:
    """Micro-batches of uneven sizes give the whole batch's gradient, wherever the ascent is cut."""
    model, other = mlp(), mlp()
    batch = batch_of(11)
    whole = SAM(model, rho=0.3, **options)(loss_of(model), batch)
    cut = SAM(other, rho=0.3, **options)(loss_of(other), micro_batches=pieces_of(batch, sizes))
    compare(whole, cut, model, other)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 7])
def test_target_tokens(micro_batch_size: int, options: dict[str, Any]) -> None:
    """With labels of -100 the pieces weigh by their target tokens, in both passes."""
    model, other = Tagger(), Tagger()
    batch = token_batch([1, 6, 2, 5, 3, 1, 6, 4, 1])
    whole = SAM(model, rho=0.3, **options)(model.loss, batch)
    cut = SAM(other, rho=0.3, micro_batch_size=micro_batch_size, **options)(other.loss, batch)
    compare(whole, cut, model, other)


def test_equal_weights_would_be_wrong() -> None:
    """A plain mean over the same pieces is another gradient, so that the equality above says something."""
    model, other = Tagger(), Tagger()
    batch = token_batch([1, 6, 2, 5])
    StandardGradient(model)(model.loss, batch)
    StandardGradient(other, micro_batch_size=1, count=lambda piece: 1)(other.loss, batch)
    assert distance(gradients(model), gradients(other)) > 1e-3


@pytest.mark.parametrize("make", [StandardGradient, SAM], ids=["baseline", "sam"])
def test_pieces_without_targets(make: type[StandardGradient]) -> None:
    """A piece without any target token, whose mean loss is NaN, adds nothing."""
    model, other = Tagger(), Tagger()
    batch = token_batch([2, 6, 0, 5, 3, 0])
    whole = make(model)(model.loss, batch)
    cut = make(other, micro_batch_size=1)(other.loss, batch)
    compare(whole, cut, model, other)


def test_no_target_at_all() -> None:
    """A batch without any target has the loss NaN, in pieces as in whole, and says so without an error."""
    model = Tagger()
    info = StandardGradient(model, micro_batch_size=1)(model.loss, token_batch([0, 0]))
    assert info.loss.isnan()


def test_both_ways_of_cutting() -> None:
    """`micro_batch_size` cuts given micro-batches further, and leaves pieces that fit untouched."""
    model = mlp()
    sizes: list[int] = []
    seen: list[Batch] = []

    def loss_fn(batch: Batch) -> Tensor:
        sizes.append(len(batch["x"]))
        seen.append(batch)
        return loss_of(model)(batch)

    pieces = pieces_of(batch_of(12), [2, 7, 3])
    SAM(model, ascent=4, micro_batch_size=3)(loss_fn, micro_batches=pieces)
    assert sizes == [2, 2, 2, 3, 3, 1, 3]
    assert seen[2] is pieces[0] and seen[-1] is pieces[2]


@pytest.mark.parametrize("ascent", [1, 3, 8])
def test_ascent_sees_the_first_examples(ascent: int) -> None:
    """The ascent gets exactly the first a examples of the batch, the descent all of them, in order."""
    model = mlp()
    batch = {**batch_of(8), "number": torch.arange(8)}
    seen: list[int] = []

    def loss_fn(batch: Batch) -> Tensor:
        seen.extend(batch["number"].tolist())
        return loss_of(model)(batch)

    SAM(model, ascent=ascent, micro_batch_size=3)(loss_fn, batch)
    assert seen == [*range(ascent), *range(8)]


def test_points_see_their_examples() -> None:
    """With m = 2 each point climbs on its own examples: in its share, or of the first a."""
    model = mlp()
    batch = {**batch_of(8), "number": torch.arange(8)}

    def seen(descent: Any) -> list[list[int]]:
        passes: list[list[int]] = []

        def loss_fn(batch: Batch) -> Tensor:
            passes.append(batch["number"].tolist())
            return loss_of(model)(batch)

        SAM(model, ascent=4, m=2, descent=descent)(loss_fn, batch)
        return passes

    assert seen("share") == [[0, 1], [0, 1, 2, 3], [4, 5], [4, 5, 6, 7]]
    assert seen("full") == [[0, 1], [*range(8)], [2, 3], [*range(8)]]


def test_full_averages_the_points() -> None:
    """With m = 2 and `full` the gradient is the mean, not the sum, of the two points' SAM gradients."""
    model, first, second = mlp(), mlp(), mlp()
    batch = batch_of(8)
    swapped = {key: torch.cat([value[2:4], value[:2], value[4:]]) for key, value in batch.items()}
    SAM(model, ascent=4, m=2, descent="full")(loss_of(model), batch)
    SAM(first, ascent=2)(loss_of(first), batch)
    SAM(second, ascent=2)(loss_of(second), swapped)
    mean = [(a + b) / 2 for a, b in zip(gradients(first), gradients(second), strict=True)]  # type: ignore[operator]
    assert distance(gradients(model), mean) < ROUNDING


def test_two_calls_add_up() -> None:
    """Two calls before one optimizer step add their gradients, as two backward passes do."""
    model, first, second = mlp(), mlp(), mlp()
    sam = SAM(model)
    sam(loss_of(model), batch_of(8, seed=1))
    sam(loss_of(model), batch_of(8, seed=2))
    SAM(first)(loss_of(first), batch_of(8, seed=1))
    SAM(second)(loss_of(second), batch_of(8, seed=2))
    total = [a + b for a, b in zip(gradients(first), gradients(second), strict=True)]  # type: ignore[operator]
    assert same(gradients(model), total)


def test_wrong_calls() -> None:
    """A call without a batch, with two, or with a loss that is no scalar says what is wrong in a sentence."""
    model = mlp()
    sam = SAM(model)
    with pytest.raises(ValueError, match=r"Give either a batch or micro_batches"):
        sam(loss_of(model))
    with pytest.raises(ValueError, match=r"Give either a batch or micro_batches"):
        sam(loss_of(model), batch_of(4), micro_batches=[batch_of(4)])
    with pytest.raises(ValueError, match="micro_batches is empty"):
        sam(loss_of(model), micro_batches=[])
    with pytest.raises(ValueError, match=r"scalar tensor, but gave a tensor of shape \(4,\)"):
        sam(lambda batch: model(batch["x"])[0], batch_of(8))
    with pytest.raises(ValueError, match="scalar tensor, but gave float"):
        sam(lambda batch: 1.0, batch_of(8))  # type: ignore[arg-type, return-value]

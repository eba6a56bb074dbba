"""Sequences that stand one after another in one row of tokens are examples of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DataCollatorWithFlattening

import lowland
from lowland.batches.batch import batch_size, cut, rows

LENGTHS = (3, 5, 2, 4)
ROWS = [{"input_ids": list(range(10 * n, 10 * n + length))} for n, length in enumerate(LENGTHS)]


def flattened(**options: Any) -> dict[str, Any]:
    """What transformers' own collator makes of the rows."""
    batch: dict[str, Any] = DataCollatorWithFlattening(return_tensors="pt", **options)(ROWS)
    return batch


@pytest.mark.parametrize("options", [{}, {"return_flash_attn_kwargs": True, "return_seq_idx": True}], ids=str)
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 3), (2, 4)])
def test_a_part_is_what_the_collator_makes_of_it(options: dict[str, Any], start: int, stop: int) -> None:
    """A range of sequences is the batch that the collator would have made of these rows alone."""
    batch = flattened(**options)
    assert batch_size(batch) == 4
    alone = DataCollatorWithFlattening(return_tensors="pt", **options)(ROWS[start:stop])
    taken = rows(batch, start, stop)
    assert taken.keys() == alone.keys()
    for name, expected in alone.items():
        assert torch.equal(torch.as_tensor(taken[name]), torch.as_tensor(expected)), name


def test_masks_and_values_of_other_shapes() -> None:
    """A mask of all pairs of tokens is cut in both dimensions; padding belongs to the last sequence."""
    batch: dict[str, Any] = {
        "input_ids": torch.arange(8)[None],
        "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0, 0, 0]]),
        "labels": torch.tensor([[-100, 1, 2, -100, 4, -100, -100, -100]]),
        "attention_mask": torch.arange(64).view(1, 1, 8, 8),
        "length": 8,
    }
    assert batch_size(batch) == 2
    taken = rows(batch, 1, 2)
    assert taken["input_ids"].tolist() == [[3, 4, 5, 6, 7]]
    assert torch.equal(taken["attention_mask"], batch["attention_mask"][:, :, 3:, 3:])
    assert taken["length"] == 8


def test_rows_with_positions_are_rows() -> None:
    """Several rows, packed or not, are the examples, and a single row that does not begin at 0 is one."""
    packed_rows = {"input_ids": torch.zeros(3, 4), "position_ids": torch.tensor([[0, 1, 0, 1]] * 3)}
    assert batch_size(packed_rows) == 3
    shifted = {"input_ids": torch.zeros(1, 4), "position_ids": torch.tensor([[5, 6, 0, 1]])}
    assert batch_size(shifted) == 1


class Model(nn.Module):
    """Predicts each token from itself and the mean of its sequence so far."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = nn.Embedding(40, 5), nn.Linear(5, 40)
        self.double()

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean cross-entropy over the labels that count."""
        positions = batch["position_ids"][0]
        begin = torch.arange(len(positions)) - positions
        sums = torch.cat([torch.zeros(1, 5), self.table(batch["input_ids"][0]).cumsum(0)])
        means = (sums[1:] - sums[begin]) / (positions + 1)[:, None]
        return nn.functional.cross_entropy(self.out(torch.tanh(means)), batch["labels"][0])


def test_packed_and_one_by_one() -> None:
    """SAM on a packed batch takes the gradient of SAM on its sequences as micro-batches."""
    batch = flattened()
    whole, pieces = Model(), Model()
    info = lowland.SAM(whole, rho=0.3, ascent=0.5)(whole.loss, batch)
    other = lowland.SAM(pieces, rho=0.3, ascent=0.5)(
        pieces.loss, micro_batches=[piece for n in range(4) for piece in cut([batch], n, n + 1)]
    )
    assert info.ascent_norm == pytest.approx(other.ascent_norm, rel=1e-12)  # fp64, sums in another order
    for one, two in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-9, atol=1e-12)  # fp64

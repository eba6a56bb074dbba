"""Padding and its removal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures.models import T5_KINDS, tiny_model

from lowland.data import EncodedExample, collate, trim_padding

lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6)


def example(input_length: int, target_length: int) -> EncodedExample:
    """An example of these lengths, with ids from 3 on."""
    return EncodedExample(
        np.arange(3, 3 + input_length, dtype=np.int32), np.arange(3, 3 + target_length, dtype=np.int32)
    )


def test_closed_form() -> None:
    """Two short examples are padded to a multiple of 4, with the padding id, 0 and -100."""
    batch = collate([example(2, 1), example(5, 3)], pad_token_id=9, multiple=4)
    assert batch["input_ids"].tolist() == [[3, 4, 9, 9, 9, 9, 9, 9], [3, 4, 5, 6, 7, 9, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]]
    assert batch["labels"].tolist() == [[3, -100, -100, -100], [3, 4, 5, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_padding_id_in_a_text_is_attended_to() -> None:
    """A padding id that stands in a text is text: attended to in the input, learnt in the target."""
    ids = np.array([5, 0, 1], dtype=np.int32)
    batch = collate([EncodedExample(ids, ids)], pad_token_id=0)
    assert batch["attention_mask"][0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert batch["labels"][0, :3].tolist() == [5, 0, 1]


@given(shapes=lengths, multiple=st.integers(1, 16))
def test_width_is_the_next_multiple(shapes: list[tuple[int, int]], multiple: int) -> None:
    """Widths are the least multiple that holds the longest, and every id is where it was."""
    batch = collate([example(*shape) for shape in shapes], 0, multiple)
    for column, key in enumerate(("input_ids", "labels")):
        longest = max(shape[column] for shape in shapes)
        assert batch[key].shape == (len(shapes), -(-longest // multiple) * multiple)
    assert batch["attention_mask"].sum(dim=1).tolist() == [shape[0] for shape in shapes]
    assert (batch["labels"] != -100).sum(dim=1).tolist() == [shape[1] for shape in shapes]


@given(shapes=lengths, data=st.data())
def test_trimmed_share_is_the_share_collated(shapes: list[tuple[int, int]], data: st.DataObject) -> None:
    """The first rows of a batch, trimmed, are what collating these examples alone gives."""
    rows = data.draw(st.integers(1, len(shapes)))
    examples = [example(*shape) for shape in shapes]
    share = {key: tensor[:rows] for key, tensor in collate(examples, 0).items()}
    trimmed = trim_padding(share)
    for key, tensor in collate(examples[:rows], 0).items():
        assert torch.equal(trimmed[key], tensor)


def test_other_keys_pass() -> None:
    """What `trim_padding` does not know stays as it is."""
    batch = collate([example(2, 2)], 0) | {"weights": torch.ones(1)}
    assert torch.equal(trim_padding(batch)["weights"], batch["weights"])


def test_width_that_is_no_multiple_is_kept() -> None:
    """A batch narrower than the multiple is never widened."""
    batch = collate([example(5, 3)], 0, multiple=1)
    trimmed = trim_padding(batch)
    assert (trimmed["input_ids"].shape[1], trimmed["labels"].shape[1]) == (5, 3)


def test_all_padding_keeps_a_column() -> None:
    """Even where no label is left, a few columns stay, so that a model can take the batch."""
    batch = collate([example(3, 20)], 0)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    assert trim_padding(batch)["labels"].shape == (1, 8)


@settings(deadline=None, max_examples=10)
@given(shapes=lengths, kind=st.sampled_from(T5_KINDS))
def test_loss_does_not_see_the_padding(shapes: list[tuple[int, int]], kind: str) -> None:
    """The loss of a batch is the same with and without more padding."""
    # 1e-5 relative: fp32 sums over rows of another width run in another order.
    model = tiny_model(kind)
    examples = [example(*shape) for shape in shapes]
    with torch.no_grad():
        narrow = model(**collate(examples, 0, multiple=1)).loss
        wide = model(**collate(examples, 0, multiple=40)).loss
    assert wide.item() == pytest.approx(narrow.item(), rel=1e-5)

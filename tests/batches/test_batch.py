"""Batches of every form are counted, cut and put together rightly."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BatchEncoding

from lowland.batches.batch import batch_size, cut, rows, target_count

QUICK = settings(max_examples=60, deadline=None)  # other work on the machine makes single runs slow


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Fields:
    x: Any
    y: Any


class Records:
    """A batch of the user's own: `len()` and slices."""

    def __init__(self, items: list[int]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: slice) -> Records:
        return Records(self.items[index])


def columns(size: int) -> st.SearchStrategy[Any]:
    """Strategies for a column of rows 0, 1, ..., each in another type."""
    return st.sampled_from(
        [
            torch.arange(size),
            torch.arange(size * 6).view(size, 2, 3) // 6,
            np.arange(size),
            Records(list(range(size))),
        ]
    )


CONSTANTS = st.sampled_from([None, "text", 3, 0.5, torch.tensor(7), b"bytes", True])
"""Values without rows."""


def structures(size: int) -> st.SearchStrategy[Any]:
    """Strategies for nested batches of `size` examples with at least one column."""

    def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        item = inner | CONSTANTS
        return st.one_of(
            # A list of nothing but mappings and tuples would be a list of examples.
            st.builds(lambda first, rest: [first, *rest], columns(size), st.lists(item, max_size=3)),
            st.builds(Fields, inner, item),
            st.builds(lambda first, rest: (first, *rest), inner, st.lists(item, max_size=3)),
            st.builds(Pair, inner, item),
            st.builds(
                lambda first, rest: {"first": first, **rest},
                inner,
                st.dictionaries(st.text(max_size=3), item, max_size=3),
            ),
        )

    return st.recursive(columns(size), nest, max_leaves=6)


def numbers(batch: Any) -> list[list[int]]:
    """The row numbers that each column of a batch holds."""
    if isinstance(batch, Mapping):
        return [found for value in batch.values() for found in numbers(value)]
    if isinstance(batch, (tuple, list)):
        return [found for value in batch for found in numbers(value)]
    if isinstance(batch, Fields):
        return numbers([batch.x, batch.y])
    if isinstance(batch, Records):
        return [batch.items]
    if isinstance(batch, (Tensor, np.ndarray)) and batch.ndim:
        return [(batch[:, 0, 0] if batch.ndim == 3 else batch).tolist()]
    return []


def shape(batch: Any) -> Any:
    """The structure of a batch: its containers' types and keys, its columns' types, its constants."""
    if isinstance(batch, Mapping):
        return type(batch), {key: shape(value) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch), [shape(value) for value in batch]
    if isinstance(batch, Fields):
        return type(batch), shape([batch.x, batch.y])
    return type(batch) if numbers(batch) else batch


sized = st.integers(1, 9).flatmap(lambda size: st.tuples(st.just(size), structures(size)))


@QUICK
@given(sized, st.integers(0, 9), st.integers(0, 9))
def test_rows(sized_batch: tuple[int, Any], first: int, second: int) -> None:
    """`rows` takes the same rows from every column, in the structure and the types that it was given."""
    size, batch = sized_batch
    start, stop = sorted((min(first, size), min(second, size)))
    taken = rows(batch, start, stop)
    assert batch_size(batch) == size
    assert shape(taken) == shape(batch)
    assert numbers(taken) == [list(range(start, stop))] * len(numbers(batch))


@QUICK
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_cut(data: st.DataObject, sizes: list[int]) -> None:
    """`cut` takes a range across micro-batches, in order, and hands whole ones on untouched."""
    whole = data.draw(structures(sum(sizes)))
    ends = np.cumsum(sizes).tolist()
    pieces = [rows(whole, end - size, end) for size, end in zip(sizes, ends, strict=True)]
    start = data.draw(st.integers(0, sum(sizes)))
    stop = data.draw(st.integers(start, sum(sizes)))
    taken = cut(pieces, start, stop)
    assert [n for piece in taken for n in numbers(piece)[0]] == list(range(start, stop))
    for piece, size, end in zip(pieces, sizes, ends, strict=True):
        if start <= end - size and end <= stop:
            assert any(piece is one for one in taken)


def test_tensors_are_views() -> None:
    """Taking rows of tensors copies nothing."""
    batch = {"x": torch.randn(4, 3)}
    assert rows(batch, 1, 3)["x"].data_ptr() == batch["x"][1].data_ptr()


def test_batch_encoding() -> None:
    """A Hugging Face BatchEncoding stays one, and the one that was given keeps its rows."""
    batch = BatchEncoding({"input_ids": torch.arange(8).view(4, 2), "labels": torch.ones(4, 2)})
    taken = rows(batch, 1, 3)
    assert isinstance(taken, BatchEncoding)
    assert taken["input_ids"].tolist() == [[2, 3], [4, 5]]
    assert batch_size(batch) == 4 and batch_size(taken) == 2


def test_other_mappings() -> None:
    """Other mappings keep their type where they can be written to, and become dictionaries elsewhere."""
    counted = collections.defaultdict(list, x=torch.arange(3))
    ordered = collections.OrderedDict(x=torch.arange(3))
    frozen = MappingProxyType({"x": torch.arange(3)})
    taken = [rows(batch, 0, 2) for batch in (counted, ordered, frozen)]
    assert [type(batch) for batch in taken] == [collections.defaultdict, collections.OrderedDict, dict]
    assert [batch["x"].tolist() for batch in taken] == [[0, 1]] * 3
    assert len(counted["x"]) == 3


@pytest.mark.parametrize(
    "batch",
    [
        ["a", "b", "c"],
        [1, 2, 3],
        [["a"], ["b", "c"], []],
        [{"text": "a"}, {"text": "b"}, {"text": "c"}],
        ("a", "b", "c"),
    ],
    ids=str,
)
def test_lists_of_rows(batch: Any) -> None:
    """A list without tensors is a column: texts, ragged lists, examples that are not collated yet."""
    assert batch_size(batch) == 3
    assert rows(batch, 1, 3) == batch[1:3]
    assert rows({"x": torch.arange(3), "rows": batch}, 1, 3)["rows"] == batch[1:3]


IDS = torch.arange(60).view(5, 12)
UNCOLLATED: dict[str, list[Any]] = {
    "mappings": [{"ids": row, "name": f"row {index}"} for index, row in enumerate(IDS)],
    "mappings of tensors only": [{"ids": row} for row in IDS],
    "one mapping": [{"ids": IDS[0]}],
    "tuples": [(row, row + 1) for row in IDS],
    "pictures and classes": [(torch.zeros(3, 4, 4), index) for index in range(5)],
    "named tuples": [Pair(row, index) for index, row in enumerate(IDS)],
    "dataclasses": [Fields(row, None) for row in IDS],
    "encodings": [BatchEncoding({"input_ids": row.tolist()}) for row in IDS],
}


@pytest.mark.parametrize("batch", UNCOLLATED.values(), ids=UNCOLLATED)
def test_examples_that_are_not_collated(batch: list[Any]) -> None:
    """A list of mappings, tuples or dataclasses holds one example an item, whatever tensors these hold."""
    assert batch_size(batch) == len(batch)
    assert rows(batch, 0, 1) == batch[:1]


def test_a_dataclass_that_computes_fields() -> None:
    """A dataclass is cut field by field, those that its `__init__` does not take too."""

    @dataclasses.dataclass(slots=True)
    class Computed:
        ids: Tensor
        scale: dataclasses.InitVar[int]
        lengths: Tensor = dataclasses.field(init=False)

        def __post_init__(self, scale: int) -> None:
            self.lengths = scale * self.ids[:, 0]

    whole = Computed(IDS, 3)
    part = rows(whole, 1, 3)
    assert batch_size(part) == 2 and type(part) is Computed
    assert torch.equal(part.ids, IDS[1:3]) and torch.equal(part.lengths, 3 * IDS[1:3, 0])
    assert whole.ids is IDS


def test_what_cannot_be_sliced() -> None:
    """A part that has a length and no slices is named in a sentence."""
    with pytest.raises(ValueError, match=r"cannot take examples 0 to 1 out of a Tensor by a slice"):
        rows(torch.eye(3).to_sparse(), 0, 1)
    batch = {"x": torch.zeros(3), "y": collections.deque([1, 2, 3])}
    assert batch_size(batch) == 3
    with pytest.raises(ValueError, match=r"cannot take examples 0 to 1 out of a deque by a slice"):
        rows(batch, 0, 1)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Fields(1, "a"), "The batch holds no examples: no tensor, array or list in this Fields"),
        (
            {"x": torch.zeros(3), "y": [torch.zeros(2)]},
            r"batch\['x'\] has 3 rows and batch\['y'\]\[0\] has 2",
        ),
        ((torch.zeros(3), np.zeros(2)), r"batch\[0\] has 3 rows and batch\[1\] has 2"),
        ({"x": 3}, "The batch holds no examples"),
        (torch.zeros(0, 2), "The batch holds no examples"),
        (torch.tensor(1.0), "The batch holds no examples"),
        ([], "The batch holds no examples"),
    ],
    ids=str,
)
def test_no_batch(batch: Any, message: str) -> None:
    """What has no rows, or different numbers of them, is refused with the paths of the parts."""
    with pytest.raises(ValueError, match=message):
        batch_size(batch)


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        ({"labels": torch.tensor([[1, -100, 2], [-100, -100, 0]])}, 3),
        ({"labels": torch.tensor([1, 0, -100])}, 3),  # classes: examples count
        ({"labels": torch.zeros(2, 5)}, 2),  # numbers to regress
        ({"x": torch.zeros(4, 2)}, 4),
        ((torch.zeros(5), torch.zeros(5)), 5),
        ({"labels": [["a"], ["b"]], "x": torch.zeros(2)}, 2),
    ],
    ids=str,
)
def test_target_count(batch: Any, count: int) -> None:
    """Target tokens are counted where labels are token ids, examples elsewhere."""
    assert int(target_count(batch)) == count

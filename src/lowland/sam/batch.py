"""Batches as SAM sees them: how many examples, and which rows.

A batch is anything whose first dimension is the example: a tensor, a tuple,
list or mapping of such (nested too), a Hugging Face `BatchEncoding`, or an
object of the user's own with `len()` and slicing. A list without any tensor
or array in it is a column whose items are the rows: texts, for example, or
examples that are not collated yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor


def _has_rows(value: Any) -> bool:
    """Tells whether a value that is no container of columns has one row an example."""
    if hasattr(value, "shape"):  # tensors and arrays
        return len(value.shape) > 0
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes))


def _holds_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_array(item) for item in value.values())
    if isinstance(value, (tuple, list)):
        return any(_holds_array(item) for item in value)
    return _has_rows(value)


def _is_columns(batch: Any) -> bool:
    """Tells a container of columns from a column."""
    return isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and _holds_array(batch))


def _leaves(batch: Any, path: str = "batch") -> Iterator[tuple[str, Any]]:
    """Walks through the parts of a batch that have rows, with the path to each."""
    if _is_columns(batch):
        items = batch.items() if isinstance(batch, Mapping) else enumerate(batch)
        for key, value in items:
            yield from _leaves(value, f"{path}[{key!r}]")
    elif _has_rows(batch):
        yield path, batch


def batch_size(batch: Any) -> int:
    """Counts the examples of a batch.

    Args:
        batch: See the module.

    Returns:
        The length of the first dimension that all parts share.

    Raises:
        ValueError: If nothing in the batch has rows, or two parts have different numbers of rows.
    """
    size: int | None = None
    first = ""
    for path, leaf in _leaves(batch):
        if size is None:
            size, first = len(leaf), path
        elif len(leaf) != size:
            raise ValueError(
                f"The first dimension must be the example in every part of the batch, but {first} has "
                f"{size} rows and {path} has {len(leaf)}."
            )
    if not size:
        raise ValueError("The batch holds no examples.")
    return size


def rows(batch: Any, start: int, stop: int) -> Any:
    """Takes the examples from `start` up to `stop`, in the batch's own type.

    Args:
        batch: See the module.
        start: First example.
        stop: One past the last example.

    Returns:
        A batch of the same structure. Tensors are views; values without rows (numbers, strings, `None`,
        0-d tensors) stay as they are.
    """
    if not _is_columns(batch):
        return batch[start:stop] if _has_rows(batch) else batch
    if isinstance(batch, Mapping):
        taken = {key: rows(value, start, stop) for key, value in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return taken
        same_type = copy(batch)
        same_type.update(taken)
        return same_type
    items = [rows(value, start, stop) for value in batch]
    # A named tuple takes its fields one by one.
    return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)


def cut(micro_batches: Sequence[Any], start: int, stop: int) -> list[Any]:
    """Takes a range of examples out of micro-batches that follow one another.

    Args:
        micro_batches: The pieces of one batch, in order.
        start: First example, counted over the whole batch.
        stop: One past the last example.

    Returns:
        The pieces of the range, cut where the micro-batches are cut. A piece that is a whole
        micro-batch is handed on untouched, not sliced.
    """
    taken: list[Any] = []
    offset = 0
    for piece in micro_batches:
        size = batch_size(piece)
        first, last = max(start - offset, 0), min(stop - offset, size)
        if first < last:
            taken.append(piece if (first, last) == (0, size) else rows(piece, first, last))
        offset += size
    return taken


def target_count(batch: Any) -> Tensor:
    """Counts what a batch's mean loss is a mean of.

    Args:
        batch: See the module.

    Returns:
        A 0-d tensor: the target tokens (labels other than -100) where the batch is a mapping with
        integer `labels` of two dimensions or more, as in Hugging Face's models; the examples elsewhere.
    """
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if isinstance(labels, Tensor) and labels.dim() > 1 and not labels.is_floating_point():
        return (labels != -100).sum()
    return torch.tensor(batch_size(batch))

"""Batches as SAM sees them: how many examples, and which rows.

A batch is anything whose first dimension is the example: a tensor, a tuple,
list or mapping of such (nested too), a Hugging Face `BatchEncoding`, a
dataclass or a plain object with such attributes, or an object of the user's
own with `len()` and slicing.

Examples that are not collated are examples: a list of mappings, dataclasses
or tuples has one example an item, and so has a list without any tensor or
array in it, such as a list of texts. Inside of a larger batch, a list or
tuple is read as columns where these have as many rows as the rest of the
batch, else as examples where there are as many items: pictures of different
sizes, boxes and masks of each picture. The sequences of a packed batch are
its examples; see `lowland.batches.packed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lowland.batches import packed


def _has_rows(value: Any) -> bool:
    """Tells whether a value that is no container of columns has one row an example."""
    if isinstance(value, PackedSequence) or _is_nested(value):
        return True
    if hasattr(value, "shape"):  # tensors and arrays
        return len(value.shape) > 0
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_nested


def _fields(value: Any, top: bool = False) -> dict[str, Any] | None:
    """Gives the attributes of a dataclass or namespace, at the top of any plain object; `None` elsewhere."""
    if isinstance(value, (Mapping, tuple, list, str, bytes, Tensor, nn.Module, type)):
        return None
    if hasattr(value, "shape") or (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        return None  # it has rows of its own
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, SimpleNamespace) or (top and hasattr(value, "__dict__") and not callable(value)):
        return dict(vars(value))
    return None


def _is_record(value: Any) -> bool:
    """Tells one example that is not collated; a named tuple is one if it holds single values."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return not all(_holds_array(item) for item in value)
    return isinstance(value, Mapping) or type(value) is tuple or _fields(value) is not None


def _is_records(value: Any) -> bool:
    """Tells a list of examples that are not collated."""
    return isinstance(value, list) and bool(value) and all(_is_record(item) for item in value)


def _holds_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_array(item) for item in value.values())
    if isinstance(value, (tuple, list)) and not isinstance(value, PackedSequence):
        return any(_holds_array(item) for item in value)
    fields = _fields(value)
    return any(_holds_array(item) for item in fields.values()) if fields is not None else _has_rows(value)


def _columns(batch: Any, size: int | None, top: bool = False) -> list[tuple[str, Any]] | None:
    """Lists the parts of a container of columns; `None` for a column."""
    if isinstance(batch, Mapping):
        return [(f"[{key!r}]", value) for key, value in batch.items()]
    if (fields := _fields(batch, top)) is not None:
        return [(f".{name}", value) for name, value in fields.items()]
    if not isinstance(batch, (tuple, list)) or isinstance(batch, PackedSequence) or not _holds_array(batch):
        return None
    if _is_records(batch) if top else len(batch) == size and _sizes(batch) != {size}:
        return None
    return [(f"[{index}]", value) for index, value in enumerate(batch)]


def _leaves(batch: Any, size: int | None, path: str = "batch") -> Iterator[tuple[str, int]]:
    """Walks through the parts of a batch that have rows: the path to each, and how many."""
    columns = _columns(batch, size, top=path == "batch")
    if columns is not None:
        for name, value in columns:
            yield from _leaves(value, size, path + name)
    elif isinstance(batch, PackedSequence):
        yield path, int(batch.batch_sizes[0])
    elif _has_rows(batch):
        yield path, batch.size(0) if _is_nested(batch) else len(batch)


def _sizes(columns: Sequence[Any]) -> set[int]:
    """Gives the numbers of rows in a list or tuple, read as columns."""
    return {length for part in columns for _, length in _leaves(part, None, "")}


def _size(batch: Any) -> int | None:
    """Tells how many examples a batch has, if some of the lists in it are not columns."""
    known: set[int] = set()
    lists: list[Any] = []

    def look(part: Any, top: bool) -> None:
        if isinstance(part, (tuple, list)) and not (top or isinstance(part, PackedSequence)):
            lists.append(part)
        elif (columns := _columns(part, None, top)) is not None:
            for _, value in columns:
                look(value, False)
        else:
            known.update(length for _, length in _leaves(part, None))

    look(batch, True)
    lists = [one for one in lists if _holds_array(one)]
    if not lists:
        return None
    lengths = {len(one) for one in lists}
    if not known and len(lists) > 1 and len({n for one in lists for n in _sizes(one)}) > 1:
        known = lengths
    return known.pop() if len(known) == 1 else None


def batch_size(batch: Any) -> int:
    """Counts the examples of a batch: the length of the first dimension that all parts share."""
    if (found := packed.starts(batch)) is not None:
        return len(found)
    size: int | None = None
    first = ""
    for path, length in _leaves(batch, _size(batch)):
        if size is None:
            size, first = length, path
        elif length != size:
            raise ValueError(
                f"The first dimension must be the example in every part of the batch, but {first} has "
                f"{size} rows and {path} has {length}."
            )
    if not size:
        raise ValueError(
            f"The batch holds no examples: no tensor, array or list in this {type(batch).__name__} has rows. "
            "Give a mapping, tuple or dataclass of them, or an object with len() and slices."
        )
    return size


def rows(batch: Any, start: int, stop: int) -> Any:
    """Takes the examples from `start` up to `stop`, in the batch's own type.

    Tensors are views; values without rows (numbers, strings, `None`, 0-d tensors) stay as they are.
    """
    if (found := packed.starts(batch)) is not None:
        bounds = packed.ends(batch, found)
        return _like(batch, packed.tokens(batch, bounds[start], bounds[stop]))
    return _rows(batch, start, stop, _size(batch), top=True)


def _rows(batch: Any, start: int, stop: int, size: int | None, top: bool = False) -> Any:
    columns = _columns(batch, size, top)
    if columns is None:
        return _slice(batch, start, stop) if _has_rows(batch) else batch
    taken = [_rows(value, start, stop, size) for _, value in columns]
    if isinstance(batch, Mapping):
        return _like(batch, dict(zip(batch, taken, strict=True)))
    if isinstance(batch, (tuple, list)):
        # A named tuple takes its fields one by one.
        return type(batch)(*taken) if hasattr(batch, "_fields") else type(batch)(taken)
    same_type = copy(batch)
    for (name, _), value in zip(columns, taken, strict=True):
        object.__setattr__(same_type, name.removeprefix("."), value)  # it may be frozen
    return same_type


def _like(batch: Mapping[Any, Any], taken: dict[Any, Any]) -> Any:
    """Puts columns into a mapping of the batch's type."""
    if type(batch) is dict or not isinstance(batch, MutableMapping):
        return taken
    if hasattr(batch, "__dataclass_fields__"):  # transformers' ModelOutput, which cannot be updated
        made: Any = batch
        return dataclasses.replace(made, **taken)
    same_type = copy(batch)
    same_type.update(taken)
    return same_type


def _slice(column: Any, start: int, stop: int) -> Any:
    if isinstance(column, PackedSequence):
        padded, lengths = pad_packed_sequence(column, batch_first=True)
        return pack_padded_sequence(
            padded[start:stop], lengths[start:stop], batch_first=True, enforce_sorted=False
        )
    if _is_nested(column):
        return torch.nested.as_nested_tensor(list(column.unbind())[start:stop], layout=column.layout)
    try:
        return column[start:stop]
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"SAM cannot take examples {start} to {stop} out of a {type(column).__name__} by a slice. Give a "
            "batch of tensors, arrays or lists, or an object with len() and slices."
        ) from error


def cut(micro_batches: Sequence[Any], start: int, stop: int) -> list[Any]:
    """Takes a range of examples out of the micro-batches of one batch, cut where these are cut.

    A whole micro-batch is handed on untouched, not sliced.
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
    """Counts what a batch's mean loss is a mean of, as a 0-d tensor.

    The target tokens (labels other than -100) where the batch is a mapping with integer `labels` of two
    dimensions or more, as in Hugging Face's models; the examples elsewhere.
    """
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if isinstance(labels, Tensor) and labels.dim() > 1 and not labels.is_floating_point():
        return (labels != -100).sum()
    return torch.tensor(batch_size(batch))

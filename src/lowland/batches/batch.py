"""Batches as SAM sees them: how many examples, and which rows.

A batch is anything whose first dimension is the example: a tensor or array, a tuple, list, mapping or
dataclass of such (nested too), a Hugging Face `BatchEncoding`, or an object with `len()` and slicing. A list
without any tensor in it, such as one of texts, has one example an item, and so has a list of mappings,
dataclasses or tuples that are not collated. The sequences of a packed batch, as TRL's `padding_free` and
`packing` make it, are its examples: `input_ids` is (1, tokens), and `position_ids` begin again at 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor


def _columns(batch: Any, top: bool = False) -> list[tuple[str, Any]] | None:
    """Lists the parts of a container of columns by their paths; `None` for what is none."""
    if isinstance(batch, Mapping):
        return [(f"[{key!r}]", value) for key, value in batch.items()]
    if _is_record(batch) and not isinstance(batch, tuple):
        return [(f".{field.name}", getattr(batch, field.name)) for field in dataclasses.fields(batch)]
    if not isinstance(batch, (tuple, list)) or not _holds_array(batch):
        return None
    if top and isinstance(batch, list) and all(map(_is_record, batch)):  # examples that are not collated
        return None
    return [(f"[{index}]", value) for index, value in enumerate(batch)]


def _is_record(value: Any) -> bool:
    return isinstance(value, (Mapping, tuple)) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def _has_rows(value: Any) -> bool:
    if hasattr(value, "shape"):  # tensors and arrays
        return len(value.shape) > 0
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes))


def _holds_array(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_array, value))
    columns = _columns(value)
    return _has_rows(value) if columns is None else any(_holds_array(part) for _, part in columns)


def _leaves(batch: Any, path: str = "batch") -> Iterator[tuple[str, int]]:
    """Walks through the parts of a batch that have rows: the path to each, and how many."""
    columns = _columns(batch, top=path == "batch")
    if columns is not None:
        for name, value in columns:
            yield from _leaves(value, path + name)
    elif _has_rows(batch):
        yield path, len(batch)


def batch_size(batch: Any) -> int:
    """Counts the examples of a batch: the length of the first dimension that all parts share."""
    if (found := packed_starts(batch)) is not None:
        return len(found)
    size: int | None = None
    first = ""
    for path, length in _leaves(batch):
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
    if (found := packed_starts(batch)) is not None:
        bounds = [*found, batch["position_ids"].shape[1]]
        return _like(batch, packed_tokens(batch, bounds[start], bounds[stop]))
    return _rows(batch, start, stop, top=True)


def _rows(batch: Any, start: int, stop: int, top: bool = False) -> Any:
    columns = _columns(batch, top)
    if columns is None:
        return _slice(batch, start, stop) if _has_rows(batch) else batch
    taken = [_rows(value, start, stop) for _, value in columns]
    if isinstance(batch, Mapping):
        return _like(batch, dict(zip(batch, taken, strict=True)))
    if isinstance(batch, (tuple, list)):
        # A named tuple takes its fields one by one.
        return type(batch)(*taken) if hasattr(batch, "_fields") else type(batch)(taken)
    same_type = copy(batch)  # without its `__init__`, which need not take every field
    for (name, _), value in zip(columns, taken, strict=True):
        object.__setattr__(same_type, name[1:], value)  # it may be frozen
    return same_type


def _like(batch: Mapping[Any, Any], taken: dict[Any, Any]) -> Any:
    """Puts columns into a mapping of the batch's type."""
    if type(batch) is dict or not isinstance(batch, MutableMapping):
        return taken
    same_type = copy(batch)
    same_type.update(taken)
    return same_type


def _slice(column: Any, start: int, stop: int) -> Any:
    try:
        return column[start:stop]
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"SAM cannot take examples {start} to {stop} out of a {type(column).__name__} by a slice. Give a "
            "batch of tensors, arrays or lists, or an object with len() and slices."
        ) from error


def cut(micro_batches: Sequence[Any], start: int, stop: int) -> list[Any]:
    """Takes a range of examples out of micro-batches, cut where these are cut; a whole one is not sliced."""
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


def packed_starts(batch: Any) -> list[int] | None:
    """Finds the first token of each sequence; `None` where the batch is not packed into one row."""
    if not isinstance(batch, Mapping):
        return None
    position_ids = batch.get("position_ids")
    tokens = batch.get("input_ids", batch.get("inputs_embeds"))
    if not isinstance(position_ids, Tensor) or not isinstance(tokens, Tensor):
        return None
    if position_ids.dim() != 2 or len(position_ids) != 1 or tokens.shape[:2] != position_ids.shape:
        return None
    found: list[int] = (position_ids[0] == 0).nonzero().flatten().tolist()
    if not found or found[0] != 0:
        return None
    # Padding at the end has the position 0 in each token, and no target: it belongs to the last sequence.
    labels, end = batch.get("labels"), position_ids.shape[1]
    while len(found) > 1 and found[-1] == end - 1 and _no_target(labels, end - 1):
        end = found.pop()
    return found


def _no_target(labels: Any, token: int) -> bool:
    return isinstance(labels, Tensor) and labels.dim() == 2 and bool(labels[0, token] == -100)


def packed_tokens(batch: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Takes whole sequences out of a packed batch, by tokens; `cu_seq_lens_q` and its like are made anew."""
    length = batch["position_ids"].shape[1]
    taken: dict[str, Any] = {}
    for key, value in batch.items():
        if key.startswith("cu_seq_lens"):
            inside = (value >= start) & (value <= stop)
            taken[key] = value[inside] - start
        elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == 1:
            for dim in range(1, value.dim()):  # a mask of (1, 1, tokens, tokens) in two
                if value.shape[dim] == length and (dim == 1 or value.shape[1] == 1):
                    value = value.narrow(dim, start, stop - start)
            taken[key] = value - value[:, :1] if key == "seq_idx" else value
        else:
            taken[key] = value
    for key in taken:
        lengths = taken.get(key.replace("max_length", "cu_seq_lens"))
        if key.startswith("max_length") and isinstance(lengths, Tensor):
            longest = lengths.diff().max()
            taken[key] = longest.to(taken[key]) if isinstance(taken[key], Tensor) else int(longest)
    return taken

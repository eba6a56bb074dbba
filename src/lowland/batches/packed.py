"""Batches whose examples stand one after another in a single row of tokens (padding-free, packed).

TRL's `padding_free` and `packing` give them: `input_ids` of shape (1, tokens), and `position_ids` that begin
again at 0 with each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def starts(batch: Any) -> list[int] | None:
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


def tokens(batch: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Takes a range of tokens, from where a sequence begins to where one ends, out of a packed batch.

    What has a place for each token is cut; `cu_seq_lens_q`, `max_length_q` and their like are computed anew.
    """
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


def ends(batch: Mapping[str, Any], found: list[int]) -> list[int]:
    """Lists the bounds of the sequences: each one's first token, and the end of the row."""
    return [*found, int(batch["position_ids"].shape[1])]

"""Examples of different lengths to one batch of tensors, and back to as few columns as it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lowland.data.encode import EncodedExample

IGNORED = -100
"""The label at padding, which the loss leaves out."""


def collate(examples: Sequence[EncodedExample], pad_token_id: int, multiple: int = 8) -> dict[str, Tensor]:
    """Pads examples on the right to the longest of them.

    Returns:
        `input_ids` and `attention_mask` (batch x input width), `labels` (batch x target width) with
        -100 at padding; all int64. Widths are rounded up to the multiple, which accelerators like and which
        keeps the number of different shapes small.
    """
    attended = [torch.ones(len(example.inputs), dtype=torch.long) for example in examples]
    return {
        "input_ids": _pad(
            [torch.from_numpy(example.inputs).long() for example in examples], pad_token_id, multiple
        ),
        "attention_mask": _pad(attended, 0, multiple),
        "labels": _pad([torch.from_numpy(example.targets).long() for example in examples], IGNORED, multiple),
    }


def trim_padding(batch: Mapping[str, Tensor], multiple: int = 8) -> dict[str, Tensor]:
    """Cuts columns on the right in which every row is padding.

    The first few examples of a batch are often shorter than its longest: the ascent step of SAM,
    which takes only them, need not compute their padding.

    Returns:
        The batch with the same values in fewer columns, as views; other keys pass through.
    """
    trimmed = dict(batch)
    mask, labels = batch["attention_mask"], batch["labels"]
    width = _used(mask != 0, multiple)
    trimmed |= {"input_ids": batch["input_ids"][:, :width], "attention_mask": mask[:, :width]}
    if labels.dim() > 1:  # not those of a classifier
        trimmed["labels"] = labels[:, : _used(labels != IGNORED, multiple)]
    return trimmed


def _pad(rows: list[Tensor], value: int, multiple: int) -> Tensor:
    padded: Tensor = pad_sequence(rows, batch_first=True, padding_value=value)
    extra = -padded.shape[1] % multiple
    return torch.nn.functional.pad(padded, (0, extra), value=value)


def _used(mask: Tensor, multiple: int) -> int:
    """Returns the number of columns up to the last one in use, rounded up to the multiple."""
    columns = mask.any(dim=0).nonzero()
    last = int(columns[-1]) + 1 if len(columns) else 1
    return min(last + -last % multiple, mask.shape[1])

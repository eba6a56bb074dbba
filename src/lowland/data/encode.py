"""Text to token ids, cut to the lengths of the task and closed with EOS; and examples to tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from lowland.errors import UserError

TokenIds = NDArray[np.int32]

# A tokenizer's own result holds far more than the ids; a chunk bounds the memory of a large data set.
CHUNK = 4096

IGNORED = -100
"""The label at padding, which the loss leaves out."""


class EncodedExample(NamedTuple):
    """Token ids of one example: `inputs` and `targets`, each with EOS and without padding."""

    inputs: TokenIds
    targets: TokenIds


@dataclass(frozen=True, kw_only=True)
class EncodedSet:
    """The token ids of each input and target of a set of examples, in its order, and how many were cut."""

    inputs: tuple[TokenIds, ...]
    targets: tuple[TokenIds, ...]
    truncated_inputs: int
    truncated_targets: int

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> EncodedExample:
        return EncodedExample(self.inputs[index], self.targets[index])


def encode_texts(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int, *, target: bool = False
) -> tuple[tuple[TokenIds, ...], int]:
    """Encodes texts by T5's rule (`trim_and_append_eos`): tokenise, cut to `length` - 1, append EOS.

    A tokenizer with special tokens of its own (BART, BERT, mBART's languages) puts them where it is used to,
    within `length`; one that closes its texts with nothing (GPT-2) gets EOS appended as T5 does. Some
    tokenizers have other pieces for targets (`target`). Counts the texts that were cut, too.
    """
    before, after = special_tokens(tokenizer, target=target)
    closes = any(token in (tokenizer.eos_token_id, tokenizer.sep_token_id) for token in after)
    closing = [] if closes else [tokenizer.eos_token_id]
    if closing == [None]:
        raise UserError(
            "The tokenizer has no end-of-sequence token; give a checkpoint whose tokenizer has one."
        )
    return encode_between(texts, tokenizer, length, before, [*after, *closing], target=target)


def encode_between(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    before: Sequence[int],
    after: Sequence[int],
    *,
    target: bool = False,
) -> tuple[tuple[TokenIds, ...], int]:
    """Encodes texts between tokens that are always there, and cuts the texts alone; see `encode_texts`."""
    room = length - len(before) - len(after)
    if room < 1:
        raise UserError(f"A length of {length} tokens leaves no room for text; give a greater one.")
    texts = literal(texts, tokenizer)
    kept = slice(-room, None) if tokenizer.truncation_side == "left" else slice(room)
    rows = tokenize(texts, tokenizer, target=target)
    first, last = (np.array(ids, dtype=np.int32) for ids in (before, after))
    encoded = tuple(np.concatenate([first, row[kept], last]) for row in rows)
    return encoded, sum(len(row) > room for row in rows)


def literal(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, more: Iterable[str] = ()
) -> Sequence[str]:
    """Writes control strings in texts so that they are read as text.

    A fast tokenizer takes `</s>` in a text for the end of the sequence, where SentencePiece, with which T5
    was trained, reads four characters. With a blank after the first one no tokenizer takes it for more than
    text. T5's sentinels (`<extra_id_0>`) and the mask are left alone: whoever writes them means them. `more`
    are further control strings.
    """
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
    controls = {str(token) for name in names if (token := getattr(tokenizer, name, None))} | {*more}
    words = "|".join(re.escape(token) for token in sorted(controls) if len(token) > 1)
    pattern = re.compile(words or r"(?!)")
    return [pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in texts]


def tokenize(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, target: bool = False
) -> list[TokenIds]:
    """Gives the ids of texts, whole and without special tokens around them."""
    rows: list[TokenIds] = []
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        rows += [np.asarray(ids, dtype=np.int32) for ids in _call(tokenizer, chunk, target, **options)]
    return rows


def decode(rows: Iterable[Any], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Decodes rows of ids to texts, without special tokens and without cleaning up spaces."""
    ids = [row.tolist() for row in rows]
    return tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def special_tokens(
    tokenizer: PreTrainedTokenizerBase, *, target: bool = False
) -> tuple[list[int], list[int]]:
    """Gives the ids that a tokenizer puts before a text and after it."""
    text = some_text(tokenizer)
    bare = list(_call(tokenizer, text, target, add_special_tokens=False))
    whole = list(_call(tokenizer, text, target))
    start = next(i for i in range(len(whole) + 1) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def some_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """Gives a short text of which the vocabulary makes a token: `a`, or one of its words if it has no `a`."""
    specials = set(tokenizer.all_special_ids)
    words = (str(tokenizer.decode([i])) for i in range(len(tokenizer)) if i not in specials)
    return next(
        text
        for text in chain("a1.", words, ["a"])
        if text and _call(tokenizer, text, False, add_special_tokens=False)
    )


def _call(tokenizer: Any, texts: str | list[str], target: bool, **options: Any) -> Any:
    """Tokenises inputs, or targets as the tokenizer takes them (Marian, mBART, NLLB)."""
    found = tokenizer(text_target=texts, **options) if target else tokenizer(texts, **options)
    return found["input_ids"]


def collate(examples: Sequence[EncodedExample], pad_token_id: int, multiple: int = 8) -> dict[str, Tensor]:
    """Pads examples on the right to the longest of them, up to the multiple, which accelerators like."""
    inputs = [torch.from_numpy(example.inputs).long() for example in examples]
    targets = [torch.from_numpy(example.targets).long() for example in examples]
    return {
        "input_ids": _pad(inputs, pad_token_id, multiple),  # (batch, input_len)
        "attention_mask": _pad([torch.ones_like(row) for row in inputs], 0, multiple),
        "labels": _pad(targets, IGNORED, multiple),  # (batch, target_len)
    }


def trim_padding(batch: Mapping[str, Tensor], multiple: int = 8) -> dict[str, Tensor]:
    """Cuts columns that are padding in every row off the right, as views, for the few rows of an ascent."""
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

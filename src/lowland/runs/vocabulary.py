"""A model's vocabulary, as the check of what it can read and write asks it."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from lowland.data import encode_texts
from lowland.data.encode import TokenIds
from lowland.data.writable import Vocabulary
from lowland.evaluate.generate import written_labels
from lowland.families.base import Family
from lowland.families.writer import Writer

WHOLE = 1_000_000
"""Tokens that no text has."""


def vocabulary_of(family: Family, input_length: int, target_length: int) -> Vocabulary:
    """Makes what `check_writing` asks of a model.

    Args:
        family: The model.
        input_length: Most tokens of an input.
        target_length: Most tokens of a target.
    """
    tokenizer = family.tokenizer
    unknown = tokenizer.unk_token_id
    # Some tokenizers name their end as what is unknown: GPT-2's know every byte.
    lacks = None if unknown is None or unknown == tokenizer.eos_token_id else int(unknown)
    if not isinstance(family, Writer):
        return Vocabulary(
            read=lambda texts: encode_texts(texts, tokenizer, input_length)[0],
            encode=lambda texts: [],
            write=lambda texts: _read_back(tokenizer, encode_texts(texts, tokenizer, WHOLE)[0]),
            within=lambda texts: texts,
            labels=lambda labels: {},
            unknown=lacks,
            writes=False,
        )
    return Vocabulary(
        read=lambda texts: family.encode_inputs(texts, input_length)[0],
        encode=lambda texts: family.encode_targets(texts, target_length)[0],
        write=lambda texts: _read_back(tokenizer, family.encode_targets(texts, WHOLE)[0]),
        within=lambda texts: _read_back(tokenizer, family.encode_targets(texts, target_length)[0]),
        labels=lambda labels: written_labels(labels, tokenizer),
        unknown=lacks,
    )


def _read_back(tokenizer: PreTrainedTokenizerBase, rows: Sequence[TokenIds]) -> Sequence[str]:
    """Decodes as what a model generates is read."""
    ids = [row.tolist() for row in rows]
    return tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

"""A vocabulary of a few words, and its tokenizer."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

GOOD, BAD = ("good", "warm", "short"), ("bad", "cold", "long")
WORDS = [
    "<pad>",
    "</s>",
    "<unk>",
    "the",
    "film",
    "was",
    "good",
    "warm",
    "short",
    "bad",
    "cold",
    "long",
    "and",
    "very",
]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )

"""What the examples share: the embedded model and a task of sixteen sentences."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lowland.models.load import load_model

REVIEWS = {
    "good": [
        "a warm and funny film",
        "the cast is a joy to watch",
        "smart, quick and full of heart",
        "one of the best of the year",
        "a story told with great care",
        "it made the whole room laugh",
        "beautiful to look at and to hear",
        "every scene earns its place",
    ],
    "bad": [
        "a long and empty film",
        "the cast looks half asleep",
        "loud, slow and without a point",
        "one of the worst of the year",
        "a story that goes nowhere",
        "nobody in the room laughed",
        "dull to look at and to hear",
        "every scene is too long",
    ],
}
Batch = dict[str, Tensor]


def model_and_tokenizer() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The small T5 that lowland carries, with fp32 weights, ready to train."""
    torch.manual_seed(0)
    loaded = load_model("embedded", dropout=0.1)
    return loaded.model.train(), loaded.tokenizer


def rows(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, list[int]]]:
    """The task's examples, tokenized."""
    pairs = [pair for both in zip(REVIEWS["good"], REVIEWS["bad"], strict=True) for pair in both]
    made = []
    for index, review in enumerate(pairs):
        row = dict(tokenizer(f"review: {review}"))
        row["labels"] = tokenizer(text_target=["good", "bad"][index % 2])["input_ids"]
        made.append(row)
    return made


def collate(chosen: list[dict[str, list[int]]]) -> Batch:
    """Pads rows to one batch."""
    padding = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    return {
        name: torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row[name]) for row in chosen], batch_first=True, padding_value=value
        )
        for name, value in padding.items()
    }


def batches(tokenizer: PreTrainedTokenizerBase, size: int, epochs: int = 2) -> list[Batch]:
    """The task as batches of one size, in order, some times over."""
    examples = rows(tokenizer) * epochs
    return [collate(examples[start : start + size]) for start in range(0, len(examples), size)]

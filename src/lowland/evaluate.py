"""Score a model: let it write for each input, by greedy decoding, and hand what it wrote to the tasks."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lowland.data import encode_texts
from lowland.data.encode import TokenIds, decode
from lowland.files import write_atomic
from lowland.models.load import LoadedModel, quiet_transformers
from lowland.tasks.base import Example, Task

if TYPE_CHECKING:
    from lowland.families.base import Family

Encode: TypeAlias = Callable[[Sequence[str], int], tuple[Sequence[TokenIds], int]]

LONGEST_LABEL = 512
"""Tokens of a class word, generously."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The score of a model on one evaluation set: metrics in percent, and what it wrote for each example."""

    metrics: Mapping[str, float]
    predictions: tuple[str, ...]
    seconds: float
    examples: int
    warnings: tuple[str, ...] = ()


def evaluate_sets(
    model: Family,
    tasks_by_set: Mapping[str, Task],
    examples_by_set: Mapping[str, Sequence[Example]],
    *,
    input_length: int | None = None,
    target_length: int | None = None,
    batch_size: int = 64,
    bf16: bool = False,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, EvaluationResult]:
    """Scores a model on evaluation sets, each by its task; `labels` are all that the model knows, by set."""
    results = {}
    for name, examples in examples_by_set.items():
        task = tasks_by_set[name]
        start = time.perf_counter()
        cut: list[int] = []
        length, most = model.lengths(input_length or task.input_length, target_length or task.target_length)
        predictions = model.predict(
            [example.inputs for example in examples],
            input_length=length,
            target_length=most,
            batch_size=batch_size,
            bf16=bf16,
            on_cut=cut.append,
            labels=(labels or {}).get(name) or task.labels(examples),
        )
        results[name] = EvaluationResult(
            metrics=task.evaluate(examples, predictions),
            predictions=tuple(predictions),
            seconds=time.perf_counter() - start,
            examples=len(examples),
            warnings=tuple(
                f"{name}: {number} of {len(examples)} evaluation inputs are longer than {length} tokens and "
                "were cut."
                for number in cut
            ),
        )
    return results


def write_predictions(path: str | Path, examples: Sequence[Example], predictions: Sequence[str]) -> None:
    """Writes one JSON line for each example (`inputs`, `targets`, `prediction`): all of them, or no file."""
    rows = (
        {"inputs": example.inputs, "targets": example.targets, "prediction": prediction}
        for example, prediction in zip(examples, predictions, strict=True)
    )
    write_atomic(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def generate(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    input_length: int,
    target_length: int,
    batch_size: int = 64,
    bf16: bool = False,
    on_cut: Callable[[int], None] = lambda number: None,
    labels: Sequence[str] = (),
    encode: Encode | None = None,
) -> list[str]:
    """Lets the model write a text for each input: the likeliest token each time, or by its beams.

    The modes of its modules and every random stream are as before when this returns. `on_cut` hears of the
    number of inputs that were cut; among `labels` the model chooses (see `written_labels`); `encode` encodes
    texts and counts those that were cut, by T5's rule by default.
    """
    model: Any = loaded.model
    tokenizer = loaded.tokenizer
    encoded, cut = (encode or (lambda texts, n: encode_texts(texts, tokenizer, n)))(texts, input_length)
    if cut:
        on_cut(cut)
    # Inputs of like length share a batch, so that little padding is computed.
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    predictions = [""] * len(texts)
    # With a cache, ProphetNet ends in an error of transformers' own.
    options = {"use_cache": False} if model.config.model_type == "prophetnet" else {}
    autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=bf16)
    with evaluation_mode(model), torch.inference_mode(), autocast, quiet_transformers():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            rows = [torch.from_numpy(encoded[index]).long() for index in chosen]
            # A model that goes on with its input must end at the input's last token.
            side = "right" if model.config.is_encoder_decoder else "left"
            pad_token_id = model.generation_config.pad_token_id
            input_ids = pad_sequence(rows, batch_first=True, padding_value=pad_token_id, padding_side=side)
            mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
            written = model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                num_return_sequences=1,
                return_dict_in_generate=False,
                max_new_tokens=target_length,
                tokenizer=tokenizer,  # for texts at which to stop, where a kept configuration has some
                **options,
            )
            if side == "left":
                written = written[:, input_ids.shape[1] :]
            for index, string in zip(chosen, decode(written, tokenizer), strict=True):
                predictions[index] = string
    words = written_labels(labels, tokenizer)
    return [words.get(prediction, prediction) for prediction in predictions]


def written_labels(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Finds the labels that a tokenizer cannot write as they are, such as `True` where it folds case.

    The model is trained on the token ids of `True`; whoever writes these ids means that label. What the
    tokenizer makes of them is mapped to the label, where this tells it from all others.
    """
    if not labels:
        return {}
    encoded, _ = encode_texts(labels, tokenizer, LONGEST_LABEL, target=True)
    written = decode(encoded, tokenizer)
    return {
        text: label
        for text, label in zip(written, labels, strict=True)
        if text and text not in labels and written.count(text) == 1
    }


@contextlib.contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switches dropout off; afterwards each module has its own mode again."""
    modes = [(module, module.training) for module in nn.Module.modules(model)]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

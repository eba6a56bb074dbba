"""Classifiers: BERT, ModernBERT, DeBERTa, MiniLM and their kin, with a head over a task's labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from lowland.data import EncodedExample, EncodedSet, collate, encode_texts
from lowland.data.encode import CHUNK, TokenIds, literal
from lowland.errors import UserError
from lowland.families.base import Family, Reading, Start, TaskExamples
from lowland.families.settings import FamilySettings
from lowland.models.load import Kind, LoadedModel
from lowland.tasks.base import Example, Pair
from lowland.train.loss import token_loss

REGRESSION = "regression"
"""The `problem_type` of a head that gives a number."""

MOST_SHOWN = 8
"""Labels that a sentence lists."""


class Classifier(Family):
    """A model that gives one of a task's labels, or a number."""

    name: ClassVar[str] = "classifier"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    pipeline: ClassVar[str] = "text-classification"
    defaults: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adamw",
        "batch_size": 32,
        "z_loss": 0.0,
        "learning_rate": 3e-5,
    }

    def __init__(self, loaded: LoadedModel, settings: FamilySettings | None = None) -> None:
        super().__init__(loaded, settings)
        self.labels = labels_of(loaded.model.config)
        self._regression = not self.labels
        types = getattr(loaded.model.config, "type_vocab_size", 0) or 0
        self._has_types = types > 1 and "token_type_ids" in loaded.tokenizer.model_input_names
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def kind(cls, config: PreTrainedConfig, start: Start | None) -> Kind:
        """Says how such a model is loaded: with a new head where its own is not of the tasks' labels."""
        return kind_of(config, {} if start is None else start.tasks)

    def encode(self, examples: Sequence[Example], input_length: int, target_length: int) -> EncodedSet:
        """Encodes inputs, and gives each target its number."""
        inputs, cut = self._inputs([example.inputs for example in examples], input_length)
        return EncodedSet(
            inputs=inputs,
            targets=tuple(np.array([self._number(example.targets)]) for example in examples),
            truncated_inputs=cut,
            truncated_targets=0,
        )

    def _inputs(self, texts: Sequence[str], length: int) -> tuple[tuple[TokenIds, ...], int]:
        """Encodes texts, those that are pairs as the tokenizer puts two together; counts those cut."""
        length, _ = self.lengths(length, 1)
        pairs = [text for text in texts if isinstance(text, Pair)]
        single, cut = encode_texts([t for t in texts if not isinstance(t, Pair)], self.tokenizer, length)
        double, more = encode_pairs([pair.texts for pair in pairs], self.tokenizer, length)
        found, doubles = iter(single), iter(double)
        return tuple(next(doubles if isinstance(text, Pair) else found) for text in texts), cut + more

    def _number(self, target: str) -> Any:
        if self._regression:
            try:
                return np.float32(target)
            except ValueError:
                raise UserError(f"The target {target!r} is no number.") from None
        if target not in self._numbers:
            raise UserError(f"The target {target!r} is none of the labels {', '.join(self.labels)}.")
        return np.int32(self._numbers[target])

    def collate(self, rows: Sequence[EncodedExample]) -> dict[str, Tensor]:
        """Pads inputs on the right. `labels` are classes (int64) or numbers (float32). `# (batch,)`."""
        batch = collate(rows, int(self.tokenizer.pad_token_id))
        most = self._most[0]  # rounded up, the width may be more than the table of positions has rows
        labels = torch.from_numpy(np.concatenate([row.targets for row in rows]))
        return {
            "input_ids": batch["input_ids"][:, :most],
            "attention_mask": batch["attention_mask"][:, :most],
            "labels": labels if self._regression else labels.long(),
        }

    def _forward(self, module: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Computes the scores of the labels. `# (batch, labels)`."""
        ids = batch["input_ids"]
        more = {}
        if self._has_types:  # what follows the first separator is the second text
            ends = ids == self.tokenizer.sep_token_id
            more["token_type_ids"] = ((ends.cumsum(1) - ends.long()) > 0).long() * batch["attention_mask"]
        scores: Tensor = module(input_ids=ids, attention_mask=batch["attention_mask"], **more).logits
        return scores.float()

    def mean_loss(self, module: Any, batch: Mapping[str, Tensor], **terms: Any) -> Tensor:
        """Computes the mean loss over examples: cross-entropy, or the squared error of numbers."""
        scores, labels = self._forward(module, batch), batch["labels"]
        return mse_loss(scores[:, 0], labels) if self._regression else token_loss(scores, labels, **terms)

    def predict(self, texts: Sequence[str], *, labels: Sequence[str] = (), **reading: Any) -> list[str]:
        """Gives each text its likeliest label, or a number. A score that is not finite gives ""."""
        scores = self._scores(texts, Reading(**reading))
        if self._regression:
            return [f"{row[0]:.4f}" if math.isfinite(row[0]) else "" for row in scores]
        return [self.labels[int(row.argmax())] if np.isfinite(row).all() else "" for row in scores]

    def likelihoods(
        self, texts: Sequence[str], answers: Sequence[Sequence[str]], **reading: Any
    ) -> list[list[float]]:
        """Gives the logarithm of each label's probability."""
        if self._regression:
            raise UserError("A model that gives numbers gives no probability to an answer.")
        logarithms = torch.from_numpy(self._scores(texts, Reading(**reading))).log_softmax(-1)
        return [
            [float(row[self._number(answer)]) for answer in asked]
            for row, asked in zip(logarithms, answers, strict=True)
        ]

    def _scores(self, texts: Sequence[str], reading: Reading) -> np.ndarray:
        """Gives the scores of the labels. `# (texts, labels)`."""
        encoded, cut = self._inputs(texts, reading.input_length)
        if cut:
            reading.on_cut(cut)
        rows = [EncodedExample(ids, np.zeros(1, dtype=np.int32)) for ids in encoded]
        model: Any = self.loaded.model
        found = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
        for chosen, batch in self.in_batches(rows, reading):
            found[chosen] = self._forward(model, batch).cpu().numpy()
        return found


def encode_pairs(pairs: Sequence[tuple[str, str]], tokenizer: Any, length: int) -> tuple[list[TokenIds], int]:
    """Encodes pairs of texts as the tokenizer puts two together; the longer one is cut first. Counts cuts."""
    if pairs and length < tokenizer.num_special_tokens_to_add(pair=True) + 2:
        raise UserError(f"A length of {length} tokens leaves no room for two texts; give a greater one.")
    rows, cut = [], 0
    for start in range(0, len(pairs), CHUNK):
        one, two = (literal(side, tokenizer) for side in zip(*pairs[start : start + CHUNK], strict=True))
        whole = tokenizer(one, two, verbose=False)["input_ids"]
        if long := sum(len(ids) > length for ids in whole):
            whole = tokenizer(one, two, truncation="longest_first", max_length=length)["input_ids"]
        cut += long
        rows += [np.asarray(ids, dtype=np.int32) for ids in whole]
    return rows, cut


def kind_of(config: PreTrainedConfig, tasks: TaskExamples) -> Kind:
    """Says how a classifier is loaded: with a new head where its own is not of the tasks' labels."""
    auto = AutoModelForSequenceClassification
    known: Any = auto._model_mapping
    prefix = f"{known[type(config)].base_model_prefix}." if type(config) in known else ""
    trained = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
    head = head_of(tasks) if tasks else None
    fresh = head is not None and not (trained and set(head) == set(labels_of(config)))
    if head is None and not trained:
        raise UserError(
            f"This checkpoint is an encoder ({config.model_type}) without a trained classifier; train "
            "one with `lowland train` or `lowland compare`, and give its model."
        )

    old = ", ".join(map(repr, labels_of(config)[:MOST_SHOWN])) or "numbers"

    def change(config: Any) -> None:
        config.num_labels = max(1, len(head or ()))
        if head:
            config.id2label = dict(enumerate(head))
            config.label2id = {label: number for number, label in enumerate(head)}
        config.problem_type = "single_label_classification" if head else REGRESSION

    def redraw(model: PreTrainedModel) -> None:
        """Draws a head anew that was of other labels."""
        drawn = type(model)(copy.deepcopy(model.config))
        with torch.no_grad():
            for name, weight in drawn.named_parameters():
                if not name.startswith(prefix):
                    model.get_parameter(name).copy_(weight)

    return Kind(
        auto=auto,
        name="model that classifies texts",
        wanted="a checkpoint of BERT, ModernBERT, DeBERTa or another encoder",
        is_fresh=(lambda name: not name.startswith(prefix) or "pooler" in name)
        if fresh
        else lambda name: False,
        is_unused=lambda name: not name.startswith(prefix) or "pooler" in name,
        finish=redraw if fresh and trained else lambda model: None,
        change=change if fresh else lambda config: None,
        note=f"The classifier of this checkpoint is for {old}, and not for the targets: a new one is trained."
        if fresh and trained
        else "",
    )


def head_of(tasks: TaskExamples) -> tuple[str, ...]:
    """Lists the labels of tasks, in their order; none where the targets are numbers."""
    labels: dict[str, None] = {}
    numeric: list[str] = []
    for name, (task, examples) in tasks.items():
        found = task.labels(examples)
        if found:
            labels |= dict.fromkeys(found)
        elif any(metric.startswith(("pearson", "spearman")) for metric in task.metrics):
            numeric.append(name)
        else:
            raise UserError(
                f"The targets of {name} are no labels, and a classifier cannot write; give a model that "
                "writes (T5, BART, Llama), or a metric of classes such as --metric accuracy."
            )
    if numeric and labels:
        raise UserError(
            f"The targets of {numeric[0]} are numbers, and others are labels; a classifier learns one kind."
        )
    if not numeric and len(labels) < 2:
        raise UserError("A classifier needs two labels or more, and the training examples have only one.")
    return tuple(labels)


def labels_of(config: Any) -> tuple[str, ...]:
    """Lists the labels of a head, in the order of its scores; a head of one label gives a number."""
    if config.problem_type == REGRESSION or config.num_labels == 1:
        return ()
    return tuple(config.id2label[number] for number in sorted(config.id2label))

"""Classifiers: BERT, ModernBERT, DeBERTa, MiniLM and their kin, with a head over a task's labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, pad
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from lowland.data import EncodedExample, EncodedSet, encode_texts
from lowland.errors import UserError
from lowland.evaluate.generate import evaluation_mode
from lowland.families.base import Family, Loss, Start, TaskExamples
from lowland.families.settings import FamilySettings
from lowland.models import Kind, LoadedModel
from lowland.tasks.base import Example

REGRESSION = "regression"
"""The `problem_type` of a head that gives a number."""


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
        self._regression = loaded.model.config.problem_type == REGRESSION
        self.labels = _labels_of(loaded.model.config)
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def kind(cls, config: PreTrainedConfig, start: Start | None) -> Kind:
        """Says how such a model is loaded: with a new head where its own is not of the tasks' labels.

        Raises:
            UserError: If there is no trained head and nothing to train one on.
        """
        auto = AutoModelForSequenceClassification
        known: Any = auto._model_mapping
        prefix = f"{known[type(config)].base_model_prefix}." if type(config) in known else ""
        trained = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
        tasks = {} if start is None else start.tasks()
        head = head_of(tasks) if tasks else None
        fresh = head is not None and not (trained and set(head) == set(_labels_of(config)))
        if head is None and not trained:
            raise UserError(
                f"This checkpoint is an encoder ({config.model_type}) without a trained classifier; train "
                "one with `lowland train` or `lowland compare`, and give its model."
            )

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
        )

    def encode(self, examples: Sequence[Example], input_length: int, target_length: int) -> EncodedSet:
        """Encodes inputs, and gives each target its number.

        Raises:
            UserError: If a target is none of the labels.
        """
        length, _ = self.lengths(input_length, target_length)
        inputs, cut = encode_texts([example.inputs for example in examples], self.tokenizer, length)
        return EncodedSet(
            inputs=inputs,
            targets=tuple(np.array([self._number(example.targets)]) for example in examples),
            truncated_inputs=cut,
            truncated_targets=0,
        )

    def _number(self, target: str) -> Any:
        if self._regression:
            try:
                return np.float32(target)
            except ValueError:
                raise UserError(f"The target {target!r} is no number.") from None
        if target not in self._numbers:
            raise UserError(f"The target {target!r} is none of the labels {', '.join(self.labels)}.")
        return np.int32(self._numbers[target])

    def collate(self, rows: Sequence[EncodedExample], multiple: int = 8) -> dict[str, Tensor]:
        """Pads inputs on the right. `labels` are classes (int64) or numbers (float32). `# (batch,)`."""
        ids = [torch.from_numpy(row.inputs).long() for row in rows]
        padding = int(self.tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        extra = (0, -mask.shape[1] % multiple)
        most = self._most[0]
        if most is not None:  # rounded up, the table of positions may be too short
            extra = (0, max(0, min(extra[1], most - mask.shape[1])))
        labels = torch.from_numpy(np.concatenate([row.targets for row in rows]))
        return {
            "input_ids": pad(
                pad_sequence(ids, batch_first=True, padding_value=padding), extra, value=padding
            ),
            "attention_mask": pad(mask, extra),
            "labels": labels if self._regression else labels.long(),
        }

    def loss(
        self,
        device: torch.device,
        *,
        bf16: bool = False,
        fast: bool = False,
        z_loss: float = 0.0,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> Loss:
        """Makes the mean loss over examples: cross-entropy, or the squared error of numbers."""
        return _ClassLoss(wrap(self.loaded.model), device, self._regression, bf16, z_loss)

    def predict(
        self,
        texts: Sequence[str],
        *,
        input_length: int,
        target_length: int,
        batch_size: int = 64,
        bf16: bool = False,
        on_cut: Callable[[int], None] = lambda number: None,
        labels: Sequence[str] = (),
    ) -> list[str]:
        """Gives each text its likeliest label, or a number. A score that is not finite gives ""."""
        scores, cut = self._scores(texts, input_length, batch_size, bf16)
        if cut:
            on_cut(cut)
        if self._regression:
            return [f"{row[0]:.4f}" if math.isfinite(row[0]) else "" for row in scores]
        return [self.labels[int(row.argmax())] if np.isfinite(row).all() else "" for row in scores]

    def likelihoods(
        self,
        texts: Sequence[str],
        answers: Sequence[Sequence[str]],
        *,
        input_length: int,
        target_length: int,
        batch_size: int = 64,
        bf16: bool = False,
    ) -> list[list[float]]:
        """Gives the logarithm of each label's probability.

        Raises:
            UserError: If an answer is no label, or the model gives numbers.
        """
        if self._regression:
            raise UserError("A model that gives numbers gives no probability to an answer.")
        scores, _ = self._scores(texts, input_length, batch_size, bf16)
        logarithms = torch.from_numpy(scores).log_softmax(-1)
        return [
            [float(row[self._number(answer)]) for answer in asked]
            for row, asked in zip(logarithms, answers, strict=True)
        ]

    def _scores(
        self, texts: Sequence[str], input_length: int, batch_size: int, bf16: bool
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
        """Gives the scores of the labels for each text, and how many texts were cut."""
        length, _ = self.lengths(input_length, 1)
        encoded, cut = encode_texts(texts, self.tokenizer, length)
        order = np.argsort([len(ids) for ids in encoded], kind="stable")
        model: Any = self.loaded.model
        found = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
        unused = np.zeros(1, dtype=np.int32)
        with (
            evaluation_mode(model),
            torch.inference_mode(),
            torch.autocast(model.device.type, torch.bfloat16, enabled=bf16),
        ):
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                batch = self.collate([EncodedExample(encoded[index], unused) for index in chosen])
                logits = model(
                    input_ids=batch["input_ids"].to(model.device),
                    attention_mask=batch["attention_mask"].to(model.device),
                ).logits
                found[chosen] = logits.float().cpu().numpy()
        return found, cut

    def texts(self, row: Mapping[str, Tensor]) -> tuple[str, str]:
        """Decodes the input, and names the label."""
        read: Any = self.tokenizer.decode
        inputs = str(read(row["input_ids"][row["attention_mask"] != 0], skip_special_tokens=True))
        label = row["labels"].reshape(()).item()
        return inputs, f"{label:g}" if self._regression else self.labels[int(label)]

    def dummy(self, examples: int, shape: tuple[int, int]) -> dict[str, Tensor]:
        """Makes a batch of a shape."""
        labels = torch.zeros(examples, dtype=torch.float32 if self._regression else torch.long)
        return super().dummy(examples, shape) | {"labels": labels}


class _ClassLoss:
    """The mean loss over the examples of a batch."""

    def __init__(
        self, module: nn.Module, device: torch.device, regression: bool, bf16: bool, z_loss: float
    ) -> None:
        self.module = module
        self._device, self._regression, self._bf16, self._z_loss = device, regression, bf16, z_loss

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        # The ascent's few examples are often shorter than the whole batch's longest.
        width = int(batch["attention_mask"].sum(1).max())
        width = min(width + -width % 8, batch["attention_mask"].shape[1])
        ids, mask = (batch[name][:, :width].to(self._device) for name in ("input_ids", "attention_mask"))
        labels = batch["labels"].to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext():
            scores: Tensor = self.module(input_ids=ids, attention_mask=mask).logits.float()
        if self._regression:
            return mse_loss(scores[:, 0], labels)
        loss = cross_entropy(scores, labels)
        return loss + self._z_loss * scores.logsumexp(-1).square().mean() if self._z_loss else loss


def head_of(tasks: TaskExamples) -> tuple[str, ...]:
    """Lists the labels of tasks, in their order; none where the targets are numbers.

    Raises:
        UserError: If a task has neither labels nor numbers, or some have labels and others numbers.
    """
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


def _labels_of(config: Any) -> tuple[str, ...]:
    if config.problem_type == REGRESSION:
        return ()
    return tuple(config.id2label[number] for number in sorted(config.id2label))

"""Classifiers: BERT, ModernBERT, DeBERTa, MiniLM and their kin, with a head over a task's labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from lowland.data import EncodedExample, EncodedSet, collate, encode_texts
from lowland.data.encode import TokenIds, literal, tokenize
from lowland.errors import UserError
from lowland.families.base import DeviceLoss, Family, Loss, Start, TaskExamples
from lowland.families.settings import FamilySettings
from lowland.models import Kind, LoadedModel
from lowland.tasks.base import Example, Pair

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
        types = getattr(loaded.model.config, "type_vocab_size", 0) or 0
        self._has_types = types > 1 and "token_type_ids" in loaded.tokenizer.model_input_names
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

        def compute(module: Any, batch: Mapping[str, Tensor]) -> Tensor:
            scores, labels = self._forward(module, batch), batch["labels"]
            if self._regression:
                return mse_loss(scores[:, 0], labels)
            loss = cross_entropy(scores, labels)
            return loss + z_loss * scores.logsumexp(-1).square().mean() if z_loss else loss

        return DeviceLoss(wrap(self.loaded.model), compute, device, bf16)

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
        encoded, cut = self._inputs(texts, input_length)
        unused = np.zeros(1, dtype=np.int32)
        rows = [EncodedExample(ids, unused) for ids in encoded]
        model: Any = self.loaded.model
        found = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
        for chosen, batch in self.in_batches(rows, batch_size, bf16):
            found[chosen] = self._forward(model, batch).cpu().numpy()
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


def encode_pairs(pairs: Sequence[tuple[str, str]], tokenizer: Any, length: int) -> tuple[list[TokenIds], int]:
    """Encodes pairs of texts as the tokenizer puts two together, of which the longer one is cut first.

    Returns:
        The ids of each pair, and how many were cut.
    """
    if not pairs:
        return [], 0
    bare, whole = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a", "a")["input_ids"]
    places = [place for place in range(len(whole)) if whole[place : place + len(bare)] == bare]
    before, between = whole[: places[0]], whole[places[0] + len(bare) : places[1]]
    after = whole[places[1] + len(bare) :]
    room = length - len(before) - len(between) - len(after)
    if room < 2:
        raise UserError(f"A length of {length} tokens leaves no room for two texts; give a greater one.")

    rows, cut = [], 0
    for one, two in zip(
        *(tokenize(literal(side, tokenizer), tokenizer) for side in zip(*pairs, strict=True)), strict=True
    ):
        kept = one[: max(room - len(two), room - room // 2)]
        rows.append(np.concatenate([before, kept, between, two[: room - len(kept)], after]).astype(np.int32))
        cut += len(one) + len(two) > room
    return rows, cut


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

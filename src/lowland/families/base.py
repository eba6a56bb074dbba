"""What a family of models is: how texts become batches, what the loss is, and how answers come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from lowland.data import IGNORED, EncodedExample, EncodedSet
from lowland.evaluate import evaluation_mode
from lowland.families.settings import FamilySettings
from lowland.models.load import Kind, LoadedModel
from lowland.tasks.base import Example, Task
from lowland.train.loss import BatchLoss

TaskExamples = Mapping[str, tuple[Task, Sequence[Example]]]
"""Name of a task -> the task and its training examples."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a family may need to know of a training: its tasks with their training examples, and the seed."""

    tasks: TaskExamples
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a finished model reads and writes; `on_cut` is told how many inputs were cut, if any."""

    input_length: int
    target_length: int
    batch_size: int = 64
    bf16: bool = False
    on_cut: Callable[[int], None] = lambda number: None


class Family(ABC):
    """A model with its tokenizer, and all that is particular of models of its kind.

    Attributes:
        pipeline: The hub's name for what it does, which is also transformers' pipeline where there is one.
        defaults: Settings of training that differ from T5's.
        writes: Whether it writes its answers token by token.
        labels: The labels that it can give; none where it writes, or gives numbers.
        chooses: Whether it answers with the likeliest of its labels, or of a task's where it has none.
        notes: What the user should know of the model.
    """

    name: ClassVar[str]
    auto_class: ClassVar[str]
    pipeline: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}
    writes: ClassVar[bool] = False

    def __init__(self, loaded: LoadedModel, settings: FamilySettings | None = None) -> None:
        self.loaded = loaded
        self.settings = settings or FamilySettings()
        self.notes: tuple[str, ...] = ()
        self.labels: tuple[str, ...] = ()
        self.chooses = not self.writes or self.settings.rank
        self._most = most_positions(loaded.model)

    @classmethod
    @abstractmethod
    def kind(cls, config: PreTrainedConfig, start: Start | None) -> Kind:
        """Says how such a model is loaded; `start` is `None` where nothing is trained."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.loaded.tokenizer

    def lengths(self, inputs: int, targets: int) -> tuple[int, int]:
        """Gives the most tokens of inputs and targets: what is asked for, or what the model can hold."""
        return min(inputs, self._most[0] or inputs), min(targets, self._most[1] or targets)

    @abstractmethod
    def encode(self, examples: Sequence[Example], input_length: int, target_length: int) -> EncodedSet:
        """Encodes examples for training, each input and each target by itself."""

    @abstractmethod
    def collate(self, rows: Sequence[EncodedExample]) -> dict[str, Tensor]:
        """Makes a batch: columns whose first dimension is the example, `labels` among them."""

    @abstractmethod
    def mean_loss(self, module: Any, batch: Mapping[str, Tensor], **terms: Any) -> Tensor:
        """Runs the model on a batch and computes its mean loss, a scalar; the terms as in `token_loss`."""

    def loss(
        self,
        device: torch.device,
        *,
        bf16: bool = False,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        **terms: Any,
    ) -> BatchLoss:
        """Makes the training loss of the model, whose module `wrap` wraps; terms as in `token_loss`."""
        return BatchLoss(
            wrap(self.loaded.model),
            lambda module, batch: self.mean_loss(module, batch, **terms),
            device,
            bf16=bf16,
        )

    @abstractmethod
    def predict(self, texts: Sequence[str], *, labels: Sequence[str] = (), **reading: Any) -> list[str]:
        """Answers each text, with one of the labels where there are some; see `Reading` for the rest."""

    @abstractmethod
    def likelihoods(
        self, texts: Sequence[str], answers: Sequence[Sequence[str]], **reading: Any
    ) -> list[list[float]]:
        """Computes the logarithm of the probability of each given answer to each text; see `Reading`."""

    def answer_tokens(self, texts: Sequence[str], length: int) -> list[int] | None:
        """Counts the tokens of written answers, the end included; `None` of a model that writes none."""
        return None

    def in_batches(
        self, rows: Sequence[EncodedExample], reading: Reading
    ) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Gives rows in batches of like length, with their numbers; the model is to evaluate them at once."""
        lengths = [self.longest(len(row.inputs), len(row.targets))[0] for row in rows]
        order = np.argsort(lengths, kind="stable")  # rows of one input stay together
        model: Any = self.loaded.model
        autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=reading.bf16)
        with evaluation_mode(model), torch.inference_mode(), autocast:
            for start in range(0, len(order), reading.batch_size):
                chosen = order[start : start + reading.batch_size]
                batch = self.collate([rows[index] for index in chosen])
                yield chosen, {name: column.to(model.device) for name, column in batch.items()}

    def count(self, batch: Mapping[str, Tensor]) -> int:
        """Counts what the loss is a mean of: target tokens, or examples."""
        return int((batch["labels"] != IGNORED).sum())

    def shape(self, batch: Mapping[str, Tensor]) -> tuple[int, int]:
        """Gives the width of a batch's inputs and of what a decoder computes besides."""
        return batch["input_ids"].shape[1], 0

    def longest(self, inputs: int, targets: int) -> tuple[int, int]:
        """Gives what `shape` would be for an example of so many tokens."""
        return inputs, 0


def plain_module(module: Any) -> Any:
    """Gives the model of transformers inside of adapters."""
    base = getattr(module, "get_base_model", None)
    return module if base is None else base()


def most_positions(model: nn.Module) -> tuple[int | None, int | None]:
    """Finds the most tokens of an input and of a target that a model has positions for; `None` where any."""
    inputs: list[int] = []
    targets: list[int] = []
    for name, module in model.named_modules():
        parts = name.split(".")
        if not isinstance(module, nn.Embedding) or "relative" in parts[-1]:
            continue
        if "position" not in parts[-1] and parts[-1] != "wpe":
            continue
        # BART and OPT begin at row 2; RoBERTa, MPNet and ProphetNet after the row of padding.
        after_padding = 0 if module.padding_idx is None else module.padding_idx + 1
        # ProphetNet reads the place after the one that it writes, too.
        after_padding += type(module).__name__.startswith("ProphetNet")
        rows = module.num_embeddings - (int(getattr(module, "offset", 0)) or after_padding)
        inputs += [rows] * ("decoder" not in parts)
        targets += [rows] * ("encoder" not in parts)
    return min(inputs, default=None), min(targets, default=None)

"""What a task is: rows become examples, and predictions become scores.

A text-to-text task is data, not code that trains: where its rows come from,
how a row is written as an input and a target text, and how the model's raw
output strings are scored. Nothing here knows about tokens or tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowland.metrics import Limit

Row = Mapping[str, Any]
"""One row of a data set, as in its official file: column or key -> value."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One input text and the target text that the model is trained to write.

    Attributes:
        inputs: The input text, exactly as it is tokenised (before EOS).
        targets: The target text.
        answers: All answers that count as right, for question answering; `None` elsewhere.
        ids: What groups examples in evaluation, for example MultiRC's question; `None` elsewhere.
        label: The class of the row where `targets` alone does not tell it (WSC, WNLI).
    """

    inputs: str
    targets: str
    answers: tuple[str, ...] | None = None
    ids: Mapping[str, int] | None = None
    label: int | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a task reads its rows.

    Attributes:
        data_dir: A directory with the official files; `None` for the hub or for what the package carries.
        hub: Whether the hub may be asked when the files are not in `data_dir`.
        train: Whether the training examples are wanted; scoring a finished model needs none.
    """

    data_dir: Path | None = None
    hub: bool = False
    train: bool = True


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's examples.

    Attributes:
        train: The training examples, in file order.
        evaluation: One list of examples for every evaluation set, by name. A task with a single
            set names it as the task itself; others add a part: `glue/mnli/matched`.
        warnings: Sentences about the data that the user should read (duplicates, overlaps, counts).
    """

    train: Sequence[Example]
    evaluation: Mapping[str, Sequence[Example]]
    warnings: tuple[str, ...] = field(default=())


class Task(ABC):
    """A text-to-text task.

    Attributes:
        name: The registered name, for example `glue/sst2`.
        description: One line for `lowland tasks`.
        metrics: Keys of `score`'s result in the order in which they are printed.
        input_length: Tokens of the input, EOS included, in the paper's setup.
        target_length: Tokens of the target, EOS included, in the paper's setup.
        sample_row: A short made-up row in the official format, for showing the task without its data.
        drops_rows: Whether the task leaves out rows by its rules (WSC trains on true rows only).
    """

    name: str
    description: str
    metrics: tuple[str, ...]
    input_length: int = 512
    target_length: int = 62
    sample_row: Row | None = None
    drops_rows: bool = False

    @abstractmethod
    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text.

        Args:
            row: The row as in the official file.
            split: `train`, `validation` or `test`; a few tasks write them differently.

        Returns:
            The examples in order; empty where the task drops the row.
        """

    @abstractmethod
    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores raw model outputs.

        Args:
            targets: Target strings, or for question answering the list of right answers of each question.
            predictions: What the model wrote, untouched.
            ids: What groups the examples, where a metric needs it.
            answers: All right answers, where `targets` holds only one (ReCoRD).
            labels: Classes, where `targets` does not tell them (WSC, WNLI).

        Returns:
            Metric name -> value in percent (correlations too).
        """

    @abstractmethod
    def load(self, source: Source) -> TaskData:
        """Reads the training and evaluation examples.

        Raises:
            UserError: If a file is missing, malformed or empty; the message names file, line and field.
        """

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the labels of which every target is one; empty where targets are no labels.

        Args:
            examples: Examples made by this task.
        """
        return ()

    def exchangeable(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the targets that a wrong one can be drawn from; empty where none would make sense.

        Args:
            examples: Examples made by this task.
        """
        return self.labels(examples)

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says what scores of these examples cannot tell, for example F1 where no target is positive.

        Args:
            examples: Examples that are to be scored together.
        """
        return []

    def evaluate(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        """Scores predictions for examples made by this task, handing `score` what the examples carry.

        Raises:
            ValueError: If there are no examples, or not as many predictions.
        """
        if not examples:
            raise ValueError(f"{self.name} has no examples to score.")
        first = examples[0]
        has_answers = first.answers is not None
        return self.score(
            [example.targets for example in examples],
            predictions,
            ids=[example.ids or {} for example in examples] if first.ids is not None else None,
            answers=[example.answers or () for example in examples] if has_answers else None,
            labels=[int(example.label or 0) for example in examples] if first.label is not None else None,
        )

"""What a task is: rows become examples, and predictions become scores.

A text-to-text task is data: where its rows come from, how a row is written as an input and a target text, and
how what a model writes is scored. Nothing here knows about tokens or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.metrics import Domain, Limit, find_limit

Row = Mapping[str, Any]
"""One row of a data set, as in its official file: column or key -> value."""

UNLABELLED = "<unk>"
"""The target of a row without a label, as in the T5 library."""


class Pair(str):
    """An input text made of two, `texts`, which an encoder such as BERT reads as a pair.

    Only the whole text counts where texts are compared, counted or written down.
    """

    texts: tuple[str, str]

    def __new__(cls, whole: str, first: str = "", second: str = "") -> Pair:
        """Makes it of the whole text and of the two that it is made of."""
        made = super().__new__(cls, whole)
        made.texts = (first, second)
        return made


@dataclass(frozen=True, kw_only=True)
class Example:
    """One input text and the target text that the model is trained to write.

    `answers` are all that count as right, for question answering; `ids` group examples in evaluation, as
    MultiRC's questions do; `label` is the row's class where `targets` alone does not tell it (WSC, WNLI).
    """

    inputs: str
    targets: str
    answers: tuple[str, ...] | None = None
    ids: Mapping[str, int] | None = None
    label: int | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a data set."""

    patterns: tuple[str, ...]  # of file names, the official name first; upper and lower case are the same
    hub: str  # its name on the hub
    published: int | None = None  # number of examples, of which a difference is reported
    pick: Callable[[Row], Iterable[Row]] | None = None  # its rows out of a file's row, where it holds several


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The files of a task."""

    folders: tuple[str, ...]  # names of the folder that holds the files, the official name first
    train: Split | None  # None for a task that is evaluated only
    evaluation: Mapping[str, Split]
    hub: tuple[str, str | None]  # name and configuration on the Hugging Face hub
    revision: str | None = None  # commit on the hub, so that rows do not change under a record
    columns: tuple[str, ...] | None = None  # of TSV files without a header
    drop_short_rows: bool = False  # leave out rows that lack fields, as the official readers do (QQP)
    read: Callable[[Path], Iterator[tuple[int, Row]]] | None = None  # reads one file; numbered rows


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a task reads its rows: a folder with official files, else the hub; training rows, too."""

    data_dir: Path | None = None
    hub: bool = False
    train: bool = True


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's examples in file order, and sentences about them that the user should read.

    A task with a single evaluation set names it as the task itself; others add a part: `glue/mnli/matched`.
    """

    train: Sequence[Example]
    evaluation: Mapping[str, Sequence[Example]]
    warnings: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class Task:
    """A text-to-text task; its lengths are those of the paper, EOS included."""

    name: str
    description: str
    metrics: tuple[str, ...]  # names of the numbers that scoring gives, in the order of printing
    write: Callable[[Row, str], list[Example]]  # writes a row of a split; none where the task drops the row
    scorer: Callable[[Sequence[Example], Sequence[str]], dict[str, float]]  # in percent, by metric
    data: DataSet | None = None
    carried: Callable[[], tuple[Sequence[Row], Sequence[Row]]] | None = None  # rows inside the package
    sample_row: Row | None = None  # a made-up one, for showing the task without its data
    classes: tuple[str, ...] = ()  # the class words, where every target is one
    exchanges: bool = False  # whether a wrong target can be another example's, where there are no classes
    evaluated: bool = True  # whether a mixture evaluates it; T5 only trains on DPR, beside WSC
    drops_rows: bool = False  # whether it leaves out rows by its rules (WSC trains on true rows only)
    input_length: int = 512
    target_length: int = 62

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row of an official file as text; a few tasks write training rows differently."""
        return self.write(row, split)

    def load(self, source: Source) -> TaskData:
        """Reads the training and evaluation examples; what is wrong is named with file, line and field."""
        from lowland.tasks.sources import load  # which reads what is declared here

        return load(self, source)

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the labels of which every target of such examples is one; empty where there are none."""
        return self.classes

    def exchangeable(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the targets that a wrong one can be drawn from; empty where none would make sense."""
        if self.exchanges:
            return tuple(sorted({example.targets for example in examples}))
        return self.labels(examples)

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says what scores of examples that are scored together cannot tell."""
        targets = [example.targets for example in examples]
        domain = Domain.of(self.classes, self.classes[1] if self.classes else None)
        # Without classes there are answers, of which no set lacks any, or numbers.
        names = self.metrics if self.classes else [key for key in self.metrics if key.startswith("pearson")]
        found = [find_limit(name, targets, domain) for name in names]
        return list(dict.fromkeys(limit for limit in found if limit is not None))

    def evaluate(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        """Scores raw model outputs: metric name -> value in percent (correlations too)."""
        if not examples:
            raise ValueError(f"{self.name} has no examples to score.")
        if len(examples) != len(predictions):
            raise ValueError(f"Got {len(examples)} targets and {len(predictions)} predictions.")
        return self.scorer(examples, predictions)

"""A user's own data: a training file, an evaluation file, and two templates."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland import metrics
from lowland.errors import UserError, unknown_name
from lowland.metrics import Domain, Limit
from lowland.tasks import checks, fields
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.rows import place, read_rows

MOST_SHOWN = 8
"""Classes that a message lists."""


@dataclass(frozen=True)
class Template:
    """A text with fields of a row in braces, for example `review: {text}`; `{{` and `}}` write a brace.

    Nothing but plain field names is understood, and nothing of the user's is ever evaluated.

    Attributes:
        text: The template as the user wrote it.

    Raises:
        UserError: If a brace is unbalanced, or holds more than a field's name.
    """

    text: str

    def __post_init__(self) -> None:
        for _, name, format_spec, conversion in self._pieces():
            if name is None:
                continue
            if not name.strip():
                raise UserError(
                    f"The template {self.text!r} has empty braces; write a field's name, as in {{text}}."
                )
            if format_spec or conversion:
                raise UserError(
                    f"The template {self.text!r} has a ':' or '!' after the field {name!r};"
                    " only plain names such as {text} are understood."
                )
            if any(character in name for character in ".[]{"):
                raise UserError(
                    f"The template {self.text!r} reaches into a field with {name!r};"
                    " only plain names such as {text} are understood."
                )

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, each once, in order."""
        return tuple(dict.fromkeys(name for _, name, _, _ in self._pieces() if name is not None))

    def fill(self, row: Row) -> str:
        """Writes a row's fields into the template.

        Raises:
            UserError: If a field is missing, empty (null), or neither text, number nor truth value.
        """
        pieces = []
        for literal, name, _, _ in self._pieces():
            pieces.append(literal)
            if name is not None:
                value = fields.find(row, name)
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"the field {name!r} is a number that is too large; write it as text.")
                if not isinstance(value, (str, int, float)):
                    raise UserError(
                        f"the field {name!r} must be text or a number, but it is {fields.describe(value)}."
                    )
                pieces.append(str(value))
        return "".join(pieces)

    def _pieces(self) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise UserError(
                f"The template {self.text!r} has unbalanced braces ({error}); write {{{{ for a plain brace."
            ) from None


class CustomTask(Task):
    """Fine-tuning data of the user's own.

    Args:
        name: The name under which results are stored.
        train: Training file: `.jsonl`, `.json`, `.csv` or `.tsv` (see `lowland.tasks.rows`); `None` for a
            task that is for evaluation only.
        evaluation: Evaluation file, which may be of another kind.
        input_template: Writes the input, for example `review: {text}`.
        target_template: Writes the target, for example `{label}`.
        metrics: Names of `lowland.metrics.metric_names()`; accuracy where none is given.
        answers: The field that holds all right answers of a question: a list of texts in JSON, or texts
            with `|` between them. Without it the target is the one right answer.
        positive: The class that `f1` is of; the one that sorts last by default.
        classes: Classes that targets can have beside those in the files: of a model that was trained before.

    Raises:
        UserError: If a template or a metric is wrong, or two metrics write a number of the same name.
    """

    def __init__(
        self,
        name: str,
        train: Path | None,
        evaluation: Path,
        input_template: str,
        target_template: str,
        metrics: tuple[str, ...] | None = None,
        answers: str | None = None,
        positive: str | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        # Results are stored in files of this name.
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
            raise UserError(
                f"The name {name!r} must be made of letters, digits, '_', '-' and '.', as in my-task."
            )
        self.name = name
        self.train = None if train is None else Path(train).expanduser()
        self.evaluation = Path(evaluation).expanduser()
        self.input_template = Template(input_template)
        self.target_template = Template(target_template)
        self.answers = answers
        self.positive = positive
        self.classes = classes
        self.domain: Domain | None = None
        self.scores = _metrics(metrics or ("accuracy",))
        self.metrics = tuple(key for metric in self.scores for key in metric.keys)
        self.description = f"{(self.train or self.evaluation).name}: {input_template} -> {target_template}"
        for what, template in (("input", self.input_template), ("target", self.target_template)):
            if not template.fields:
                raise UserError(
                    f"The {what} template {template.text!r} has no field; write one as in {{text}}."
                )

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text.

        Raises:
            UserError: If a field is missing or of a wrong kind, or the target is empty.
        """
        targets = self.target_template.fill(row)
        if not _visible(targets):
            named = " and ".join(map(repr, self.target_template.fields))
            raise UserError(
                f"the target is empty (the field {named}): there is nothing to learn; leave the row out."
            )
        answers = None
        if any(metric.kind == "text" for metric in self.scores):
            answers = (targets,) if self.answers is None else _right_answers(row, self.answers)
        return [Example(inputs=self.input_template.fill(row), targets=targets, answers=answers)]

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the classes of the data, or those of the examples where nothing was loaded."""
        if all(metric.kind != "class" for metric in self.scores):
            return ()
        return self._domain([example.targets for example in examples]).classes

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says for which metrics the examples lack a class, or are too few."""
        targets = [example.targets for example in examples]
        found = [metric.limit(targets, self._domain(targets)) for metric in self.scores]
        return list(dict.fromkeys(limit for limit in found if limit is not None))

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores raw model outputs with the chosen metrics, whose classes are those of the loaded data."""
        if len(targets) != len(predictions):
            raise ValueError(f"Got {len(targets)} targets and {len(predictions)} predictions.")
        right = [[target] if isinstance(target, str) else list(target) for target in targets]
        first = [group[0] if group else "" for group in right]
        numbers: dict[str, float] = {}
        for metric in self.scores:
            numbers |= metric.score(
                first, predictions, answers if answers is not None else right, self._domain(first)
            )
        return numbers

    def _domain(self, targets: Sequence[str]) -> Domain:
        """Gives what the targets can be: those of the loaded data, else those at hand."""
        return self.domain or Domain.of([*targets, *self.classes], self.positive)

    def load(self, source: Source | None = None) -> TaskData:
        """Reads both files, or the evaluation file where there is no other.

        Raises:
            UserError: If a file is missing, malformed or empty, or does not suit the metrics.
        """
        train = [] if self.train is None else self._read(self.train, "train")
        evaluation = self._read(self.evaluation, "validation")
        targets = [example.targets for example in (*train, *evaluation)]
        domain = Domain.of([*targets, *self.classes], self.positive)
        self._check_targets(targets, domain)
        self.domain = domain
        warnings = [
            *checks.blank(self.name, [*train, *evaluation]),
            *checks.one_class(self.name, train),
            *checks.repeated(self.name, train),
            *checks.shared(self.name, train, evaluation),
        ]
        if train and any(metric.kind == "class" for metric in self.scores):
            warnings += checks.unseen(self.name, train, evaluation)
        warnings += checks.limits(f"{self.name}, evaluation", self.limits(evaluation))
        return TaskData(train=train, evaluation={self.name: evaluation}, warnings=tuple(warnings))

    def _read(self, path: Path, split: str) -> list[Example]:
        examples: list[Example] = []
        for number, row in read_rows(path):
            if not examples and path.suffix.lower() in (".csv", ".tsv"):
                self._check_columns(path, row)
            try:
                examples += self.examples(row, split)
            except UserError as error:
                raise UserError(f"{place(path, number)}: {error}") from None
        return examples

    def _check_columns(self, path: Path, row: Row) -> None:
        """Refuses a table whose first line lacks a column of the templates.

        Raises:
            UserError: If it does; the message says what the columns are, or why there are none.
        """
        for name in (*self.input_template.fields, *self.target_template.fields):
            if name in row:
                continue
            (only, *more), right = row, "commas" if path.suffix.lower() == ".csv" else "tabs"
            wrong = next((mark for mark in (";", "\t", ",") if not more and mark in only), None)
            if wrong is not None:
                kind = {";": "semicolons", "\t": "tabs", ",": "commas"}[wrong]
                raise UserError(
                    f"{path}, line 1: the columns have {kind} between them, not {right}; "
                    f"save the file with {right}" + (", or name it .tsv." if wrong == "\t" else ".")
                )
            raise UserError(f"{path}, line 1, which must name the columns: {fields.missing(name, row)}")

    def _check_targets(self, targets: Sequence[str], task: Domain) -> None:
        """Refuses targets that do not suit the metrics.

        Raises:
            UserError: If there are any.
        """
        if self.positive is not None:
            if all(metric.name != "f1" for metric in self.scores):
                raise UserError("--positive names the class of the metric f1; give --metric f1 with it.")
            if self.positive not in task.classes:
                raise unknown_name("class", self.positive, task.classes[:MOST_SHOWN])
        for metric in self.scores:
            metric.check(targets, task)


def _visible(text: str) -> bool:
    """Whether a text holds more than blanks, control characters and characters of no width."""
    return any(unicodedata.category(character)[0] not in "CZ" for character in text)


def _metrics(names: Sequence[str]) -> tuple[metrics.Metric, ...]:
    chosen = tuple(metrics.by_name(name) for name in names)
    for key, number in Counter(key for metric in chosen for key in metric.keys).items():
        if number > 1:
            raise UserError(
                f"The metrics {', '.join(names)} write two numbers of the name {key!r}; choose one of them."
            )
    return chosen


def _right_answers(row: Row, name: str) -> tuple[str, ...]:
    value = fields.find(row, name)
    answers = tuple(value.split("|")) if isinstance(value, str) else fields.texts(value, name)
    answers = tuple(answer for answer in answers if answer.strip())
    if not answers:
        raise UserError(f"the field {name!r} holds no right answer.")
    return answers

"""A user's own data: a training file, an evaluation file, and two templates."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowland import metrics
from lowland.errors import UserError
from lowland.metrics.named import Domain, Limit, listed
from lowland.metrics.texts import check_installed
from lowland.tasks import checks, fields
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.fields import Template
from lowland.tasks.rows import place, read_rows
from lowland.tasks.subsample import hold_out

SPLIT_SEED = 0
"""Of the rows that are split off for evaluation: every seed of an experiment is scored on the same ones."""


class CustomTask(Task):
    """Fine-tuning data of the user's own.

    `lowland.config.data.CustomData` says what the arguments mean. `classes` are those that targets can have
    beside those in the files, of a model that was trained before; with `split`, the rows for evaluation are
    the same for every seed, and those with the same input stay together.
    """

    def __init__(
        self,
        name: str,
        train: Path | None,
        evaluation: Path | None,
        input_template: str,
        target_template: str,
        metrics: tuple[str, ...] | None = None,
        answers: str | None = None,
        positive: str | None = None,
        classes: tuple[str, ...] = (),
        split: float | None = None,
        skip_empty: bool = False,
    ) -> None:
        # Results are stored in files of this name.
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
            raise UserError(
                f"The name {name!r} must be made of letters, digits, '_', '-' and '.', as in my-task."
            )
        self.train = None if train is None else Path(train)
        self.evaluation = None if evaluation is None else Path(evaluation)
        self.split, self.skip_empty, self.answers, self.positive = split, skip_empty, answers, positive
        self.input_template, self.target_template = Template(input_template), Template(target_template)
        self.domain: Domain | None = None
        self.scores = _metrics(metrics or ("accuracy",))
        file = self.train or self.evaluation
        both_or_none = (self.evaluation is None) == (split is None)
        if file is None or both_or_none or not (split is None or 0 < split < 1):
            raise UserError(
                f"Invalid split={split!r}. Give test rows with --test, or a fraction of the training rows "
                "between 0 and 1 with --split, such as --split 0.2; not both."
            )
        for what, template in (("input", self.input_template), ("target", self.target_template)):
            if not template.fields:
                raise UserError(
                    f"The {what} template {template.text!r} has no field; write one as in {{text}}."
                )
        super().__init__(
            name=name,
            description=f"{file.name}: {input_template} -> {target_template}",
            metrics=tuple(key for metric in self.scores for key in metric.keys),
            classes=classes,
            write=self._write,
            scorer=self._score,
        )

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the classes of the data, or those of the examples where nothing was loaded."""
        return self._domain(examples).classes if self._of_kind("class") else ()

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says for which metrics the examples lack a class, or are all the same."""
        targets = [example.targets for example in examples]
        found = [metric.limit(targets, self._domain(examples)) for metric in self.scores]
        return list(dict.fromkeys(limit for limit in found if limit is not None))

    def load(self, source: Source | None = None) -> TaskData:
        """Reads both files, or the evaluation file where there is no other, and checks their targets."""
        warnings: list[str] = []
        train = [] if self.train is None else self._read(self.train, "train", warnings)
        if self.evaluation is not None:
            evaluation = self._read(self.evaluation, "validation", warnings)
        elif self.split is not None:
            try:
                train, evaluation = hold_out(train, self.split, SPLIT_SEED)
            except UserError as error:
                raise UserError(f"{self.train}: {error} Give another file with --test.") from None
        self.domain = None
        self.domain = self._domain([*train, *evaluation])
        if self.positive is not None and all(metric.name != "f1" for metric in self.scores):
            raise UserError("--positive names the class of the metric f1; give --metric f1 with it.")
        if self.positive is not None and self.positive not in self.domain.classes:
            known = listed(self.domain.classes)
            raise UserError(f"--positive {self.positive!r} is no target; the targets are {known}.")
        for metric in self.scores:
            metric.check([example.targets for example in (*train, *evaluation)], self.domain)
        warnings += [*checks.torn(self.name, train), *checks.shared(self.name, train, evaluation)]
        if train and self._of_kind("class"):
            warnings += checks.unseen(self.name, {example.targets for example in train}, evaluation)
        warnings += checks.limits(f"{self.name}, evaluation", self.limits(evaluation))
        return TaskData(train=train, evaluation={self.name: evaluation}, warnings=tuple(warnings))

    def _of_kind(self, kind: str) -> bool:
        return any(metric.kind == kind for metric in self.scores)

    def _domain(self, examples: Sequence[Example]) -> Domain:
        """Gives what the targets can be: those of the loaded data, else those at hand."""
        targets = [example.targets for example in examples]
        return self.domain or Domain.of([*targets, *self.classes], self.positive)

    def _write(self, row: Row, split: str) -> list[Example]:
        names = self.target_template.fields
        null = any(fields.find(row, name) is None for name in names)
        targets = "" if null else self.target_template.fill(row)
        if not any(unicodedata.category(character)[0] not in "CZ" for character in targets):  # none visible
            if self.skip_empty:
                return []
            raise UserError(
                f"the target is empty (the field {' and '.join(map(repr, names))}): there is nothing to "
                "learn. Leave such rows out of the file, or give --skip-empty."
            )
        answers = None
        if self._of_kind("text"):
            answers = (targets,) if self.answers is None else _right_answers(row, self.answers)
        return [Example(inputs=self.input_template.fill(row), targets=targets, answers=answers)]

    def _score(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        """Scores with the chosen metrics, whose classes are those of the loaded data."""
        targets = [example.targets for example in examples]
        answers = [example.answers or (example.targets,) for example in examples]
        numbers: dict[str, float] = {}
        for metric in self.scores:
            numbers |= metric.score(targets, predictions, answers, self._domain(examples))
        return numbers

    def _read(self, path: Path, split: str, warnings: list[str]) -> list[Example]:
        wanted = [*self.input_template.fields, *self.target_template.fields]
        wanted += [] if self.answers is None else [self.answers]
        examples: list[Example] = []
        rows = 0
        for number, row in read_rows(path, wanted=tuple(dict.fromkeys(wanted))):
            rows += 1
            try:
                examples += self.examples(row, split)
            except UserError as error:
                raise UserError(f"{place(path, number)}: {error}") from None
        if not examples:
            raise UserError(f"{path}: every row has an empty target, so that there is nothing to learn.")
        if len(examples) < rows:
            warnings.append(f"{path}: {rows - len(examples)} rows have an empty target and are left out.")
        return examples


def _metrics(names: Sequence[str]) -> tuple[metrics.Metric, ...]:
    chosen = tuple(metrics.by_name(name) for name in names)
    for name in names:
        check_installed(name)
    for key, number in Counter(key for metric in chosen for key in metric.keys).items():
        if number > 1:
            raise UserError(
                f"The metrics {', '.join(names)} write two numbers of the name {key!r}; choose one of them."
            )
    return chosen


def _right_answers(row: Row, name: str) -> tuple[str, ...]:
    value = fields.find(row, name)
    answers = value.split("|") if isinstance(value, str) else fields.texts(value, name)
    answers = tuple(answer for answer in answers if answer.strip())
    if not answers:
        raise UserError(f"the field {name!r} holds no right answer.")
    return answers

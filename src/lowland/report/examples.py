"""From runs to their test examples: which arm has which example right.

A run keeps what it predicted. Where a metric is the share of predictions that equal their target, more can
be said than its value: how the difference would be on other examples of this kind, which examples flip, and
which class is taken for which.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lowland.errors import UserError
from lowland.outcomes.flips import Flips, find_flips, flip_rows
from lowland.outcomes.score import Classes, score_classes
from lowland.report.comparison import Scored
from lowland.report.runs import Experiment
from lowland.statistics import CrossedInterval, crossed_interval

MOST_CLASSES = 20
"""More different targets than these are no classes that a reader can take in."""

MOST_FLIPS = 50
"""Flips of an evaluation set and arm that are written, the most telling ones."""

SHARE_DIGITS = 1e-6
"""A share of right answers in percent, computed twice, agrees to far more than this; other metrics do not."""

Predictions = Mapping[str, Mapping[int, Sequence[str]]]
"""arm -> seed -> what the run wrote for each example."""


@dataclass(frozen=True, kw_only=True)
class AnsweredSet:
    """An evaluation set, and what every run that counts wrote for it.

    Attributes:
        name: The evaluation set.
        metric: The metric that is the share of predictions that equal their target.
        inputs: The examples' inputs.
        targets: Their targets.
        predictions: The runs' predictions; the same seeds for every arm, the reference first.
    """

    name: str
    metric: str
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    predictions: Predictions

    @cached_property
    def right(self) -> Mapping[str, np.ndarray]:
        """Arm -> whether each seed's run has each example right, `# (seeds, examples)`."""
        return {
            arm: np.array(
                [
                    [text == target for text, target in zip(of_seed, self.targets, strict=True)]
                    for of_seed in runs.values()
                ]
            )
            for arm, runs in self.predictions.items()
        }

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.predictions))

    @property
    def floor(self) -> float:
        """The share of the commonest target, in percent: what one and the same answer to all reaches."""
        return 100 * max(Counter(self.targets).values()) / len(self.targets)

    def interval(self, arm: str) -> CrossedInterval | None:
        """Computes the interval for an arm's difference on other examples of this kind, too, in points.

        `None` for a single seed or example, and where the arms have the same examples right.
        """
        reference, other = self.right[self.reference], self.right[arm]
        if min(reference.shape) < 2 or (reference == other).all():
            return None  # without a flip there is no spread to go by
        return crossed_interval(100.0 * reference, 100.0 * other)

    def flips(self, arm: str) -> Flips:
        """Finds the examples that an arm has right and the reference wrong, and the other way round."""
        return find_flips(self.right[self.reference], self.right[arm])

    def telling(self, arm: str, most: int) -> list[dict[str, object]]:
        """Lists an arm's most telling flips, with what was asked, what is right and what each seed wrote."""
        return flip_rows(
            self.flips(arm).telling[:most],
            self.inputs,
            self.targets,
            list(self.predictions[self.reference].values()),
            list(self.predictions[arm].values()),
        )

    def classes(self, arm: str) -> Classes | None:
        """Scores each class over all seeds of an arm; `None` where the targets are no classes."""
        labels = sorted(set(self.targets))
        if not 1 < len(labels) <= MOST_CLASSES or len(labels) > len(self.targets) / 2:
            return None
        runs = self.predictions[arm].values()
        return score_classes(self.targets * len(runs), [text for of_seed in runs for text in of_seed], labels)


def read_examples(experiment: Experiment, scored: Scored) -> tuple[AnsweredSet, ...]:
    """Reads the predictions behind scores of one step for each run.

    Returns:
        One for each evaluation set that has a metric of this kind, the first such metric; none for runs that
        kept no predictions.

    Raises:
        UserError: If a file of predictions is malformed; the message names the file and the line.
    """
    found = []
    seeds = sorted(set.intersection(*(set(runs) for runs in scored.runs.values())))
    if not seeds:
        return ()
    for name, metrics in experiment.metrics.items():
        read = {
            arm: {
                seed: _read(experiment.directory, arm, seed, name, scored.steps[arm][seed]) for seed in seeds
            }
            for arm in scored.runs
        }
        everything = [rows for runs in read.values() for rows in runs.values()]
        first = everything[0]
        if first is None or any(rows is None or rows.targets != first.targets for rows in everything):
            continue
        for metric in metrics:
            values = [
                (rows.share if rows else math.nan, scored.runs[arm][seed][name, metric])
                for arm, runs in read.items()
                for seed, rows in runs.items()
            ]
            if all(abs(share - value) <= SHARE_DIGITS for share, value in values):
                found.append(
                    AnsweredSet(
                        name=name,
                        metric=metric,
                        inputs=first.inputs,
                        targets=first.targets,
                        predictions={
                            arm: {seed: rows.predictions for seed, rows in runs.items() if rows}
                            for arm, runs in read.items()
                        },
                    )
                )
                break
    return tuple(found)


@dataclass(frozen=True)
class _Rows:
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    predictions: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of predictions that equal their target, in percent."""
        return 100 * sum(map(str.__eq__, self.targets, self.predictions)) / len(self.targets)


def _read(directory: Path, arm: str, seed: int, name: str, step: int | None) -> _Rows | None:
    """Reads what a run wrote at a step; `None` where it has kept nothing of it."""
    file = directory / f"{arm}-seed{seed}" / "predictions" / f"{name}-{step}.jsonl"
    if step is None or not file.is_file():
        return None
    columns: tuple[list[str], list[str], list[str]] = ([], [], [])
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            for column, key in zip(columns, ("inputs", "targets", "prediction"), strict=True):
                if not isinstance(row[key], str):
                    raise TypeError
                column.append(row[key])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{file}, line {number}: this is no prediction, which has the texts inputs, targets and "
                "prediction. Remove the file to report without it."
            ) from None
    inputs, targets, predictions = map(tuple, columns)
    return _Rows(inputs, targets, predictions) if targets else None


def flips_file(sets: Sequence[AnsweredSet]) -> bytes:
    """Writes the most telling flips of every set and arm as JSON lines; empty where there are none."""
    lines = []
    for examples in sets:
        reference, *others = examples.predictions
        for arm in others:
            for row in examples.telling(arm, MOST_FLIPS):
                named = {"evaluation_set": examples.name, "arms": [reference, arm], **row}
                lines.append(json.dumps(named, ensure_ascii=False) + "\n")
    return "".join(lines).encode()

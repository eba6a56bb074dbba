"""From runs to their test examples: which arm has which example right.

A run keeps what it predicted. Where a metric is the share of predictions that equal their target, more can
be said than its value: how the difference would be on other examples of this kind, which examples flip, and
which class is taken for which.
"""

from __future__ import annotations

import json
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

MOST_CLASSES = 20  # a set with more different targets has no table of classes
MOST_FLIPS = 50  # flips of an evaluation set and arm that are written, the most telling ones

SHARE_DIGITS = 1e-6
"""A share of right answers in percent, computed twice, agrees to far more than this; other metrics do not."""

Texts = tuple[str, ...]
NOTHING: tuple[Texts, Texts, Texts] = ((), (), ())


@dataclass(frozen=True, kw_only=True)
class AnsweredSet:
    """An evaluation set, and what every run that counts wrote for it."""

    name: str
    metric: str  # the one that is the share of predictions that equal their target
    inputs: Texts
    targets: Texts
    predictions: Mapping[str, Mapping[int, Texts]]  # arm -> seed, the reference first, the seeds the same

    @cached_property
    def right(self) -> Mapping[str, np.ndarray]:
        """Arm -> whether each seed's run has each example right, `# (seeds, examples)`."""
        targets = np.array(self.targets, dtype=object)
        return {
            arm: np.array([targets == np.array(of_seed, dtype=object) for of_seed in runs.values()])
            for arm, runs in self.predictions.items()
        }

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.predictions))

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the reference."""
        return list(self.predictions)[1:]

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

    def telling(self, arm: str, most: int = MOST_FLIPS) -> list[dict[str, object]]:
        """Lists an arm's most telling flips, with what was asked, what is right and what each seed wrote."""
        told = self.flips(arm).telling[:most]
        wrote = [list(self.predictions[one].values()) for one in (self.reference, arm)]
        return flip_rows(told, self.inputs, self.targets, *wrote)

    def classes(self, arm: str) -> Classes | None:
        """Scores each class over all seeds of an arm; `None` where the targets are no classes."""
        labels = sorted(set(self.targets))
        if not 1 < len(labels) <= MOST_CLASSES or len(labels) > len(self.targets) / 2:
            return None
        runs = self.predictions[arm].values()
        return score_classes(self.targets * len(runs), [text for of_seed in runs for text in of_seed], labels)


def read_examples(experiment: Experiment, scored: Scored) -> tuple[AnsweredSet, ...]:
    """Reads the predictions behind scores, of each evaluation set that has a metric of this kind.

    Of several such metrics the first one counts. A set of which a run kept no predictions is left out.
    """
    found = []
    seeds = sorted(set.intersection(*(set(runs) for runs in scored.runs.values())))
    for name, metrics in experiment.metrics.items():
        read = {
            (arm, seed): _read(experiment.folder(arm, seed) / "predictions" / f"{name}-{steps[seed]}.jsonl")
            for arm, steps in scored.steps.items()
            for seed in seeds
        }
        inputs, targets, _ = next(iter(read.values()), NOTHING)
        if not targets or any(own[1] != targets for own in read.values()):
            continue
        share = {run: 100 * sum(map(str.__eq__, targets, own[2])) / len(targets) for run, own in read.items()}
        for metric in metrics:
            values = {(arm, seed): scored.runs[arm][seed][name, metric] for arm, seed in read}
            if all(abs(share[run] - values[run]) <= SHARE_DIGITS for run in read):
                told = {arm: {seed: read[arm, seed][2] for seed in seeds} for arm in scored.runs}
                one = AnsweredSet(name=name, metric=metric, inputs=inputs, targets=targets, predictions=told)
                found.append(one)
                break
    return tuple(found)


def _read(file: Path) -> tuple[Texts, Texts, Texts]:
    """Reads inputs, targets and predictions; none where there is no file."""
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines() if file.is_file() else (), start=1):
        try:
            row = json.loads(line)
            rows.append((row["inputs"], row["targets"], row["prediction"]))
            if not all(isinstance(text, str) for text in rows[-1]):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{file}, line {number}: this is no prediction, which has the texts inputs, targets and "
                "prediction. Remove the file to report without it."
            ) from None
    inputs, targets, predictions = zip(*rows, strict=True) if rows else NOTHING
    return inputs, targets, predictions


def flips_file(sets: Sequence[AnsweredSet]) -> bytes:
    """Writes the most telling flips of every set and arm as JSON lines; empty where there are none."""
    rows = [
        {"evaluation_set": one.name, "arms": [one.reference, arm], **row}
        for one in sets
        for arm in one.others
        for row in one.telling(arm)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()

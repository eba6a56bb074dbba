"""From runs to their test examples, where a metric is the share of predictions that equal their target.

More can be said then than its value: how the difference would be on other examples of this kind, which
examples flip, and which class is taken for which.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lowland.report.comparison import Scored
from lowland.report.runs import Experiment, parse, reading, take
from lowland.statistics import CrossedInterval, crossed_interval

MOST_CLASSES = 20  # a set with more different targets has no table of classes
MOST_FLIPS = 50  # flips of an evaluation set and arm that are written
OTHER = "(other)"  # the column of predictions that are no class

SHARE_DIGITS = 1e-6  # a share of right answers in percent, computed twice, agrees to far more than this

Texts = tuple[str, ...]
Rows = tuple[Texts, Texts, Texts]  # inputs, targets and predictions


@dataclass(frozen=True)
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
        """Computes the interval of an arm's difference on other examples of this kind, too, in points."""
        reference, other = self.right[self.reference], self.right[arm]
        if min(reference.shape) < 2 or (reference == other).all():
            return None  # for a single seed or example, or without a flip, there is no spread to go by
        return crossed_interval(100.0 * reference, 100.0 * other)

    def flips(self, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Says what the arm alone has right, and what the reference alone, each `# (seeds, examples)`."""
        before, after = self.right[self.reference], self.right[arm]
        return after & ~before, before & ~after

    def telling(self, arm: str, most: int = MOST_FLIPS) -> list[dict[str, object]]:
        """Lists the examples on which an arm differs, those that flip the same way in most seeds first."""
        gained, lost = (flipped.sum(0) for flipped in self.flips(arm))  # (examples,)
        order = np.argsort(-np.abs(gained - lost), kind="stable").tolist()
        runs = {"reference": self.predictions[self.reference], "arm": self.predictions[arm]}
        return [
            {
                "example": place,
                "inputs": self.inputs[place],
                "targets": self.targets[place],
                "gained": int(gained[place]),
                "lost": int(lost[place]),
                "seeds": len(self.predictions[arm]),
                **{name: [texts[place] for texts in of_arm.values()] for name, of_arm in runs.items()},
            }
            for place in [place for place in order if gained[place] or lost[place]][:most]
        ]

    def confusion(self, arm: str) -> tuple[list[str], np.ndarray] | None:
        """Counts how often each class (row) was predicted as what; `(other)` is a last column if needed."""
        labels = sorted(set(self.targets))
        if not 1 < len(labels) <= MOST_CLASSES or len(labels) > len(self.targets) / 2:
            return None
        columns = [*labels, OTHER]
        places = {label: place for place, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(columns)), dtype=int)
        for texts in self.predictions[arm].values():
            for target, text in zip(self.targets, texts, strict=True):
                counts[places[target], places.get(text, -1)] += 1
        shown = len(columns) if counts[:, -1].any() else len(labels)
        return columns[:shown], counts[:, :shown]


def read_examples(experiment: Experiment, scored: Scored) -> tuple[AnsweredSet, ...]:
    """Reads the predictions behind scores, of each set that has a metric of this kind, by the first such."""
    found = []
    seeds = sorted(set.intersection(*(set(runs) for runs in scored.runs.values())))
    for name, metrics in experiment.metrics.items():
        read = {
            (arm, seed): _read(experiment.folder(arm, seed) / "predictions" / f"{name}-{steps[seed]}.jsonl")
            for arm, steps in scored.steps.items()
            for seed in seeds
        }
        inputs, targets, _ = next(iter(read.values()), ((), (), ()))
        if not targets or any(own[1] != targets for own in read.values()):
            continue
        share = {run: 100 * sum(map(str.__eq__, targets, own[2])) / len(targets) for run, own in read.items()}
        for metric in metrics:
            if all(abs(share[a, s] - scored.runs[a][s][name, metric]) <= SHARE_DIGITS for a, s in read):
                told = {arm: {seed: read[arm, seed][2] for seed in seeds} for arm in scored.runs}
                found.append(AnsweredSet(name, metric, inputs, targets, told))
                break
    return tuple(found)


def _read(file: Path) -> Rows:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines() if file.is_file() else (), start=1):
        where = f"{file}, line {number}"
        with reading(where):
            row = parse(line, where)
            rows.append(tuple(take(row, name, str) for name in ("inputs", "targets", "prediction")))
    inputs, targets, predictions = zip(*rows, strict=True) if rows else ((), (), ())
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

"""How long an experiment takes: measured in its first steps, and corrected as it goes."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.methods.rise import EVERY
from lowland.runs.directory import RunDirectory
from lowland.sam.schedule import scheduled_rho

FORWARD = 1 / 3  # of a pass goes forward: backward there are two products for each of its own
EMBEDDING_PASSES = {"none": 1.0, "r3f": 2.0, "smart": 3.0, "freelb": 3.0}  # of `methods.embeddings`


def sam_passes(config: RunConfig) -> float:
    """Gives the arithmetic of an average step, in units of one of the baseline."""
    sam, train = config.sam, config.train
    passes = EMBEDDING_PASSES[train.embedding_noise]
    if sam.rho == 0:
        return passes
    ascent = sam.ascent if sam.ascent_examples is None else sam.ascent_examples / train.batch_size
    if sam.perturb == ("head",):
        ascent *= FORWARD  # the ascent's backward pass ends at the head
    if sam.rise is not None:
        ascent *= 1 + FORWARD / EVERY
    full = sam.m if sam.descent == "full" else 1
    more = full - 1 + (ascent if sam.direction == "ascent" else 0) + (FORWARD * full if sam.functional else 0)
    active = sum(scheduled_rho(sam, step, train.steps) is not None for step in range(train.steps))
    return passes * (1 + more * active / train.steps)


class Remaining:
    """Follows the runs of an experiment by what they write, in this process or in others.

    Steps are counted in units of the baseline's. A unit and an evaluation take what they took so far. What
    runs do not count (loading, saving), and runs side by side, are in the ratio of the time that has passed
    to the time that they counted.
    """

    def __init__(self, config: ExperimentConfig, path: Path, clock: Any = time.monotonic) -> None:
        self._train, self._path, self._clock = config.train, path, clock
        self._passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
        self._first, _ = self._read()
        self._last = self._first
        self._began = self._read_at = clock()
        self._warm = False
        self._left: float | None = None
        self.share = 0.0  # of the work that is done

    def seconds(self) -> float | None:
        """Gives the time that is left; `None` as long as only the first steps were seen."""
        done, left = self._read()
        now = self._clock()
        self.share = done[0] / max(1e-9, done[0] + left[0])
        if (done != self._last).any():
            again = done[0] < self._last[0]  # a run went back to its saved state
            self._last, self._read_at = done, now
            if again or not self._warm:  # the first steps are slow: memory and code are still to be had
                self._first, self._began, self._warm = done, now, not again
            elif done[1] > self._first[1]:
                units, seconds, evaluations, evaluating = done - self._first
                counted = left[0] * seconds / units + left[1] * evaluating / max(1, evaluations)
                self._left = float(counted * (now - self._began) / (seconds + evaluating))
        return None if self._left is None else max(0.0, self._left - (now - self._read_at))

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums over all runs units, their time, evaluations and their time; units and evaluations to come."""
        done, left = np.zeros(4), np.zeros(2)
        total, every = self._train.steps, self._train.evaluate_every
        for path in self._path.glob("*-seed*"):
            if not (passes := self._passes.get(path.name.rpartition("-seed")[0])):
                continue
            status = RunDirectory(self._path, "", 0, name=path.name).status()
            step = status.get("step", 0)
            evaluations = math.ceil(status.get("evaluated", 0) / every)
            seconds, evaluating = status.get("train_seconds", 0.0), status.get("evaluation_seconds", 0.0)
            done += (passes * step, seconds, evaluations, evaluating)
            if status.get("state") not in ("done", "failed"):
                left += (passes * (total - step), math.ceil(total / every) - evaluations)
        return done, left

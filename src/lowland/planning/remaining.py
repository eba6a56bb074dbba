"""How long the rest of an experiment takes: measured in its first steps, and corrected as it goes."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.methods.rise import EVERY
from lowland.runs.directory import RunDirectory
from lowland.sam.schedule import scheduled_rho

if TYPE_CHECKING:  # a finished experiment is shown without torch
    from torch import Tensor

    from lowland.families.base import Family
    from lowland.train import TrainSettings

FORWARD = 1 / 3
"""The part of a pass that goes forward: backward there are two products for each of its own."""

EMBEDDING_PASSES = {"none": 1.0, "r3f": 2.0, "smart": 3.0, "freelb": 3.0}
"""Passes of a loss with noise on the embeddings; see `lowland.methods.embeddings`."""

TRIAL_SECONDS = 1.0
"""About how long a step is tried before anything is trained."""


def sam_passes(config: RunConfig) -> float:
    """Gives the arithmetic of an average step, in units of one of the baseline."""
    sam, train = config.sam, config.train
    passes = EMBEDDING_PASSES[train.embedding_noise]
    if sam.rho == 0:
        return passes
    share = sam.ascent if sam.ascent_examples is None else sam.ascent_examples / train.batch_size
    if sam.perturb == ("head",):
        share *= FORWARD  # the ascent's backward pass ends at the head
    if sam.rise is not None:
        share *= 1 + FORWARD / EVERY
    more = (share if sam.direction == "ascent" else 0.0) + (sam.m - 1 if sam.descent == "full" else 0)
    more += FORWARD * (sam.m if sam.descent == "full" else 1) if sam.functional else 0.0
    active = sum(scheduled_rho(sam, step, train.steps) is not None for step in range(train.steps))
    return passes * (1 + more * active / train.steps)


def step_seconds(family: Family, batch: Mapping[str, Tensor], train: TrainSettings) -> float:
    """Measures the passes of the baseline's step on a batch, or on as much of it as takes `TRIAL_SECONDS`.

    The model is moved to where it trains; its weights and the random streams stay as they are.
    """
    import torch
    from accelerate import PartialState

    from lowland.train.machine import resolve_precision

    device, size = PartialState().device, len(batch["labels"])
    bf16 = resolve_precision(train.precision, device) == "bf16"
    model = family.loaded.model.to(device).train()
    loss = family.loss(device, bf16=bf16, fast=train.operations != "library", z_loss=train.z_loss)

    def seconds(examples: int) -> float:
        started = time.perf_counter()
        loss({name: column[:examples] for name, column in batch.items()}).backward()
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seconds(1)  # warms up
        examples = max(1, min(train.micro_batch_size or size, size, int(TRIAL_SECONDS / seconds(1))))
        return min(seconds(examples), seconds(examples)) * size / examples


class Remaining:
    """Follows the runs of an experiment by what they write, in this process or in others.

    The time of a step of each arm and that of an evaluation are what the runs took so far; of an arm that was
    not seen yet, it follows from its arithmetic. What they do not count (loading, saving), and runs side by
    side, are in the ratio of the time that has passed to the time that they counted.

    Args:
        config: The experiment.
        path: Its directory.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, config: ExperimentConfig, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._train = config.train
        self._passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
        self._path = path
        self._clock = clock
        self._began = self._read_at = clock()
        self._warm = False
        self._left: float | None = None
        self._counted = 0.0
        self._now = self._statuses()
        self._before = self._now.copy()
        self.share = 0.0
        """The share of the work that is done, from 0 to 1."""

    def seconds(self) -> float | None:
        """Gives the time that is left; `None` as long as only the first steps were seen."""
        self._read()
        return None if self._left is None else max(0.0, self._left - (self._clock() - self._read_at))

    def _read(self) -> None:
        steps: Counter[str] = Counter()
        step_seconds: defaultdict[str, float] = defaultdict(float)
        steps_left: Counter[str] = Counter()
        evaluations = evaluation_seconds = evaluations_left = 0.0
        every, total = self._train.evaluate_every, self._train.steps
        self._now = self._statuses()
        for name, now in self._now.items():
            arm, before = name.rpartition("-seed")[0], self._before.get(name, {})
            if now.get("step", 0) < before.get("step", 0):  # begun anew, or gone back to a saved state
                before = self._before[name] = now
            steps[arm] += now.get("step", 0) - before.get("step", 0)
            step_seconds[arm] += now.get("train_seconds", 0.0) - before.get("train_seconds", 0.0)
            evaluated = math.ceil(now.get("evaluated", 0) / every)
            evaluations += evaluated - math.ceil(before.get("evaluated", 0) / every)
            evaluation_seconds += now.get("evaluation_seconds", 0.0) - before.get("evaluation_seconds", 0.0)
            if now.get("state") not in ("done", "failed"):
                steps_left[arm] += total - now.get("step", 0)
                evaluations_left += math.ceil(total / every) - evaluated
        left = sum(number * self._passes[arm] for arm, number in steps_left.items())
        whole = sum(self._passes[name.rpartition("-seed")[0]] for name in self._now) * total
        self.share = 1 - left / whole if whole else 0.0
        counted = sum(step_seconds.values()) + evaluation_seconds
        if not any(steps.values()) or counted == self._counted:
            return
        if not self._warm:  # the first steps are slow: memory is still to be had, and code to be loaded
            self._warm, self._before, self._began = True, self._now.copy(), self._clock()
            return
        # Of the first arms that were seen: what a step of the baseline takes.
        unit = sum(step_seconds.values()) / sum(steps[arm] * self._passes[arm] for arm in steps)
        training = sum(
            number * (step_seconds[arm] / steps[arm] if steps[arm] else unit * self._passes[arm])
            for arm, number in steps_left.items()
        )
        each = evaluation_seconds / evaluations if evaluations else 0.0
        self._counted, self._read_at = counted, self._clock()
        self._left = (training + evaluations_left * each) * (self._read_at - self._began) / counted

    def _statuses(self) -> dict[str, dict[str, Any]]:
        """Reads the status of every run of the experiment; seeds may be added to it while it goes on."""
        folders = (path.name for path in self._path.glob("*-seed*"))
        return {
            name: RunDirectory(self._path, "", 0, name=name).status()
            for name in folders
            if name.rpartition("-seed")[0] in self._passes
        }

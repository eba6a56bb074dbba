"""How long an experiment takes: measured in its first steps, and corrected as it goes."""

from __future__ import annotations

import math
import time
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
    from lowland.train.settings import TrainSettings

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
    full = sam.m if sam.descent == "full" else 1
    more = (
        (share if sam.direction == "ascent" else 0.0) + full - 1 + (FORWARD * full if sam.functional else 0)
    )
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
    loss = family.loss(device, bf16=bf16, z_loss=train.z_loss)

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

    Steps are counted in units of the baseline's. A unit and an evaluation take what they took so far. What
    runs do not count (loading, saving), and runs side by side, are in the ratio of the time that has passed
    to the time that they counted.
    """

    def __init__(
        self, config: ExperimentConfig, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._train = config.train
        self._passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
        self._path, self._clock = path, clock
        self._began = self._read_at = clock()
        self._before = self._statuses()
        self._warm = False
        self._counted = 0.0
        self._left: float | None = None
        self.share = 0.0
        """The share of the work that is done, from 0 to 1."""

    def seconds(self) -> float | None:
        """Gives the time that is left; `None` as long as only the first steps were seen."""
        self._read()
        return None if self._left is None else max(0.0, self._left - (self._clock() - self._read_at))

    def _read(self) -> None:
        units = units_left = whole = seconds = 0.0
        evaluations = evaluations_left = evaluation_seconds = 0.0
        total, runs = self._train.steps, self._statuses()
        for name, now in runs.items():
            before, passes = self._before.get(name, {}), self._passes[name.rpartition("-seed")[0]]
            if now.get("step", 0) < before.get("step", 0):  # begun anew, or gone back to a saved state
                before = self._before[name] = now
            units += passes * (now.get("step", 0) - before.get("step", 0))
            seconds += now.get("train_seconds", 0.0) - before.get("train_seconds", 0.0)
            evaluations += self._evaluations(now) - self._evaluations(before)
            evaluation_seconds += now.get("evaluation_seconds", 0.0) - before.get("evaluation_seconds", 0.0)
            whole += passes * total
            if now.get("state") not in ("done", "failed"):
                units_left += passes * (total - now.get("step", 0))
                evaluations_left += self._evaluations({"evaluated": total}) - self._evaluations(now)
        self.share = 1 - units_left / whole if whole else 0.0
        counted = seconds + evaluation_seconds
        if not units or counted == self._counted:
            return
        if not self._warm:  # the first steps are slow: memory is still to be had, and code to be loaded
            self._warm, self._before, self._began = True, runs, self._clock()
            return
        left = units_left * seconds / units
        if evaluations:
            left += evaluations_left * evaluation_seconds / evaluations
        self._counted, self._read_at = counted, self._clock()
        self._left = left * (self._read_at - self._began) / counted

    def _evaluations(self, status: Mapping[str, Any]) -> int:
        return math.ceil(int(status.get("evaluated", 0)) / self._train.evaluate_every)

    def _statuses(self) -> dict[str, dict[str, Any]]:
        """Reads the status of every run of the experiment; seeds may be added to it while it goes on."""
        return {
            path.name: RunDirectory(self._path, "", 0, name=path.name).status()
            for path in self._path.glob("*-seed*")
            if path.name.rpartition("-seed")[0] in self._passes
        }

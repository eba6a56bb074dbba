"""How far a sweep has come, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable

from lowland.experiment.directory import RunDirectory
from lowland.experiment.plan import sam_passes
from lowland.experiment.sweep.plan import Plan


class Pace:
    """Follows the runs by what they write, wherever they run.

    Args:
        plan: What is done.
        clock: Gives the time in seconds.
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._runs = [
            (RunDirectory(planned.cell.path, arm, seed), config.train.steps, passes)
            for planned in plan.cells
            for arm, seed in planned.train
            for config in [planned.cell.config]
            for passes in [sam_passes(config) if arm == "sam" else 1.0]
        ]
        self._total = sum(steps * passes for _, steps, passes in self._runs)
        self._clock = clock
        self._before, self._started = self._done(), clock()

    @property
    def share(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        return self._done() / self._total if self._total else 1.0

    def seconds(self) -> float | None:
        """Estimates the time that is left, at the pace so far; `None` while nothing was seen of it."""
        done = self._done()
        if done <= self._before:
            return None
        return (self._clock() - self._started) / (done - self._before) * (self._total - done)

    def _done(self) -> float:
        """Adds up the steps, those of SAM at their cost."""
        done = 0.0
        for run, steps, passes in self._runs:
            status = run.status()
            ended = status.get("state") in ("done", "failed")
            done += passes * (steps if ended else min(steps, int(status.get("step") or 0)))
        return done

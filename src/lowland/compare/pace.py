"""How far runs in other processes have come, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lowland.compare.jobs import Job
from lowland.planning.plan import sam_passes


class Pace:
    """Follows runs by what they write, wherever they run.

    Args:
        jobs: The runs.
        clock: Gives the time in seconds.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        different = {job.run.path.absolute(): job for job in jobs}.values()
        self._runs = [
            (job.run, job.config.train.steps, sam_passes(job.config.of(job.run.arm))) for job in different
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

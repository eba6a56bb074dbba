"""How long the rest of an experiment takes, told from what has been seen of it."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from statistics import fmean

from lowland.config.experiment import ExperimentConfig
from lowland.planning.cost import BACKWARD
from lowland.planning.plan import GENERATION, sam_passes
from lowland.train import StepReport

SEEN = 50
"""How many of the last lines of the log tell the speed, which may be another now than an hour ago."""


class Remaining:
    """Adds up what is left: the steps of each arm, the evaluations, and what comes before a first step.

    What was not seen yet is told from what was: the step of an arm from that of another by its arithmetic, an
    evaluation from its number of examples.

    Args:
        config: The experiment.
        done: Arm and seed of the runs that were done before.
        examples: How many examples an evaluation scores.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        done: Collection[tuple[str, int]],
        examples: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._train = config.train
        self._passes = {arm: sam_passes(config.of(arm)) for arm in config.arms}
        self._examples = examples
        self._clock = clock
        # The runs that follow; that of now is none of them.
        self._runs = Counter(arm for arm in config.arms for seed in config.seeds if (arm, seed) not in done)
        self._done = set(done)
        self._steps: dict[str, deque[float]] = {arm: deque(maxlen=SEEN) for arm in self._passes}
        self._evaluations: deque[float] = deque(maxlen=SEEN)
        self._starts: deque[float] = deque(maxlen=SEEN)
        self._arm: str | None = None
        self._step = self._logged = self._evaluated = 0
        self._fresh = True
        self._at = clock()

    def on_run(self, arm: str, seed: int) -> None:
        """Turns to the next run."""
        self._at = self._clock()
        self._arm = None
        if (arm, seed) in self._done:
            return
        self._runs[arm] -= 1
        self._arm, self._fresh = arm, True
        self._step = self._logged = self._evaluated = 0

    def on_resume(self, step: int) -> None:
        """Takes note that the run goes on after a step, whose evaluation may still be due."""
        self._step = self._logged = step
        self._evaluated = (step - 1) // self._train.evaluate_every

    def on_log(self, report: StepReport) -> None:
        """Learns the speed of the steps up to a line of the log."""
        if self._arm is None:
            return
        now, steps = self._clock(), report.step - self._logged
        if self._fresh:
            self._starts.append(max(0.0, now - self._at - report.seconds))
            self._fresh = False
        if steps > 0:
            self._steps[self._arm].append(report.seconds / steps)
        # The first steps are slow: memory is still to be had, and code to be loaded.
        if len(self._steps[self._arm]) == 2 and not self._steps[self._arm][0] < self._steps[self._arm][1]:
            self._steps[self._arm].popleft()
        self._step = self._logged = report.step
        self._at = now

    def on_scores(self, step: int) -> None:
        """Learns how long an evaluation takes, and the saving of the state before it."""
        now, speed = self._clock(), self._step_seconds(self._arm) if self._arm else None
        if not self._fresh:
            self._evaluations.append(max(0.0, now - self._at - (step - self._step) * (speed or 0.0)))
        self._step = step
        self._evaluated = math.ceil(step / self._train.evaluate_every)
        self._at = now

    def seconds(self) -> float | None:
        """Gives the time that is left; `None` as long as no step was seen."""
        steps = {arm: self._runs[arm] * self._train.steps for arm in self._passes}
        total = math.ceil(self._train.steps / self._train.evaluate_every)
        evaluations = total * self._runs.total()
        if self._arm is not None:
            steps[self._arm] += self._train.steps - self._step
            evaluations += total - self._evaluated
        training = 0.0
        for arm, number in steps.items():
            speed = self._step_seconds(arm)
            if speed is None:
                return None
            training += number * speed
        starts = self._runs.total() * (fmean(self._starts) if self._starts else 0.0)
        left = training + evaluations * self._evaluation_seconds() + starts
        return max(0.0, left - (self._clock() - self._at))

    def _step_seconds(self, arm: str) -> float | None:
        if self._steps[arm]:
            return fmean(self._steps[arm])
        other = next((other for other in self._steps if self._steps[other]), None)
        return None if other is None else fmean(self._steps[other]) * self._passes[arm] / self._passes[other]

    def _evaluation_seconds(self) -> float:
        if self._evaluations:
            return fmean(self._evaluations)
        arm = next(iter(self._passes))
        baseline = (self._step_seconds(arm) or 0.0) / self._passes[arm]
        return baseline * GENERATION * self._examples / ((1 + BACKWARD) * self._train.batch_size)

"""Settings chosen on held-out rows and seeds of their own, alike for every arm, before a comparison.

Every arm has six tries: three learning rates; then, at the best of them, half and twice its rho and a start
of SAM after a fifth of the steps, or, without SAM, three more learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from lowland.config.arms import Changes, describe
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.config.outcomes import OutcomeSettings
from lowland.errors import UserError
from lowland.report.runs import Experiment
from lowland.report.selection import mean_score
from lowland.runs.examples import ExperimentData, part

FIRST_SEED = 1000
"""The first seed of tuning."""

RATES, MORE_RATES = (1 / 3, 1.0, 3.0), (0.5, 0.75, 1.5)
RHOS, START = (0.5, 2.0), 0.2


class Tried(NamedTuple):
    """A try of an arm."""

    arm: str
    changes: Changes
    score: float  # the mean over the seeds of the best on held-out rows; -inf where a run failed

    def __str__(self) -> str:
        score = f"{self.score:.1f}" if math.isfinite(self.score) else "failed"
        return f"{self.arm}: {describe(self.changes)}: {score}"


def tune(
    config: ExperimentConfig,
    data: ExperimentData,
    seeds: int,
    run: Callable[[str, ExperimentConfig], Experiment],
    on_tried: Callable[[Tried], None],
) -> ExperimentConfig:
    """Chooses learning rate, rho and start of every arm; `run` runs an experiment of tries, by its name."""
    own = tuple(range(FIRST_SEED, FIRST_SEED + seeds))
    if set(own) & set(config.seeds):
        raise UserError(f"--tune uses the seeds from {FIRST_SEED} on; compare others.")
    if not part(data, config.data, FIRST_SEED).held_out:
        raise UserError("--tune chooses on held-out rows, and there are none. Give --held-out, such as 100.")
    best = {arm: Tried(arm, changes, -math.inf) for arm, changes in config.arms.items()}
    for stage in (1, 2):
        arms: dict[str, Changes] = {}
        names: dict[str, str] = {}  # what two arms have in common is run once
        tries: list[tuple[str, str]] = []
        for arm, (_, chosen, _) in best.items():
            for number, changes in enumerate(_tries(config, chosen, stage), start=1):
                name = names.setdefault(repr(_of(config, changes)), f"{arm}-{number}")
                arms.setdefault(name, changes)
                tries.append((arm, name))
        experiment = run(
            str(stage), replace(config, arms=arms, seeds=own, outcomes=OutcomeSettings(measure=()))
        )
        for arm, name in tries:
            tried = Tried(arm, arms[name], _score(experiment, name))
            on_tried(tried)
            best[arm] = max(best[arm], tried, key=lambda one: one.score)
    if failed := [arm for arm in config.arms if not math.isfinite(best[arm].score)]:
        raise UserError(
            f"--tune: no try of the arm {failed[0]!r} has come to its end with a score. Leave the arm out, "
            "or give a lower learning rate."
        )
    return replace(config, arms={arm: dict(best[arm].changes) for arm in config.arms})


def _tries(config: ExperimentConfig, changes: Changes, stage: int) -> list[Changes]:
    """Lists an arm's three tries of a stage."""
    own = _of(config, changes)
    if stage == 2 and own.sam.rho:
        tries: list[Changes] = [{"sam.rho": own.sam.rho * factor} for factor in RHOS]
        tries.append({"sam.start": 0.0 if own.sam.start == START else START})
    else:
        rates = RATES if stage == 1 else MORE_RATES
        tries = [{"train.learning_rate": own.train.learning_rate * factor} for factor in rates]
    return [{**changes, name: float(f"{value:.3g}")} for one in tries for name, value in one.items()]


def _score(experiment: Experiment, arm: str) -> float:
    """Averages over the seeds the score of the step that is best on held-out rows."""
    best = []
    for run in (run for run in experiment.runs if run.arm == arm):
        scores = [mean_score(sets) for step, sets in run.evaluated("held_out").items() if step > 0]
        best.append(max(scores) if scores and run.state == "done" else -math.inf)
    return fmean(best)


def _of(config: ExperimentConfig, changes: Changes) -> RunConfig:
    return replace(config, arms={"try": changes}).of("try")

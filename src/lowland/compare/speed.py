"""How long the runs of a sweep take, estimated once for all cells that train the same examples and model."""

from __future__ import annotations

import json
from dataclasses import replace

from lowland.config.arms import KNOWN
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.planning.plan import Plan, plan_experiment, sam_passes


class Speed:
    """Estimates the time of runs on this machine.

    Attributes:
        unknown: Why the time of some of them is not known.
    """

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._plans: dict[str, Plan | None] = {}

    def __call__(self, config: ExperimentConfig, arm: str) -> float | None:
        """Estimates the seconds of a run; `None` where they cannot be known."""
        config = replace(config, arms={"baseline": KNOWN["baseline"], **config.arms})
        settings = config.of("baseline").to_dict()
        key = json.dumps(settings, sort_keys=True, default=str)
        if key not in self._plans:
            self._plans[key] = self._plan(replace(config, arms={"baseline": KNOWN["baseline"]}))
        plan = self._plans[key]
        if plan is None:
            return None
        step = plan.step_seconds["baseline"] * sam_passes(config.of(arm))
        return config.train.steps * step + plan.evaluations * plan.evaluation_seconds

    def _plan(self, config: ExperimentConfig) -> Plan | None:
        try:
            return plan_experiment(config)
        except UserError as error:  # it will be said again, and of the cell, when the cell is run
            self.unknown.append(f"The time cannot be estimated: {error}")
        except Exception as error:  # a strange model must not stop the work
            self.unknown.append(f"The time cannot be estimated for this model: {error}")
        return None

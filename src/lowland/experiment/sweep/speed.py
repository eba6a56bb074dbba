"""How long the runs of a sweep take, estimated once for all cells that train the same examples and model."""

from __future__ import annotations

import json
from dataclasses import replace

from lowland.errors import UserError
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.plan import Plan as ExperimentPlan
from lowland.experiment.plan import plan_experiment, sam_passes
from lowland.experiment.sweep.share import standard_settings
from lowland.train import Arm


class Speed:
    """Estimates the time of runs on this machine.

    Attributes:
        unknown: Why the time of some of them is not known.
    """

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self._plans: dict[str, ExperimentPlan | None] = {}

    def __call__(self, config: ExperimentConfig, arm: Arm) -> float | None:
        """Estimates the seconds of a run; `None` where they cannot be known."""
        key = json.dumps(standard_settings(config), sort_keys=True, default=str)
        if key not in self._plans:
            self._plans[key] = self._plan(config)
        plan = self._plans[key]
        if plan is None:
            return None
        # Cells that differ in SAM's settings take steps of different lengths.
        step = plan.step_seconds["standard"] * (sam_passes(config) if arm == "sam" else 1.0)
        return config.train.steps * step + plan.evaluations * plan.evaluation_seconds

    def _plan(self, config: ExperimentConfig) -> ExperimentPlan | None:
        try:
            return plan_experiment(replace(config, arms=("standard", "sam")))
        except UserError as error:  # it will be said again, and of the cell, when the cell is run
            self.unknown.append(f"The time cannot be estimated: {error}")
        except Exception as error:  # a strange model must not stop the work
            self.unknown.append(f"The time cannot be estimated for this model: {error}")
        return None

"""The seeds of one experiment side by side, each in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lowland.errors import UserError
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.directory import write_json
from lowland.experiment.sweep.cell import JOBS, SweepCell
from lowland.experiment.sweep.launch import make_launcher
from lowland.experiment.sweep.plan import Plan, make_plan
from lowland.experiment.sweep.run import JobsProgress, run_jobs


@dataclass(frozen=True, kw_only=True)
class SeedCell(SweepCell):
    """One seed of an experiment; its runs lie in the experiment's directory, among those of the others."""

    @property
    def settings(self) -> Path:
        """The file from which a command line can run the seed."""
        return self.path / JOBS / f"{self.name}.toml"

    def arguments(self) -> list[str]:
        """Gives the arguments of `lowland` that run the seed."""
        return [*super().arguments(), "--seeds-alone"]

    def others(self, run: str) -> list[Path]:
        """Lists nothing: the seeds have no run in common."""
        return []

    @property
    def done(self) -> bool:
        """Whether all runs came to their end."""
        return all(run.done for run in self.runs())


def plan_seeds(config: ExperimentConfig, path: Path) -> Plan:
    """Plans what is left of an experiment, seed by seed.

    Args:
        config: The experiment.
        path: Its directory.
    """
    cells = [
        SeedCell(name=f"seed{seed}", path=path, config=replace(config, seeds=(seed,)))
        for seed in config.seeds
    ]
    return make_plan([cell for cell in cells if not cell.done])


def run_seeds(plan: Plan, path: Path, jobs: int, progress: JobsProgress) -> None:
    """Runs the seeds of an experiment side by side.

    Args:
        plan: What is left.
        path: The experiment's directory.
        jobs: How many seeds at a time.
        progress: Is told how it goes.

    Raises:
        UserError: If a process ended before its runs did. Runs that fail say so in their own directories.
        KeyboardInterrupt: If the user asked to stop; the processes are stopped first, with their state saved.
    """
    for planned in plan.cells:
        for run in planned.cell.runs():
            if (status := run.status()).get("state") == "failed":
                # A process that ends before it begins the run anew must not be taken for that failure.
                write_json(run.path / "status.json", {**status, "state": "running", "error": None})
    jobs = max(1, min(jobs, len(plan.cells)))  # who waits for nothing needs no share of the cores
    failures = run_jobs(plan, make_launcher("processes", path / JOBS, {}, jobs), jobs, progress)
    for failure in failures:
        if any(run.status().get("state") not in ("done", "failed") for run in failure.cell.runs()):
            raise UserError(
                f"{failure.cell.name}: {failure.problem} See {failure.log}. The same command goes on where "
                "it stopped."
            )

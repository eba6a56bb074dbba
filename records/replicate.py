"""Puts one claim to the test: tunes both arms alike, compares them on fresh seeds, and writes the record.

    python -m records.replicate records/plans/g-label-noise.toml --data-dir ~/data

A plan is a TOML file: `[claim]` says what is claimed and how it is judged, `[settings]` what all runs share,
`[axis]` what differs between the cells, `[tuning]` what each arm may choose by its held-out scores on seeds
of its own, `[comparison]` on how many fresh seeds the chosen settings are compared. Every run is an ordinary
one in the directory of runs, so the same command goes on after an interruption, and plans share runs that are
equal.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from records.plan import FIRST_TUNING_SEED, Plan, read_plan

from lowland.cli.console import console, quiet_libraries
from lowland.cli.parser import at_least_one
from lowland.cli.sweep_view import SweepView
from lowland.errors import UserError
from lowland.experiment import sweep
from lowland.experiment.compare import run_experiment
from lowland.experiment.configuration import ExperimentConfig, build_config, merge
from lowland.experiment.directory import RunDirectory
from lowland.report.runs import Run, read_experiment
from lowland.report.selection import held_out_step
from lowland.train import TrainingError

RATE, RHO = "train.learning_rate", "sam.rho"


class Study:
    """A plan's runs.

    Args:
        plan: The plan.
        runs: Directory of all runs, which other plans may share.
        data_dir: Folder with official files; `None` where the tasks need none.
        jobs: How many runs at a time.
        seeds: How many seeds to compare on; the plan's number by default.
    """

    def __init__(
        self, plan: Plan, runs: Path, data_dir: str | None, jobs: int = 1, seeds: int | None = None
    ) -> None:
        self.plan = plan
        self.runs = runs
        self._data_dir = data_dir
        self._jobs = jobs
        self.tuning_seeds = tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + plan.tuning["seeds"]))
        first, count = plan.comparison.get("first", 0), seeds or plan.comparison["seeds"]
        if first + count > FIRST_TUNING_SEED:
            raise UserError(f"Seeds from {first} on leave room for {FIRST_TUNING_SEED - first}, not {count}.")
        self.seeds = tuple(range(first, first + count))
        self.tuned: dict[Path, int] = {}  # directories of tuning -> the cell that was tuned

    def config(
        self, cell: int, arm: str, seeds: Sequence[int], chosen: Mapping[str, Any]
    ) -> ExperimentConfig:
        """Builds the settings of an arm's runs in a cell; those of SAM are left out of standard training."""
        layer: Mapping[str, Any] = {**self.plan.settings, "arms": [arm], "seeds": list(seeds)}
        if self._data_dir is not None:
            layer = merge(layer, {"data": {"data_dir": self._data_dir}})
        for setting, value in {**self.plan.cells[cell], **chosen}.items():
            layer = merge(layer, nested(setting, value))
        if arm == "standard":
            layer = {key: value for key, value in layer.items() if key != "sam"}
        return build_config(layer)

    def path(self, stage: str, config: ExperimentConfig) -> Path:
        """Names the directory of runs by what they are."""
        return self.runs / stage / f"{config.arms[0]}-{config.fingerprint()}"

    def execute(self, stage: str, configs: Iterable[ExperimentConfig]) -> None:
        """Runs what is not done yet.

        Raises:
            UserError: If a run failed. A candidate of tuning may: its learning rate can be too large.
        """
        different = {self.path(stage, config): config for config in configs}
        cells = [
            sweep.SweepCell(name=path.name, path=path, config=config) for path, config in different.items()
        ]
        left = [cell for cell in cells if not cell.done]
        if not left:
            return
        made = sweep.make_plan(left)
        view = SweepView(console, made)
        if self._jobs > 1 and len(left) == 1:
            failures = self._seeds_side_by_side(left[0])
        elif self._jobs > 1:
            launcher = sweep.make_launcher("processes", self.runs / stage / "jobs", {}, self._jobs)
            failures = sweep.run_jobs(made, launcher, self._jobs, view)
        else:
            failures = sweep.run_here(made, view)
        for cell in left:
            if cell.done and not (stage == "comparison" and self.plan.comparison.get("keep")):
                _drop_weights(cell)
        if stage == "tuning":
            failures = [failure for failure in failures if not _training_failed(failure.cell)]
        if failures:
            raise UserError(f"{failures[0].cell.path}: {failures[0].problem} The same command tries again.")

    def _seeds_side_by_side(self, cell: sweep.SweepCell) -> list[sweep.Failure]:
        """Runs a cell that has no other beside it; gives it back where it failed."""
        seeds = sweep.plan_seeds(cell.config, cell.path)
        view = SweepView(console, seeds)
        try:
            with view.experiment(cell) as progress:
                run_experiment(
                    cell.config,
                    cell.path,
                    cell.command(),
                    progress,
                    elsewhere=lambda: sweep.run_seeds(seeds, cell.path, self._jobs, view),
                )
        except TrainingError as error:
            return [sweep.Failure(cell=cell, problem=str(error))]
        problem = cell.problem()
        return [] if problem is None else [sweep.Failure(cell=cell, problem=problem)]

    def tune(self, cell: int) -> dict[str, dict[str, Any]]:
        """Chooses each arm's settings in a cell; see `tune`."""
        tuning = self.plan.tuning
        return tune(
            lambda arm, candidates: self.choose(cell, arm, candidates),
            tuning["learning_rate"],
            tuning.get("rho", []),
        )

    def choose(self, cell: int, arm: str, candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Runs an arm with each of the candidates' settings; gives the one of the best held-out score.

        Raises:
            UserError: If none of them can be trained with.
        """
        if len(candidates) == 1:
            return dict(candidates[0])
        configs = [self.config(cell, arm, self.tuning_seeds, candidate) for candidate in candidates]
        self.execute("tuning", configs)
        self.tuned |= {self.path("tuning", config): cell for config in configs}
        scores = [held_out_score(self.path("tuning", config), self.tuning_seeds) for config in configs]
        if max(scores) == -math.inf:
            raise UserError(f"Training fails with each of {list(candidates)} ({arm}, cell {cell}).")
        return dict(candidates[scores.index(max(scores))])

    def chosen(self) -> list[dict[str, dict[str, Any]]]:
        """Tunes where the plan says so; gives every cell's arms -> settings.

        What a cell sets itself is never chosen: along rho, every rho takes the same learning rate.
        """
        tuned = {number: self.tune(number) for number in sorted({*map(self.plan.tuned_in, self._numbers)})}
        return [
            {
                arm: {key: value for key, value in settings.items() if key not in self.plan.cells[cell]}
                for arm, settings in tuned[self.plan.tuned_in(cell)].items()
            }
            for cell in self._numbers
        ]

    def compare(self, chosen: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Path]]:
        """Runs the comparison; gives every cell's arms -> directories."""
        configs = [
            {arm: self.config(cell, arm, self.seeds, settings) for arm, settings in chosen[cell].items()}
            for cell in self._numbers
        ]
        # Both arms of a cell follow one another, so that a machine that slows down slows both.
        self.execute("comparison", [config for of_cell in configs for config in of_cell.values()])
        return [{arm: self.path("comparison", config) for arm, config in of.items()} for of in configs]

    def cost(self) -> str:
        """Says what the plan takes at most, shared runs and finished ones counted in."""
        tuning = self.plan.tuning
        rates, rhos = len(tuning["learning_rate"]), len(tuning.get("rho", []))
        candidates = (2 * rates if rates > 1 else 0) + (rhos if rhos > 1 else 0)
        tuned = len({*map(self.plan.tuned_in, self._numbers)}) * candidates * len(self.tuning_seeds)
        standard = (
            1 if all(setting.startswith("sam.") for setting in self.plan.axis) else len(self.plan.cells)
        )
        compared = (standard + len(self.plan.cells)) * len(self.seeds)
        hours = (tuned + compared) * self.plan.seconds / 3600
        return (
            f"{self.plan.path.name}: {tuned} runs to tune ({len(self.tuning_seeds)} seeds), {compared} to "
            f"compare ({len(self.seeds)} seeds), {self.plan.seconds:g} s each on two quiet cores: "
            f"{hours:.1f} h at most."
        )

    @property
    def _numbers(self) -> range:
        return range(len(self.plan.cells))


def tune(
    choose: Callable[[str, Sequence[Mapping[str, Any]]], dict[str, Any]],
    rates: Sequence[float],
    rhos: Sequence[float],
) -> dict[str, dict[str, Any]]:
    """Chooses each arm's settings by its held-out scores: the learning rate, and for SAM rho as well.

    SAM's rho is chosen at the learning rate that is best for standard training, and SAM's learning rate,
    from the same values as that of standard training, at this rho.

    Args:
        choose: Gives the best of the settings that an arm may take.
        rates: Learning rates.
        rhos: Radii; none leaves rho as it is.

    Returns:
        Arm -> dotted setting -> value.
    """
    standard = choose("standard", [{RATE: value} for value in rates])
    sam = standard
    if rhos:
        sam = choose("sam", [{**standard, RHO: value} for value in rhos])
    sam = choose("sam", [{**sam, RATE: value} for value in rates])
    return {"standard": standard, "sam": sam}


def nested(setting: str, value: Any) -> dict[str, Any]:
    """Writes `sam.rho` and a value as nested settings."""
    for part in reversed(setting.split(".")):
        value = {part: value}
    return dict(value)


def held_out_score(path: Path, seeds: Sequence[int]) -> float:
    """Averages each seed's best held-out score; one that could not be trained to the end is worst."""
    runs = [run for run in read_experiment(path).runs if run.seed in seeds]
    if any(run.state != "done" for run in runs):
        return -math.inf
    return fmean(best_held_out(run) for run in runs)


def best_held_out(run: Run) -> float:
    """Gives the best held-out score of a run over its steps; undefined ones are worst."""
    step = held_out_step(run, set(run.evaluated_steps))
    if step is None:
        raise UserError(f"{run.title} has no held-out scores to choose by; let the plan hold examples out.")
    scores = [fmean(e.metrics.values()) for e in run.evaluations if e.split == "held_out" and e.step == step]
    score = fmean(scores)
    return score if math.isfinite(score) else -math.inf


def _training_failed(cell: sweep.SweepCell) -> bool:
    return any(run.status().get("state") == "failed" for run in cell.runs())


def _drop_weights(cell: sweep.SweepCell) -> None:
    """Removes the weights of finished runs, which would fill the disk: scores and logs stay."""
    shutil.rmtree(cell.path / "model", ignore_errors=True)
    for seed in cell.config.seeds:
        shutil.rmtree(
            RunDirectory(cell.path, cell.config.arms[0], seed).path / "checkpoints", ignore_errors=True
        )


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    from records.claims import write_readme
    from records.results import folder_of, write_record

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plans", nargs="+", type=Path, metavar="PLAN")
    add_run_options(parser, Path("runs/replication"))
    parser.add_argument(
        "--seeds", type=at_least_one, metavar="N",
        help="compare on N seeds (default: as planned; fewer leave the claim undecided)",
    )  # fmt: skip
    parser.add_argument("--cost", action="store_true", help="only say what it takes")
    arguments = parser.parse_args(words)

    def work() -> None:
        for path in arguments.plans:
            study = Study(
                read_plan(path), arguments.runs, arguments.data_dir, arguments.jobs, arguments.seeds
            )
            print(study.cost(), flush=True)
            if not arguments.cost:
                folder_of(study, arguments.to)
                chosen = study.chosen()
                record = write_record(study, chosen, study.compare(chosen), arguments.to)
                write_readme(arguments.to)
                print(f"Record: {record}", flush=True)

    return answered("records.replicate", work)


def add_run_options(parser: argparse.ArgumentParser, runs: Path) -> None:
    """Adds the options of a command that runs what it records; `runs` is where to by default."""
    parser.add_argument(
        "--data-dir", type=_absolute, metavar="DIR", help="folder with the official files of tasks"
    )
    parser.add_argument("--runs", type=Path, default=runs, metavar="DIR")
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).parent, metavar="DIR", help="where records go"
    )
    parser.add_argument("--jobs", type=at_least_one, default=1, metavar="N", help="runs at a time")


def _absolute(word: str) -> str:
    return str(Path(word).expanduser().resolve())


def answered(command: str, work: Callable[[], None]) -> int:
    """Does a command's work offline; answers mistakes and Ctrl-C in a sentence, and gives the exit code."""
    quiet_libraries()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        work()
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{command}: interrupted. The same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

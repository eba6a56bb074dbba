"""One command from its settings to its report: tuning, runs here or side by side, reading again."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.comparison.experiment import Experiment, refuse_other
from lowland.comparison.progress import ExperimentProgress, TrackedProgress
from lowland.config.arms import describe
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.runs.directory import read_json
from lowland.runs.guard import locked
from lowland.runs.store import all_done

if TYPE_CHECKING:  # a finished comparison is shown without torch
    from rich.console import Console

    from lowland.planning.plan import Plan
    from lowland.report.result import Report


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came out of a comparison: the directory where everything is, and its report."""

    directory: Path
    report: Report

    @property
    def answer(self) -> tuple[str, ...]:
        """Four lines: what was compared, the score, the rest, what to do; none for a single arm."""
        return self.report.answer

    @property
    def verdicts(self) -> dict[str, str]:
        """Arm -> `better`, `worse` ... than the first arm, on the score that decides."""
        scored = self.report.comparison.scored
        verdicts = scored[0].rows[0].verdicts if scored else {}
        return {arm: verdict.kind.value for arm, verdict in verdicts.items()}

    @property
    def model(self) -> Path | None:
        """The directory of the model to use, which `from_pretrained` loads."""
        path = self.directory / "model"
        return path if path.is_dir() else None

    def table(self) -> Any:
        """Gives the scores: a frame where pandas is installed, else a list of dictionaries."""
        records = [dict(record) for record in self.report.scores[0].records] if self.report.scores else []
        try:
            import pandas
        except ImportError:
            return records
        return pandas.DataFrame(records)

    def __str__(self) -> str:
        return "\n".join(self.answer or (self.report.headline,))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Shows the answer, the table and the picture in a notebook."""
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in str(self).split("\n"))
        table = self.report.scores[0] if self.report.scores else None
        rows = [table.columns, *table.rows] if table else []
        cells = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        pictures = [path for path in self.report.figures if path.suffix == ".svg" and path.is_file()]
        picture = pictures[0].read_text(encoding="utf-8") if pictures else ""
        return f"{lines}<table>{cells}</table>{picture[picture.find('<svg') :] if picture else ''}"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an experiment is run."""

    command: str  # that redoes it, for the record
    console: Console
    store: Path  # where runs lie
    jobs: int = 1  # runs at the same time, each in a process of its own
    launcher: str = "processes"  # where these run; or slurm, submitit-local
    launcher_options: Mapping[str, Any] = field(default_factory=dict)  # of submitit
    tracker: str | None = None  # of Accelerate's, where the runs of this process are logged, too
    alone: bool = False  # whether another process has the directory and reports on all runs
    most_seeds: int = 0  # up to which one after another is added until the score is decided for every arm
    tune_seeds: int = 0  # of their own, by which the arms' settings are chosen first
    on_plan: Callable[[Plan], None] | None = None  # is told what will be done, where anything is left to do

    @property
    def apart(self) -> bool:
        """Whether runs have processes of their own."""
        return self.jobs > 1 or self.launcher != "processes"

    def progress(self, config: ExperimentConfig, path: Path) -> ExperimentProgress:
        """Makes what shows how an experiment goes."""
        if self.tracker is None:
            return ExperimentProgress(self.console, config, path)
        if self.apart:
            raise UserError("--tracker logs the runs of one process; leave --jobs and --launcher out.")
        return TrackedProgress(self.console, config, path, self.tracker)


def run_comparison(experiment: Experiment, path: Path, way: Way) -> Comparison | None:
    """Runs an experiment in a directory, or what is left of it; a finished one is read again.

    `None` on all processes but the first of those that train together. After a KeyboardInterrupt the same
    call goes on.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # said before hours of work
    if several and way.apart:
        raise UserError(
            "--jobs: several processes train each run together already. Leave it out, or start only one."
        )
    if way.tune_seeds and several:
        raise UserError("--tune runs in one process; tune first, then train in several.")
    refuse_other(experiment.config, path)
    if way.tune_seeds:
        experiment = _tuned(experiment, path, way)
    config, seeds = experiment.config, experiment.config.seeds
    further = range(max(seeds) + 1, max(seeds) + 1 + way.most_seeds - len(seeds))
    # As many runs are shown as there may be.
    with way.progress(replace(config, seeds=(*seeds, *further)), path) as progress:
        if _is_finished(experiment, path, way.store):
            from lowland.report.write import read_report

            for seed in seeds:
                for arm in config.arms:
                    progress.on_run(arm, seed, done=True)
            return Comparison(directory=path, report=read_report(path))

        from lowland.comparison.compare import run_experiment
        from lowland.train.loop import TrainingError

        if not several and not way.alone and (path / ".lock").exists():
            with locked(path):  # refused before it is planned
                pass
        try:
            report = run_experiment(experiment, path, way, progress)
        except TrainingError as error:
            raise UserError(str(error)) from None
        return None if report is None else Comparison(directory=path, report=report)


def seeds_that_see(experiment: Experiment, points: float, store: Path) -> Experiment:
    """Gives an experiment as many seeds as detect a difference of the score with 80% power."""
    from lowland.planning.power import seeds_to_detect, spread_for

    rows = sum(map(len, experiment.data.evaluation.values()))
    seeds = seeds_to_detect(points, spread_for(experiment.config, store, rows))
    return replace(experiment, config=replace(experiment.config, seeds=tuple(range(seeds))))


def _tuned(experiment: Experiment, path: Path, way: Way) -> Experiment:
    """Chooses the settings of an experiment's arms, and prints what was tried."""
    from lowland.comparison.outcomes import Measured
    from lowland.comparison.tune import tune

    if experiment.config.outcomes.also or experiment.config.outcomes.general:
        Measured(experiment.config, experiment.data)  # a file of it may be missing

    def run(stage: str, config: ExperimentConfig) -> Any:
        folder = path.with_name(f"{path.name}-tuning") / stage
        plain = replace(way, most_seeds=0, tune_seeds=0, on_plan=None)
        result = run_comparison(replace(experiment, config=config), folder, plain)
        assert result is not None  # of one process
        return result.report.comparison.experiment

    def say(text: str) -> None:
        way.console.print(text, markup=False, highlight=False, soft_wrap=True)

    config = tune(
        experiment.config, experiment.data, way.tune_seeds, run, lambda tried: say(f"Tried {tried}")
    )
    for arm, changes in config.arms.items():
        say(f"Chosen for {arm}: {describe(changes)}")
    return replace(experiment, config=config)


def _is_finished(experiment: Experiment, path: Path, store: Path) -> bool:
    """Tells whether a directory holds this very experiment, reported on after its last run."""
    config = experiment.config
    if config.outcomes.also or config.outcomes.general:
        return False  # their files may have changed
    description = read_json(path / "experiment.json")
    settings = path / "experiment.toml"
    same = settings.is_file() and settings.read_bytes() == config.to_toml().encode()
    there = (path / "report" / "report.json").is_file() and (path / "model").is_dir()
    finished = same and there and description.get("finished") is not None
    return finished and all_done(config, store, experiment.data, description.get("content"))

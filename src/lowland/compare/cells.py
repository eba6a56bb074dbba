"""The cells of a sweep: ordinary experiments, each in a directory of its own, whose runs lie together.

A setting of SAM makes arms of one experiment, because they share the baseline; any other setting makes
experiments.
"""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lowland.compare.compare import Progress, run_experiment
from lowland.compare.grid import Grid, Point
from lowland.config.arms import Changes, refuse_fixed
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.config.layers import read_layer
from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.runs.directory import RunDirectory
from lowland.runs.examples import load_tasks
from lowland.runs.store import Prepared, Runs, prepare
from lowland.train import TrainingError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell.

    Attributes:
        name: Its name.
        path: Its directory.
        store: Where its runs lie.
        config: The experiment.
    """

    name: str
    path: Path
    store: Path
    config: ExperimentConfig

    def command(self) -> str:
        """Gives the command line that runs the cell, for the record."""
        hub = ["--hub"] if self.config.data.hub else []
        places = ["--out", str(self.path), "--runs", str(self.store)]
        return shlex.join(
            ["lowland", "compare", "--config", str(self.path / "experiment.toml"), *places, *hub]
        )

    @property
    def reported(self) -> bool:
        """Whether its report was written after all its runs."""
        try:
            description = json.loads((self.path / "experiment.json").read_text(encoding="utf-8"))
            same = description["arms"] == self.config.to_dict()["arms"]
            return description["finished"] is not None and same
        except (OSError, ValueError, KeyError, TypeError):
            return False


def with_grid(config: ExperimentConfig, points: Sequence[Point]) -> ExperimentConfig:
    """Makes an arm of every point of a grid and every arm but the reference, which stays as it is.

    Raises:
        UserError: If the settings of an arm are invalid.
    """
    others = [arm for arm in config.arms if arm != config.reference]
    arms: dict[str, Changes] = {config.reference: config.arms[config.reference]}
    for arm in others:
        for point in points:
            name = point.name if len(others) == 1 else f"{arm}_{point.name}"
            refuse_fixed(name, point.values)
            arms[name] = {**config.arms[arm], **point.values}
    try:
        return replace(config, arms=arms)
    except ValueError as error:
        raise UserError(str(error)) from None


def build_cells(
    grid: Grid, out: Path, store: Path, build: Callable[[Mapping[str, Any]], ExperimentConfig]
) -> list[Cell]:
    """Builds the cells of a grid.

    Args:
        grid: The grid.
        out: The sweep's directory.
        store: Where runs lie.
        build: Builds the configuration of some values, dotted setting -> value; the name of a preset is
            under `preset`.

    Raises:
        UserError: If the settings of a cell are invalid; the message names the cell.
    """
    cells = []
    for point, arms in grid.cells():
        try:
            config = build(point.values)
            load_tasks(config.data)  # a name that is not known is better said before anything is run
            config = with_grid(config, arms) if any(arm.values for arm in arms) else config
            config = _with_earlier(config, out / point.name)
        except UserError as error:
            raise UserError(f"{point.name}: {error}") from None
        cells.append(Cell(name=point.name, path=out / point.name, store=store, config=config))
    return cells


def _with_earlier(config: ExperimentConfig, path: Path) -> ExperimentConfig:
    """Adds the arms of an earlier command in the same directory, which stay part of the grid."""
    if not (path / "experiment.toml").exists():
        return config
    earlier = build_config(read_layer(path / "experiment.toml"))
    if earlier.decisive() != config.decisive():
        return config  # which is refused with what differs
    arms = {**earlier.arms, **config.arms}
    if any(arms[name] != changes for name, changes in earlier.arms.items()):
        return config
    return replace(config, arms=arms)


class Examples:
    """Keeps the examples of the last cell, which are most often those of the next one."""

    def __init__(self) -> None:
        self._kept: tuple[object, Prepared] | None = None
        self._content: dict[object, Mapping[str, str]] = {}

    def prepare(self, config: ExperimentConfig) -> Prepared:
        """Reads what a cell's runs are made from."""
        key = self._key(config)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # the memory of both is not needed at once
            self._kept = (key, prepare(config)[0])
            self._content[key] = self._kept[1].content
        return self._kept[1]

    def left(self, cell: Cell) -> list[RunDirectory]:
        """Lists the runs of a cell that are not done.

        Raises:
            UserError: If something about the data or the model is wrong.
        """
        key = self._key(cell.config)
        content = self._content[key] if key in self._content else self.prepare(cell.config).content
        return [run for run in Runs(cell.config, cell.store, content) if not run.done]

    @staticmethod
    def _key(config: ExperimentConfig) -> object:
        # What is read and how it is encoded; which part of it a run uses is decided later.
        data, train = config.data, config.train
        models = tuple((own.model, own.family) for own in map(config.of, config.arms))
        return (
            *(data.tasks, data.custom, data.data_dir, data.hub, data.evaluation_limit),
            *(models, train.input_length, train.target_length),
        )


class SweepProgress(Protocol):
    """What is told of a sweep while it goes on."""

    def on_cell(self, cell: Cell) -> None:
        """Called when work on a cell begins in this process."""

    def on_cell_end(self, cell: Cell, problem: str | None) -> None:
        """Called when a cell is complete, or cannot be completed."""

    def experiment(self, cell: Cell) -> AbstractContextManager[Progress]:
        """Shows how a cell goes."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell that could not be completed.

    Attributes:
        cell: The cell.
        problem: Why, in one sentence.
        log: The file that tells more, where there is one.
    """

    cell: Cell
    problem: str
    log: Path | None = None


def run_cells(
    cells: Sequence[Cell], progress: SweepProgress, tried: Mapping[Path, tuple[str, Path]] | None = None
) -> list[Failure]:
    """Runs cells one after another in this process, or completes those whose runs ended in others.

    Args:
        cells: The cells.
        progress: Is told how it goes.
        tried: Runs that failed in processes of their own -> why, and the log; they are not tried again.

    Returns:
        The cells that failed.

    Raises:
        KeyboardInterrupt: If the user asked to stop.
    """
    failures: list[Failure] = []
    examples = Examples()
    for cell in cells:
        problem: str | None = None
        log: Path | None = None
        try:
            left = examples.left(cell)
            if left or not cell.reported:
                progress.on_cell(cell)
                with progress.experiment(cell) as experiment:
                    run_experiment(
                        cell.config,
                        cell.path,
                        cell.command(),
                        experiment,
                        prepared=examples.prepare(cell.config),
                        store=cell.store,
                        elsewhere=None if tried is None else lambda runs: None,
                    )
                left = examples.left(cell)
            if left:
                problem, log = _problem(left[0], tried or {})
        except (UserError, TrainingError) as error:
            problem = str(error)
        except OSError:  # a disk that is full is full for the other cells, too
            raise
        except Exception as error:  # whatever it is, the cells after this one can still run
            problem, log = f"{type(error).__name__}: {error}", cell.path.parent / "jobs" / f"{cell.name}.log"
            write_atomic(log, traceback.format_exc().encode())
        progress.on_cell_end(cell, problem)
        if problem is not None:
            failures.append(Failure(cell=cell, problem=problem, log=log))
    return failures


def _problem(run: RunDirectory, tried: Mapping[Path, tuple[str, Path]]) -> tuple[str, Path | None]:
    """Says why a run is not done, and where more is said."""
    name = f"{run.arm}, seed {run.seed}"
    if run.path in tried:
        why, log = tried[run.path]
        return f"{name}: {why}", log
    return f"{name}: {run.status().get('error') or 'has not finished.'}", None

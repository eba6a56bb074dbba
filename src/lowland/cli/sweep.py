"""`lowland sweep`: the comparison over a grid of settings."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lowland.cli import options, settings
from lowland.cli.parser import at_least_one, one_of, seed_list
from lowland.errors import UserError
from lowland.report.words import count

if TYPE_CHECKING:
    from lowland.compare import Cell, Examples, Grid
    from lowland.config.experiment import ExperimentConfig
    from lowland.runs.directory import RunDirectory

HELP = "compare over a grid of settings, with figures along each"
USAGE = "[SETTING=VALUES ...] [TASK ...] [--option ...]"
DESCRIPTION = """\
Compares with and without SAM for every combination of some settings, and
reports on all of them together. Settings of SAM make arms of one experiment,
which share its baseline; other settings make experiments, each in a directory
of its own in DIR. What is done is not repeated; an experiment that fails does
not stop the others.

SETTING is rho, a, m, ascent-examples, descent, direction, sam-start,
sam-warmup, sam-every, adaptive, fraction, label-noise, task, learning-rate,
batch-size, steps, optimizer, dropout, model, preset, seed, or the dotted name
of any other, like train.z_loss. The paper's grids go by the words rho, a, m and
fraction alone."""
EPILOG = """\
examples:
  lowland sweep rho=0.02,0.05,0.1 --preset demo
  lowland sweep rho=0.05,0.15 fraction=0.05,0.2 glue/sst2 \\
    --data-dir ~/glue --jobs 2
  lowland sweep fraction cbqa --preset paper-base --hub --plan
  lowland sweep --preset paper-superglue-base-rho --hub --jobs 8 \\
    --launcher slurm --launcher-option slurm_partition=gpu
"""
INTERRUPTED = "interrupted. The same command goes on where it stopped."
FILE = "sweep.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    options.add_data_options(parser)
    options.add_training_options(parser)
    runs = parser.add_argument_group("runs")
    runs.add_argument(
        "--seeds", type=seed_list, metavar="N", help="number of seeds, or a list such as 4,7 (default: 3)"
    )
    sweep = parser.add_argument_group("sweep")
    sweep.add_argument(
        "--grid",
        metavar="FILE",
        help="the grid in TOML: a setting and its list of values a line; [[cells]] for single points",
    )
    sweep.add_argument(
        "--jobs",
        type=at_least_one,
        metavar="N",
        help="runs at the same time, each in a process with its share of the cores and a log in "
        "DIR/jobs (default: 1, in this process)",
    )
    sweep.add_argument(
        "--launcher",
        type=one_of("processes", "slurm", "submitit-local"),
        metavar="NAME",
        help="processes of this machine; slurm for jobs of a cluster, through submitit; submitit-local to "
        "try that here (default: processes)",
    )
    sweep.add_argument(
        "--launcher-option",
        metavar="NAME=VALUE",
        action="append",
        help="what submitit is told, such as timeout_min=600 or slurm_partition=gpu; may be repeated",
    )
    options.add_layer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb."""
    from lowland import compare as sweep
    from lowland.cli.console import console, note, quiet_libraries
    from lowland.cli.disk import disk_error
    from lowland.cli.sweep_view import SweepView, show_plan
    from lowland.report import find_experiments, write_sweep
    from lowland.runs.guard import locked, stop_request
    from lowland.runs.names import store_of

    quiet_libraries()
    workers, launcher_name, launcher_options = _launching(arguments)
    grid = read_grid(arguments)

    def build(values: Mapping[str, Any]) -> ExperimentConfig:
        own = argparse.Namespace(**vars(arguments))
        for setting, value in values.items():
            setattr(own, setting, value)
        return settings.build(own)

    out = Path(arguments.out) if "out" in arguments else None
    if out is None:
        out = default_directory(arguments, sweep.build_cells(grid, Path(), Path(), build))
    store = Path(arguments.runs) if "runs" in arguments else store_of(out)
    cells = sweep.build_cells(grid, out, store, build)
    _refuse_other(out, cells)
    examples = sweep.Examples()
    left = {cell.name: _left(examples, cell) for cell in cells}
    show_plan(cells, left, sweep.Speed(), workers, console)
    if "plan" in arguments:
        return 0

    folder = out / sweep.JOBS
    apart = workers > 1 or launcher_name != "processes"
    jobs = [
        job
        for cell in cells
        if apart
        for job in sweep.make_jobs(cell.config, cell.path, left[cell.name], folder, f"{cell.name}-")
    ]
    launcher = sweep.make_launcher(launcher_name, folder, launcher_options, workers) if apart else None
    view = SweepView(console, cells, jobs)
    try:
        with locked(out):
            describe(arguments.command, cells, out)
            tried: dict[Path, tuple[str, Path]] | None = None
            if launcher is not None:
                with stop_request(note) as stop, stop.at_once():
                    failed = sweep.run_jobs(jobs, launcher, workers, view)
                tried = {job.run.path: (problem, job.log) for job, problem in failed.items()}
            failures = sweep.run_cells(cells, view, tried)
    except OSError as error:
        raise disk_error(error, out) from None
    if any((cell.path / "experiment.json").exists() for cell in cells):
        # Experiments of earlier commands in this directory are part of the grid, too.
        write_sweep(find_experiments(out), out / "report").print(console)
    for failure in failures:
        more = f" See {failure.log}." if failure.log is not None and failure.log.exists() else ""
        console.print(Text(f"Failed: {failure.cell.name}: {failure.problem}{more}", style="red"))
    if failures:
        number = count(len(failures), "experiment")
        console.print(Text(f"{number} of {len(cells)} failed; the same command tries again."))
    return 1 if failures else 0


def _left(examples: Examples, cell: Cell) -> list[RunDirectory]:
    """Lists the runs of a cell that are not done: all where its data or model are not here."""
    from lowland.runs.directory import RunDirectory

    try:
        return examples.left(cell)
    except UserError:  # it will be said again, and of the cell, when the cell is run
        return [RunDirectory(cell.path, arm, seed) for seed in cell.config.seeds for arm in cell.config.arms]


def read_grid(arguments: argparse.Namespace) -> Grid:
    """Reads the grid from the words of the command line, a file, or the preset; tasks stay where they are.

    Raises:
        UserError: If it cannot be understood.
    """
    from lowland.compare import Grid, is_grid_word

    grid = Grid()
    words = getattr(arguments, "data.tasks", [])
    setattr(arguments, "data.tasks", [word for word in words if not is_grid_word(word)])
    if "grid" in arguments:
        grid.add_file(Path(arguments.grid))
    for word in words:
        if is_grid_word(word):
            grid.add_word(word)
    if not grid.axes and not grid.points:
        for setting, values in _ready_made(arguments).items():
            grid.add(setting, values)
    for setting in (*grid.axes, *(setting for point in grid.points for setting in point)):
        if setting in arguments and getattr(arguments, setting) not in ([], None) and setting != "preset":
            raise UserError(f"{setting} is in the grid and given as an option too. Leave one of them out.")
    return grid


def _ready_made(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Takes the grid `[sweep]` of the file of settings, or else that of the preset."""
    from lowland.config.layers import read_layer
    from lowland.paper.recipes import read_recipe

    if "config" in arguments:
        found = read_layer(Path(arguments.config)).get("sweep", {})
        if not isinstance(found, Mapping) or not all(isinstance(values, list) for values in found.values()):
            raise UserError(f"{arguments.config}: [sweep] must hold a list of values for each setting.")
        if found:
            return found
    return read_recipe(arguments.preset).sweep if "preset" in arguments else {}


def _launching(arguments: argparse.Namespace) -> tuple[int, str, dict[str, Any]]:
    from lowland.config.arms import parse_value

    jobs = getattr(arguments, "jobs", 1)
    name = getattr(arguments, "launcher", "processes")
    given: dict[str, Any] = {}
    for word in getattr(arguments, "launcher_option", []):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"--launcher-option: must be NAME=VALUE, not {word!r}.")
        given[key] = parse_value(value)
    if given and name == "processes":
        raise UserError("--launcher-option is for a cluster. Give --launcher slurm, or leave it out.")
    return jobs, name, given


def default_directory(arguments: argparse.Namespace, cells: list[Cell]) -> Path:
    """Names the directory of a sweep after what it is, so that the same command finds it again."""
    names = sorted({name for cell in cells for name in cell.config.data.tasks})
    what = arguments.preset if "preset" in arguments else "-".join(names).replace("/", "-") or "custom"
    prints = "".join(cell.config.fingerprint() for cell in cells)
    return Path("runs") / f"sweep-{what[:60]}-{hashlib.sha256(prints.encode()).hexdigest()[:8]}"


def describe(command: str, cells: list[Cell], out: Path) -> None:
    """Writes what the sweep is; earlier commands in the directory stay part of it."""
    from lowland.runs.directory import now, write_json

    out.mkdir(parents=True, exist_ok=True)
    try:
        commands = list(json.loads((out / FILE).read_text(encoding="utf-8"))["commands"])
    except (OSError, ValueError, KeyError, TypeError):
        commands = []
    commands.append({"command": command, "started": now(), "cells": [cell.name for cell in cells]})
    write_json(out / FILE, {"commands": commands})


def _refuse_other(out: Path, cells: list[Cell]) -> None:
    """Refuses a directory that holds something else, before any cell is run."""
    from lowland.compare.compare import refuse_other

    if (
        out.exists()
        and not (out / FILE).exists()
        and (not out.is_dir() or any(found.name[0] != "." for found in out.iterdir()))
    ):
        raise UserError(f"{out} exists and holds no sweep. Give another directory with --out.")
    for cell in cells:
        refuse_other(cell.config, cell.path)

"""Standard runs that several cells share.

Standard training does not depend on SAM's settings. So cells that differ in nothing else need the same
standard runs: one of them trains them, and the others get copies.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.directory import RunDirectory, write_json
from lowland.experiment.sweep.cell import SweepCell
from lowland.files import aside_of, put_in_place, write_atomic

NOT_STANDARD = ("seeds", "arms", "sam")
"""The settings that do not decide what a standard run of one seed gives."""


def standard_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Gives all that decides standard training, as it would be read back from a file."""
    return _without_others(tomllib.loads(config.to_toml()))


def find_standard_run(cell: SweepCell, seed: int) -> Path | None:
    """Finds a finished standard run in another cell of the sweep, with all settings but SAM's the same."""
    wanted = standard_settings(cell.config)
    for folder in cell.others(f"standard-seed{seed}"):
        run = RunDirectory(folder.parent, "standard", seed)
        if not run.done:
            continue
        try:
            settings = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        if _without_others(settings) == wanted:
            return run.path
    return None


def share_standard_runs(cell: SweepCell) -> list[int]:
    """Gives a cell the standard runs that it lacks and another cell has finished.

    The copy's status says where it is from. Weights are linked where the file system allows it: nothing
    changes them once a run is done, and a sweep of a large model would fill the disk.

    Args:
        cell: The cell.

    Returns:
        The seeds whose standard runs were copied.
    """
    copied = []
    for run in cell.runs():
        if run.arm != "standard" or run.done:
            continue
        source = find_standard_run(cell, run.seed)
        if source is None:
            continue
        _claim(cell)
        aside = aside_of(run.path)
        shutil.copytree(source, aside, ignore=shutil.ignore_patterns("states", ".*"), copy_function=_copy)
        status = json.loads((aside / "status.json").read_text(encoding="utf-8"))
        write_json(aside / "status.json", {**status, "copied_from": os.path.relpath(source, cell.path)})
        put_in_place(aside, run.path)
        copied.append(run.seed)
    return copied


def give_up_standard_runs(cell: SweepCell, trained_by: Mapping[int, str]) -> None:
    """Marks standard runs that have failed, so that the cell does not try them again: they would fail alike.

    Args:
        cell: The cell.
        trained_by: Seed -> name of the cell, this one or another, that has tried it.
    """
    for seed, name in trained_by.items():
        run = RunDirectory(cell.path, "standard", seed)
        tried = RunDirectory(cell.path.parent / name, "standard", seed)
        status = tried.status()
        if run.done or status.get("state") != "failed":
            continue
        if name != cell.name:
            status["error"] = f"It failed in {name}, which trains it for this cell too."
            status["copied_from"] = os.path.relpath(tried.path, cell.path)
            _claim(cell)
            shutil.rmtree(run.path, ignore_errors=True)
            run.path.mkdir()
        write_json(run.path / "status.json", {**status, "given_up": True})


def take_up_again(cell: SweepCell) -> None:
    """Lets a new command try again what an earlier one gave up."""
    for run in cell.runs():
        if run.given_up:
            write_json(run.path / "status.json", {**run.status(), "given_up": False})


def _claim(cell: SweepCell) -> None:
    """Makes a cell's directory, and writes whose it is."""
    cell.path.mkdir(parents=True, exist_ok=True)
    if not (cell.path / "experiment.toml").exists():
        write_atomic(cell.path / "experiment.toml", cell.config.to_toml().encode())


def _without_others(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in NOT_STANDARD}


def _copy(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copy2(source, target)

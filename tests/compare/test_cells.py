"""The experiments of a sweep, and grids that make arms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from lowland.compare import Cell, Examples, Grid, build_cells, cells, run_cells, with_grid
from lowland.config.arms import nest
from lowland.config.experiment import build_config
from lowland.config.layers import merge
from lowland.errors import UserError

BASE = {"data": {"tasks": ["facts/capitals"]}, "train": {"steps": 10}, "seeds": [0, 1]}


def cells_of(out: Path, *words: str) -> list[Cell]:
    """The cells of a grid over a small configuration."""
    grid = Grid()
    for word in words:
        grid.add_word(word)

    def build(values: Mapping[str, Any]) -> Any:
        return build_config(merge(BASE, nest(values)))

    return build_cells(grid, out, out / "runs", build)


class Silent:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.ended: dict[str, str | None] = {}

    def on_cell(self, cell: Cell) -> None:
        """Called when work begins."""

    def on_cell_end(self, cell: Cell, problem: str | None) -> None:
        """Called when a cell has ended."""
        self.ended[cell.name] = problem

    def experiment(self, cell: Cell) -> AbstractContextManager[Any]:
        """Shows nothing."""
        return nullcontext()


def test_settings_of_sam_make_arms_and_others_experiments(tmp_path: Path) -> None:
    """Radii are arms beside one baseline, and fractions are experiments."""
    made = cells_of(tmp_path, "rho=0.02,0.05,0.1", "fraction=0.1,0.2")
    assert [cell.name for cell in made] == ["fraction-0.1_rho", "fraction-0.2_rho"]
    assert list(made[1].config.arms) == ["baseline", "rho=0.02", "rho=0.05", "rho=0.1"]
    assert made[1].config.of("rho=0.05").sam.rho == 0.05
    assert made[1].config.data.fraction == 0.2
    (alone,) = cells_of(tmp_path, "rho=0.02,0.05")
    assert alone.name == "rho"


def test_a_baseline_is_trained_once(tmp_path: Path) -> None:
    """Three radii and two seeds need two runs without SAM, and a second sweep of other radii none."""
    (cell,) = cells_of(tmp_path, "rho=0.02,0.05,0.1")
    left = Examples().left(cell)
    assert [run.arm for run in left].count("baseline") == 2 and len(left) == 8
    for run in left:
        run.path.mkdir(parents=True)
        (run.path / "status.json").write_text('{"state": "done"}')
    (other,) = cells_of(tmp_path, "rho=0.05,0.3")
    assert [run.arm for run in Examples().left(other)] == ["rho=0.3", "rho=0.3"]


def test_more_values_in_a_directory_are_added(tmp_path: Path) -> None:
    """The arms of an earlier command in the same directory stay, unless the new one gives them anew."""
    (cell,) = cells_of(tmp_path, "rho=0.02,0.05")
    cell.path.mkdir()
    (cell.path / "experiment.toml").write_text(cell.config.to_toml())
    (more,) = cells_of(tmp_path, "rho=0.05,0.1")
    assert list(more.config.arms) == ["baseline", "rho=0.02", "rho=0.05", "rho=0.1"]


def test_a_grid_takes_the_place_of_the_arms_after_the_first() -> None:
    """Each arm but the reference is varied by the grid, and the arms are named after both where they must."""
    grid = Grid()
    grid.add_word("train.learning_rate=0.1,0.2")
    config = build_config(BASE, {"arms": ["baseline", "sam", "asam"]})
    varied = with_grid(config, grid.arms())
    assert list(varied.arms) == [
        "baseline",
        *(
            "sam_learning-rate=0.1",
            "sam_learning-rate=0.2",
            "asam_learning-rate=0.1",
            "asam_learning-rate=0.2",
        ),
    ]
    assert varied.of("asam_learning-rate=0.2").train.learning_rate == 0.2
    assert varied.of("baseline") == config.of("baseline")


@pytest.mark.parametrize("word", ["steps=1,2", "fraction=0.1,0.2", "batch-size=4"])
def test_a_grid_of_arms_keeps_the_pairs(word: str) -> None:
    """A grid over what all arms share is refused, with what to do instead."""
    grid = Grid()
    grid.add_word(word)
    with pytest.raises(UserError, match="by `lowland sweep`"):
        with_grid(build_config(BASE), grid.arms())


def test_invalid_cells_are_named(tmp_path: Path) -> None:
    """A value that its setting refuses is answered with the names of cell and arm."""
    with pytest.raises(UserError, match=r"rho: Arm 'rho=-1': Invalid rho=-1"):
        cells_of(tmp_path, "rho=0.1,-1")
    with pytest.raises(UserError, match=r"steps-0_rho: Invalid steps=0"):
        cells_of(tmp_path, "steps=1,0", "rho=0.1")


def test_a_crash_in_this_process_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in a cell, the next one runs, and the log holds what happened."""
    made = cells_of(tmp_path, "steps=1,2")

    def run_experiment(config: Any, path: Path, *_: Any, **__: Any) -> None:
        if path.name == "steps-1":
            raise RuntimeError("odd")
        for run in Examples().left(made[1]):
            run.path.mkdir(parents=True)
            (run.path / "status.json").write_text('{"state": "done"}')

    monkeypatch.setattr(cells, "run_experiment", run_experiment)
    silent = Silent()
    (failure,) = run_cells(made, silent)
    assert failure.problem == "RuntimeError: odd"
    assert failure.log is not None and "Traceback" in failure.log.read_text()
    assert silent.ended == {"steps-1": "RuntimeError: odd", "steps-2": None}

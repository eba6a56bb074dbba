"""The grid of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowland.compare import Grid, is_grid_word
from lowland.errors import UserError


def grid(*words: str) -> Grid:
    """A grid of words of a command line."""
    made = Grid()
    for word in words:
        made.add_word(word)
    return made


def test_cells_are_all_combinations() -> None:
    """Two settings with two values each give four cells, named after them, the last setting fastest."""
    cells = grid("steps=2,5", "fraction=0.05,0.2").cells()
    assert [point.name for point, _ in cells] == [
        "steps-2_fraction-0.05",
        "steps-2_fraction-0.2",
        "steps-5_fraction-0.05",
        "steps-5_fraction-0.2",
    ]
    assert cells[1][0].values == {"train.steps": 2, "data.fraction": 0.2}


def test_settings_of_sam_are_arms_of_a_cell() -> None:
    """Radii and fractions give a cell for each fraction with an arm for each radius."""
    cells = grid("rho=0.02,0.05", "fraction=0.05,0.2").cells()
    assert [(point.name, [arm.name for arm in arms]) for point, arms in cells] == [
        ("fraction-0.05_rho", ["rho=0.02", "rho=0.05"]),
        ("fraction-0.2_rho", ["rho=0.02", "rho=0.05"]),
    ]
    assert cells[1][1][0].values == {"sam.rho": 0.02}
    assert [point.name for point, _ in grid("m").cells()] == ["m"]


def test_words_are_read_as_values() -> None:
    """Whole numbers, numbers, texts, truth, tasks and seeds each become what their setting wants."""
    (point,) = grid(
        *("a=8", "learning-rate=1e-3", "descent=full", "data.hub=true", "task=glue/rte+glue/sst2", "seed=4")
    ).arms()
    assert point.values == {
        "sam.ascent": 8,
        "train.learning_rate": 0.001,
        "sam.descent": "full",
        "data.hub": True,
        "data.tasks": ["glue/rte", "glue/sst2"],
        "seeds": [4],
    }


def test_the_papers_grids() -> None:
    """The words rho, a, m and fraction stand for the paper's values, 8 to 128 of 128 examples for a."""
    assert [p.values["sam.rho"] for p in grid("rho").arms()] == [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4]
    assert [p.values["sam.ascent"] * 128 for p in grid("a").arms()] == [8, 24, 32, 64, 128]
    assert [p.values for p in grid("m").arms()] == [{"sam.m": m, "sam.descent": "full"} for m in (1, 2, 4)]
    rates = [p.values["data.fraction"] for p in grid("fraction").arms()]
    assert (rates[0], rates[-1]) == (0.02, 0.8)


def test_grid_words_are_told_from_tasks() -> None:
    """Words with = and the names of the paper's grids belong to the grid, names of tasks do not."""
    assert [is_grid_word(word) for word in ("rho=1", "m", "fraction", "glue/rte", "superglue")] == [
        *(True, True, True, False, False)
    ]


def test_a_file_holds_axes_and_points(tmp_path: Path) -> None:
    """A file's points are combined with its axes, and a setting that is the same everywhere is not named."""
    file = tmp_path / "grid.toml"
    file.write_text(
        'fraction = [0.05, 1.0]\ndescent = "full"\n'
        '[[cells]]\nmodel = "google/t5-v1_1-small"\nrho = 0.05\n'
        '[[cells]]\nmodel = "google/t5-v1_1-base"\n[cells.sam]\nrho = 0.15\n'
    )
    made = Grid()
    made.add_file(file)
    cells = made.cells()
    assert [point.name for point, _ in cells] == [
        "model-t5-v1_1-small_fraction-0.05_rho-descent",
        "model-t5-v1_1-small_fraction-1_rho-descent",
        "model-t5-v1_1-base_fraction-0.05_rho-descent",
        "model-t5-v1_1-base_fraction-1_rho-descent",
    ]
    assert [arm.values for _, arms in cells for arm in arms] == [
        {"sam.rho": rho, "sam.descent": "full"} for rho in (0.05, 0.05, 0.15, 0.15)
    ]


def test_names_of_cells_differ() -> None:
    """Models whose paths end alike get cells of different names, without a slash."""
    names = [point.name for point, _ in grid("model=/a/base,/b/base").cells()]
    assert len(set(names)) == 2
    assert not any("/" in name for name in names)


def test_equal_values_are_one_cell() -> None:
    """A value that is given twice makes one cell."""
    assert len(grid("rho=0.1,0.1").arms()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rhoo=1"], "Unknown setting of a sweep 'rhoo'. Did you mean rho"),
        (["rho="], "rho: there is no value"),
        (["rho=1", "sam.rho=2"], "sam.rho is given twice"),
        (["seed=x"], "seed: 'x' is no seed"),
        (["arms=sam"], "Unknown setting of a sweep 'arms'"),
        ([], "There is no grid"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], sentence: str) -> None:
    """A mistake in a grid is answered in one sentence."""
    with pytest.raises(UserError, match=sentence):
        grid(*words).arms()


@pytest.mark.parametrize("content", ["rho = [", "cells = 3", "[[cells]]\nrhoo = 1", "seed = [true]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    """A mistake in a file is answered with the file's name."""
    file = tmp_path / "grid.toml"
    file.write_text(content)
    with pytest.raises(UserError, match=r"grid\.toml"):
        Grid().add_file(file)

"""The report over several experiments."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report import find_experiments, write_sweep
from lowland.report.comparison import Comparison, compare
from lowland.report.grid import find_axes, pool
from lowland.report.grid_figures import (
    apart,
    axis_figures,
    caption,
    figure_names,
    points,
    sensitivity_figure,
    titles,
)
from lowland.report.runs import read_experiment
from lowland.report.selection import Selection


def cell(
    directory: Path,
    *,
    rho: float = 0.15,
    ascent: float = 0.25,
    ascent_examples: int | None = None,
    fraction: float = 1.0,
    seeds: Sequence[int] = (0, 1),
    gain: float = 2.0,
    metrics: Mapping[str, Sequence[str]] | None = None,
    model: str = "embedded",
) -> Path:
    """An experiment: the baseline scores 50 + seed, SAM scores `gain` more."""
    metrics = metrics or {"a": ["em"]}
    settings: dict[str, Any] = {
        "model": model,
        "data": {"tasks": sorted(metrics), "fraction": fraction},
        "train": {"batch_size": 128, "steps": 200},
        "sam": {"rho": rho, "ascent": ascent, "m": 1},
    }
    if ascent_examples is not None:
        settings["sam"]["ascent_examples"] = ascent_examples
    write_experiment(directory, metrics=metrics, seeds=seeds, name=directory.name, settings=settings)
    for seed in seeds:
        for arm, more in (("baseline", 0.0), ("sam", gain)):
            scores = {name: {200: dict.fromkeys(keys, 50 + seed + more)} for name, keys in metrics.items()}
            write_run(directory, arm, seed, scores)
    return directory


def read(*directories: Path) -> list[Comparison]:
    """Reads and compares, equal settings pooled."""
    return [compare(experiment) for experiment in pool([read_experiment(d) for d in directories])]


def test_axes_are_lines_through_the_grid(tmp_path: Path) -> None:
    """Two radii at two fractions make two lines along each, and single points make none."""
    comparisons = read(
        *(
            cell(tmp_path / f"{rho}-{fraction}", rho=rho, fraction=fraction)
            for rho in (0.15, 0.05)
            for fraction in (0.1, 1.0)
        ),
        cell(tmp_path / "odd", rho=0.3, fraction=0.5),
    )
    lines = [(axis.setting, axis.values, dict(axis.rest)) for axis in find_axes(comparisons)]
    assert lines == [
        ("data.fraction", (0.1, 1.0), {"sam.rho": 0.15}),
        ("data.fraction", (0.1, 1.0), {"sam.rho": 0.05}),
        ("sam.rho", (0.05, 0.15), {"data.fraction": 0.1}),
        ("sam.rho", (0.05, 0.15), {"data.fraction": 1.0}),
    ]


def test_other_evaluation_sets_are_on_no_line(tmp_path: Path) -> None:
    """Experiments that are scored on different sets are on no line together, and their report is written."""
    first = cell(tmp_path / "first", fraction=0.1)
    second = cell(tmp_path / "second", metrics={"b": ["em"]})
    file = second / "experiment.json"
    file.write_text(file.read_text().replace('"tasks": ["b"]', '"tasks": ["a"]'))
    assert find_axes(read(first, second)) == []
    assert write_sweep([first, second], tmp_path / "report").figures == ()


def test_titles_tell_what_differs_between_panels(tmp_path: Path) -> None:
    """A panel's title names SAM's other settings, and what else is not the same in all panels."""
    cells = [cell(tmp_path / f"{rho}", rho=rho, fraction=0.5) for rho in (0.05, 0.15)]
    cells.append(cell(tmp_path / "ascent", ascent=0.5, fraction=0.5))
    other = cell(tmp_path / "other", metrics={"b": ["em"]})
    assert titles(find_axes(read(*cells, other))) == ["a = 32", "ρ = 0.15"]
    cells += [cell(tmp_path / f"low-{rho}", rho=rho, fraction=0.1) for rho in (0.05, 0.15)]
    lines = [axis for axis in find_axes(read(*cells)) if axis.setting == "sam.rho"]
    assert titles(lines) == ["fraction = 0.5, a = 32", "fraction = 0.1, a = 32"]


def test_labels_do_not_run_into_each_other() -> None:
    """On a logarithmic axis a label too near to its right neighbour is left out; the paper's all fit."""
    fractions = [0.05, 0.2, 0.8, 1.0]
    assert apart(["5%", "20%", "80%", "100%"], np.log(fractions)) == ["5%", "20%", "", "100%"]
    paper = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8]
    assert apart([str(value) for value in paper], np.log(paper)) == [str(value) for value in paper]


def test_ascent_is_counted_in_examples(tmp_path: Path) -> None:
    """A fraction of the batch and the same number of examples are the same place on the axis."""
    comparisons = read(cell(tmp_path / "8", ascent_examples=8), cell(tmp_path / "quarter", ascent=0.25))
    (axis,) = find_axes(comparisons)
    assert (axis.setting, axis.values) == ("sam.ascent", (8, 32))


def test_equal_settings_are_pooled(tmp_path: Path) -> None:
    """Experiments that differ in their seeds only count as one with all seeds, each once."""
    one, two = cell(tmp_path / "one", seeds=(0, 1)), cell(tmp_path / "two", seeds=(1, 2), gain=3.0)
    (comparison,) = read(one, two)
    assert comparison.seeds == (0, 1, 2)
    row = comparison.headline_row
    assert row is not None and row.paired is not None
    # The first experiment's run of seed 1 counts: the gains are 2, 2 and 3.
    assert row.paired["sam"].difference == pytest.approx(7 / 3, rel=1e-12)  # sums in another order


def test_a_finished_run_goes_before_an_unfinished_one(tmp_path: Path) -> None:
    """Where one of two equal experiments has lost a run, the other's run counts."""
    one, two = cell(tmp_path / "one"), cell(tmp_path / "two")
    write_run(one, "sam", 1, {}, state="failed", error="The loss is not finite at step 7.")
    (comparison,) = read(one, two)
    assert comparison.seeds == (0, 1)


def test_points_are_means_and_standard_errors(tmp_path: Path) -> None:
    """A point is the mean over seeds, its error the standard error, and a missing score is nan."""
    comparisons = read(cell(tmp_path / "a", rho=0.05, gain=1), cell(tmp_path / "b", rho=0.15, gain=4))
    (axis,) = find_axes(comparisons)
    means, errors, counts = points(axis, Selection.LAST_STEP, ("a", "em"), 1)
    np.testing.assert_array_equal(means, [51.5, 54.5])
    np.testing.assert_allclose(errors, 0.5, rtol=1e-12)  # a square root of a sum
    assert counts == {2}
    assert np.isnan(points(axis, Selection.LAST_STEP, ("b", "em"), 1)[0]).all()


def test_figures_do_not_change(tmp_path: Path) -> None:
    """A sweep over rho gives its own figure and the one of sensitivity, as PNG and SVG, always the same."""
    axes = find_axes(read(*(cell(tmp_path / f"{rho}", rho=rho) for rho in (0.05, 0.15))))
    files = axis_figures(axes) | sensitivity_figure(axes)
    assert set(files) == {"rho.png", "rho.svg", "sensitivity.png", "sensitivity.svg"}
    assert files["rho.png"].startswith(b"\x89PNG")
    assert axis_figures(axes) | sensitivity_figure(axes) == files


def test_a_setting_that_is_not_of_sam_is_not_sensitivity(tmp_path: Path) -> None:
    """A sweep over the training fraction gives the figure of Figure 1 and no figure of Figure 2."""
    axes = find_axes(read(*(cell(tmp_path / f"{x}", fraction=x) for x in (0.05, 0.2))))
    assert set(axis_figures(axes)) == {"fraction.png", "fraction.svg"}
    assert sensitivity_figure(axes) == {}


def test_several_lines_have_several_figures(tmp_path: Path) -> None:
    """Where another setting varies too, each line through the grid has a figure and a caption of its own."""
    axes = find_axes(
        read(*(cell(tmp_path / f"{r}-{x}", rho=r, fraction=x) for r in (0.1, 0.2) for x in (0.05, 0.2)))
    )
    assert {name for name in axis_figures(axes) if name.endswith(".svg")} == {
        *("fraction-1.svg", "fraction-2.svg", "rho-1.svg", "rho-2.svg")
    }
    assert [caption(axis) for axis in figure_names(axes).values()] == [
        "Along data.fraction, with sam.rho = 0.1.",
        "Along data.fraction, with sam.rho = 0.2.",
        "Along sam.rho, with data.fraction = 0.05.",
        "Along sam.rho, with data.fraction = 0.2.",
    ]


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    """Tables in three formats, figures and the page are written, rows in the order of the values."""
    directories = [cell(tmp_path / f"rho-{rho}", rho=rho, gain=10 * rho) for rho in (0.4, 0.05, 0.15)]
    report = write_sweep(directories, tmp_path / "out")
    assert [row[1] for row in report.summary.rows] == ["0.05", "0.15", "0.4"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert "![sensitivity](figures/sensitivity.png)" in page
    assert "have the same baseline runs" in page
    for kind in ("md", "csv", "tex"):
        assert (tmp_path / "out" / "tables" / f"scores.{kind}").exists()
    with (tmp_path / "out" / "tables" / "scores.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [float(record["setting.sam.rho"]) for record in records if record["selection"] == "best"] == [
        *(0.05, 0.15, 0.4)
    ]
    assert float(records[0]["difference"]) == pytest.approx(0.5)  # 52.0 - 51.5, from means of seeds


def test_unfinished_experiments_are_named(tmp_path: Path) -> None:
    """A run that failed is said to be missing, and what is there is reported."""
    one, two = cell(tmp_path / "one", rho=0.1), cell(tmp_path / "two", rho=0.2)
    write_run(two, "sam", 1, {}, state="failed", error="no")
    report = write_sweep([one, two], tmp_path / "out")
    assert "two: SAM seed 1 failed." in report.caveats


def test_a_sweep_directory_stands_for_its_experiments(tmp_path: Path) -> None:
    """An experiment stands for itself, a sweep for the experiments in it, an empty directory for none."""
    one = cell(tmp_path / "sweep" / "one")
    assert find_experiments(one) == [one]
    assert find_experiments(tmp_path / "sweep") == [one]
    with pytest.raises(UserError, match="no experiment is here"):
        find_experiments(tmp_path)

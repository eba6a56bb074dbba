"""Runs as points of a grid, score along a setting, and the report over several experiments."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report.along import Point, find_lines, find_points, line_names, setting_figures
from lowland.report.runs import read_experiment
from lowland.report.selection import AVERAGE, Selection
from lowland.report.write import find_experiments, write_report, write_several


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


def read(*directories: Path) -> list[Point]:
    """Reads the points of some experiments."""
    return find_points([read_experiment(directory) for directory in directories])


def test_lines_lead_through_the_grid(tmp_path: Path) -> None:
    """Two radii at two fractions make two lines of SAM along each; a single point makes none."""
    points = read(
        *(
            cell(tmp_path / f"{rho}-{fraction}", rho=rho, fraction=fraction)
            for rho in (0.15, 0.05)
            for fraction in (0.1, 1.0)
        ),
        cell(tmp_path / "odd", rho=0.3, fraction=0.5),
    )
    lines = find_lines(points)
    found = [(line.setting, list(line.points), line.rest.get("sam.rho"), line.with_sam) for line in lines]
    assert found == [
        ("data.fraction", [0.1, 0.5, 1.0], 0.0, False),
        ("data.fraction", [0.1, 1.0], 0.15, True),
        ("data.fraction", [0.1, 1.0], 0.05, True),
        ("sam.rho", [0.05, 0.15], None, True),
        ("sam.rho", [0.05, 0.15], None, True),
    ]
    assert line_names(lines[:3]) == ["Baseline", "SAM, sam.rho = 0.15", "SAM, sam.rho = 0.05"]
    assert line_names(lines[3:]) == ["SAM, data.fraction = 0.1", "SAM, data.fraction = 1.0"]
    # Along a setting of SAM the baseline of the same other settings is a level.
    assert [[point.settings["data.fraction"] for point in line.level] for line in lines[3:]] == [[0.1], [1.0]]


def test_other_evaluation_sets_are_on_no_line(tmp_path: Path) -> None:
    """Experiments that are scored on different sets are on no line together, and their report is written."""
    first = cell(tmp_path / "first", fraction=0.1)
    second = cell(tmp_path / "second", metrics={"b": ["em"]})
    file = second / "experiment.json"
    file.write_text(file.read_text().replace('"tasks": ["b"]', '"tasks": ["a"]'))
    assert find_lines(read(first, second)) == []
    assert not write_several([write_report(first), write_report(second)], tmp_path / "report").figures


def test_ascent_is_counted_in_examples(tmp_path: Path) -> None:
    """A fraction of the batch and the same number of examples are the same place on the axis."""
    points = read(cell(tmp_path / "8", ascent_examples=8), cell(tmp_path / "quarter", ascent=0.25))
    (line,) = find_lines(points)
    assert (line.setting, list(line.points)) == ("sam.ascent", [8, 32])


def test_equal_settings_are_one_point(tmp_path: Path) -> None:
    """Experiments that differ in their seeds only make one point of each arm with all seeds, each once."""
    one, two = cell(tmp_path / "one", seeds=(0, 1)), cell(tmp_path / "two", seeds=(1, 2), gain=3.0)
    baseline, sam = read(one, two)
    assert (baseline.with_sam, sam.with_sam, sam.name) == (False, True, "one + two")
    # The first experiment's run of seed 1 counts.
    scores = {seed: found["a", "em"] for seed, found in sam.scores(Selection.LAST_STEP).items()}
    assert scores == {0: 52.0, 1: 53.0, 2: 55.0}


def test_a_finished_run_goes_before_an_unfinished_one(tmp_path: Path) -> None:
    """Where one of two equal experiments has lost a run, the other's run counts."""
    one, two = cell(tmp_path / "one"), cell(tmp_path / "two")
    write_run(one, "sam", 1, {}, state="failed", error="The loss is not finite at step 7.")
    assert [set(point.runs) for point in read(one, two)] == [{0, 1}, {0, 1}]


def test_a_point_is_mean_and_spread(tmp_path: Path) -> None:
    """A point is summed up over its seeds, the average over sets too, and a missing set is none."""
    sets = {"a": ["em"], "b": ["em", "f1"]}
    _, sam = read(cell(tmp_path / "a", gain=4, metrics=sets))
    found = sam.summary(Selection.LAST_STEP, (AVERAGE, "all"))
    assert (found.mean, found.n) == (54.5, 2) and found.sd == pytest.approx(0.5**0.5)
    assert sam.summary(Selection.LAST_STEP, ("c", "em")).n == 0
    assert not sam.scores(Selection.HELD_OUT)


def test_arms_of_one_experiment_are_points_too(tmp_path: Path) -> None:
    """A grid within one experiment gives the same figure, always the same bytes, as PNG and SVG."""
    directory = cell(tmp_path / "x")
    file = directory / "experiment.json"
    changed = '"arms": {"baseline": {"sam.rho": 0.0}, "low": {"sam.rho": 0.05}, "sam": {}}'
    file.write_text(file.read_text().replace('"arms": {"baseline": {"sam.rho": 0.0}, "sam": {}}', changed))
    for seed in (0, 1):
        write_run(directory, "low", seed, {"a": {200: {"em": 51.0 + seed}}})
    lines = find_lines(read(directory))
    assert [(line.setting, list(line.points), len(line.level)) for line in lines] == [
        ("sam.rho", [0.05, 0.15], 1)
    ]
    files = setting_figures(lines)
    assert set(files) == {"rho.png", "rho.svg"}
    assert files["rho.png"].startswith(b"\x89PNG")
    assert setting_figures(lines) == files


def test_the_report_over_several_is_written_whole(tmp_path: Path) -> None:
    """Tables in three formats, figures and the page are written, rows in the order of the experiments."""
    directories = [cell(tmp_path / f"rho-{rho}", rho=rho, gain=10 * rho) for rho in (0.05, 0.4)]
    written = write_several([write_report(directory) for directory in directories], tmp_path / "out")
    (summary,) = written.tables
    assert [row[1] for row in summary.rows] == ["0.05", "0.05", "0.4", "0.4"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert "![rho.png](figures/rho.png)" in page
    for kind in ("md", "csv", "tex"):
        assert (tmp_path / "out" / "tables" / f"summary.{kind}").exists()
    with (tmp_path / "out" / "tables" / "summary.csv").open() as file:
        records = [record for record in csv.DictReader(file) if record["arm"] == "sam"]
    assert [float(record["setting.sam.rho"]) for record in records] == [0.05, 0.4]
    assert float(records[0]["difference"]) == pytest.approx(0.5)  # 52.0 - 51.5, from means of seeds


def test_a_directory_stands_for_its_experiments(tmp_path: Path) -> None:
    """An experiment stands for itself, a directory for the experiments in it, an empty one for none."""
    one = cell(tmp_path / "many" / "one")
    assert find_experiments(one) == [one]
    assert find_experiments(tmp_path / "many") == [one]
    with pytest.raises(UserError, match="no experiment is here"):
        find_experiments(tmp_path)

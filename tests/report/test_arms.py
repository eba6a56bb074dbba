"""Reports of more than two arms: each is compared with the first one, over the seeds that both have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report import read_experiment, write_report, write_sweep
from lowland.report.comparison import compare
from lowland.report.grid import find_axes, pairs_of, pool, radius_of, settings_of
from lowland.report.headline import headline

GAINS = {"baseline": 0.0, "rho=0.05": 2.0, "rho=0.15": 3.0, "late": -1.0}

CHANGES: dict[str, dict[str, Any]] = {
    "baseline": {"sam.rho": 0.0},
    "rho=0.05": {"sam.rho": 0.05},
    "rho=0.15": {"sam.rho": 0.15},
    "late": {"sam.start": 0.5, "train.learning_rate": 0.01},
}

SETTINGS = {"train": {"steps": 200, "learning_rate": 0.001}, "sam": {"rho": 0.1, "start": 0.0}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four arms of three seeds; one arm has lost a seed, and one has another spread."""
    path = write_experiment(tmp_path / "x", metrics={"a": ["em"]}, name="x", settings=SETTINGS)
    content = json.loads((path / "experiment.json").read_text())
    (path / "experiment.json").write_text(json.dumps({**content, "arms": CHANGES}))
    for arm, gain in GAINS.items():
        for seed in range(3):
            if (arm, seed) == ("late", 2):
                write_run(path, arm, seed, {}, state="failed", error="no")
                continue
            score = 50 + 5 * seed + gain + 0.1 * seed * (arm != "baseline")
            write_run(path, arm, seed, {"a": {200: {"em": score}}}, seconds=100.0 + 10 * gain)
    return path


def test_each_arm_is_compared_with_the_first(directory: Path) -> None:
    """Differences, seeds, verdicts and times are those of each arm with the reference, pair by pair."""
    comparison = compare(read_experiment(directory))
    (row,) = comparison.scored[0].rows
    assert list(row.arms) == list(GAINS)
    differences = {arm: paired.difference for arm, paired in row.paired.items()}
    assert differences == pytest.approx({"rho=0.05": 2.1, "rho=0.15": 3.1, "late": -0.95})  # sums of floats
    assert {arm: paired.n for arm, paired in row.paired.items()} == {"rho=0.05": 3, "rho=0.15": 3, "late": 2}
    assert [paired.verdict for paired in row.paired.values()] == ["better", "better", "worse"]
    assert {arm: ratio.median for arm, ratio in comparison.cost.ratios.items()} == {
        "rho=0.05": 1.2,
        "rho=0.15": 1.3,
        "late": 0.9,
    }
    assert comparison.seeds == (0, 1, 2)


def test_all_arms_are_in_tables_page_and_json(directory: Path) -> None:
    """Headline, table, CSV, page and JSON name every arm, and the page says what each changes."""
    report = write_report(directory)
    assert headline(report.comparison).count("in em on a") == 3
    assert [row[2] for row in report.scores[0].rows] == ["Baseline", "rho=0.05", "rho=0.15", "late"]
    with (directory / "report" / "tables" / "scores-last-step.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["arm"] for record in records] == list(GAINS)
    assert records[0]["difference"] == "" and float(records[1]["difference"]) == pytest.approx(2.1)
    content = json.loads((directory / "report" / "report.json").read_text())
    assert content["experiment"]["reference"] == "baseline" and content["experiment"]["arms"] == CHANGES
    assert list(content["scores"]["last-step"]["rows"][0]["paired"]) == list(GAINS)[1:]
    page = (directory / "report" / "report.md").read_text()
    assert "| late | sam.start = 0.5, train.learning\\_rate = 0.01 |" in page.replace(
        "learning_rate", "learning\\_rate"
    )


def test_an_experiment_is_taken_apart_in_pairs(directory: Path) -> None:
    """Each arm with its reference is a comparison with the arm's settings, and arms line up along rho."""
    pairs = pairs_of(read_experiment(directory))
    assert [pair.arms for pair in pairs] == [("baseline", arm) for arm in list(GAINS)[1:]]
    assert [settings_of(pair)["sam.rho"] for pair in pairs] == [0.05, 0.15, 0.1]
    assert settings_of(pairs[2])["train.learning_rate"] == 0.01
    assert [radius_of(read_experiment(directory), arm) for arm in GAINS] == [0.0, 0.05, 0.15, 0.1]
    (axis,) = find_axes([compare(pair) for pair in pairs[:2]])
    assert (axis.setting, axis.values, axis.one_reference) == ("sam.rho", (0.05, 0.15), True)


def test_the_report_over_a_grid_of_arms_has_its_figures(directory: Path) -> None:
    """A sweep of one experiment has a row for each arm and a figure along the radius."""
    report = write_sweep([directory], directory.parent / "out")
    assert [row[0] for row in report.summary.rows] == ["x rho=0.05", "x rho=0.15", "x late"]
    assert (directory.parent / "out" / "figures" / "rho.png").is_file()


def test_arms_of_other_names_and_the_same_settings_count_together(directory: Path, tmp_path: Path) -> None:
    """Seeds of one setting that two experiments call by different names are one row."""
    other = write_experiment(tmp_path / "y", metrics={"a": ["em"]}, name="y", seeds=[7], settings=SETTINGS)
    content = json.loads((other / "experiment.json").read_text())
    arms = {"baseline": {"sam.rho": 0.0}, "radius": {"sam.rho": 0.05}}
    (other / "experiment.json").write_text(json.dumps({**content, "arms": arms}))
    for arm in arms:
        write_run(other, arm, 7, {"a": {200: {"em": 60.0}}})
    report = write_sweep([directory, other], tmp_path / "out")
    assert [(row[0], row[-3]) for row in report.summary.rows if row[0] == "x rho=0.05"] == [
        ("x rho=0.05", "4")
    ]
    assert len(report.summary.rows) == 3


def test_arms_that_were_trained_apart_are_compared_with_the_baseline(tmp_path: Path) -> None:
    """Two experiments of one arm each and the same settings are one comparison, without SAM first."""
    for arm, gain in (("sam", 2.0), ("baseline", 0.0)):
        path = write_experiment(tmp_path / arm, metrics={"a": ["em"]}, arms=[arm], settings=SETTINGS)
        for seed in range(3):
            write_run(path, arm, seed, {"a": {200: {"em": 50 + gain + 0.1 * seed * gain}}})
    (merged,) = pool([read_experiment(tmp_path / arm) for arm in ("sam", "baseline")])
    assert merged.arms == ("baseline", "sam")
    assert compare(merged).scored[0].rows[0].paired["sam"].difference == pytest.approx(2.2)


def test_arms_of_one_name_that_differ_are_not_pooled(tmp_path: Path) -> None:
    """Where the same name stands for other settings, the runs are not counted together."""
    for name, rho in (("one", 0.1), ("two", 0.2)):
        path = write_experiment(
            tmp_path / name, metrics={"a": ["em"]}, arms=["baseline", "mine"], settings=SETTINGS
        )
        content = json.loads((path / "experiment.json").read_text())
        content["arms"]["mine"] = {"sam.rho": rho}
        (path / "experiment.json").write_text(json.dumps(content))
    assert len(pool([read_experiment(tmp_path / name) for name in ("one", "two")])) == 2


def test_a_plan_whose_arms_are_a_list_is_refused(directory: Path) -> None:
    """An experiment.json without the arms' changes ends in one sentence that names the field."""
    content = json.loads((directory / "experiment.json").read_text())
    (directory / "experiment.json").write_text(json.dumps({**content, "arms": ["baseline", "sam"]}))
    with pytest.raises(UserError, match="'arms' must be an object"):
        read_experiment(directory)

"""Reports of more than two arms: each is compared with the first one, over the seeds that both have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report.along import find_points, settings_of
from lowland.report.comparison import compare
from lowland.report.runs import read_experiment
from lowland.report.tables import cost_table
from lowland.report.write import write_report

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
    assert [paired.sign for paired in row.paired.values()] == [1, 1, -1]
    assert [record.get("ratio_median") for record in cost_table(comparison).records] == [None, 1.2, 1.3, 0.9]
    assert comparison.seeds == (0, 1, 2)


def test_all_arms_are_in_tables_page_and_json(directory: Path) -> None:
    """Headline, table, CSV, page and JSON name every arm, and the page says what each changes."""
    report = write_report(directory)
    assert all(f"{arm} is" in report.headline for arm in list(GAINS)[1:])
    assert [row[2] for row in report.scores[0].rows] == ["Baseline", "rho=0.05", "rho=0.15", "late"]
    with (directory / "report" / "tables" / "scores-last-step.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["arm"] for record in records] == list(GAINS)
    assert records[0]["difference"] == "" and float(records[1]["difference"]) == pytest.approx(2.1)
    content = json.loads((directory / "report" / "report.json").read_text())
    assert content["experiment"]["reference"] == "baseline" and content["experiment"]["arms"] == CHANGES
    assert [row["arm"] for row in content["tables"]["scores-last-step"]] == list(GAINS)
    page = (directory / "report" / "report.md").read_text()
    assert "| late | sam.start = 0.5, train.learning\\_rate = 0.01 |" in page.replace(
        "learning_rate", "learning\\_rate"
    )


def test_an_arm_has_settings_of_its_own(directory: Path) -> None:
    """An arm's settings are the experiment's with its changes, and those of SAM count where it is on."""
    experiment = read_experiment(directory)
    settings = [settings_of(experiment, arm) for arm in GAINS]
    assert [own["sam.rho"] for own in settings] == [0.0, 0.05, 0.15, 0.1]
    assert settings[3]["train.learning_rate"] == 0.01
    assert "sam.start" not in settings[0] and settings[3]["sam.start"] == 0.5


def test_arms_of_other_names_and_the_same_settings_are_one_point(directory: Path, tmp_path: Path) -> None:
    """Seeds of one setting that two experiments call by different names count together."""
    other = write_experiment(tmp_path / "y", metrics={"a": ["em"]}, name="y", seeds=[7], settings=SETTINGS)
    content = json.loads((other / "experiment.json").read_text())
    arms = {"baseline": {"sam.rho": 0.0}, "radius": {"sam.rho": 0.05}}
    (other / "experiment.json").write_text(json.dumps({**content, "arms": arms}))
    for arm in arms:
        write_run(other, arm, 7, {"a": {200: {"em": 60.0}}})
    points = find_points([read_experiment(path) for path in (directory, other)])
    assert [(point.settings["sam.rho"], len(point.runs)) for point in points] == [
        *((0.0, 4), (0.05, 4), (0.15, 3), (0.1, 2))
    ]


def test_a_plan_whose_arms_are_a_list_is_refused(directory: Path) -> None:
    """An experiment.json without the arms' changes ends in one sentence that names the field."""
    content = json.loads((directory / "experiment.json").read_text())
    (directory / "experiment.json").write_text(json.dumps({**content, "arms": ["baseline", "sam"]}))
    with pytest.raises(UserError, match="'arms' must be an object"):
        read_experiment(directory)

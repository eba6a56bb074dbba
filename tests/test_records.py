"""The records: what they say follows from their plans and raw lines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from records import checkpoints, claims, control, judge, page, replicate, results
from records.plan import read_plan

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "records"
PLANS = sorted((RECORDS / "plans").glob("*.toml"))


@pytest.mark.parametrize("folder", sorted(path.parent for path in RECORDS.glob("*/result.json")), ids=str)
def test_results_follow_from_the_raw_lines(folder: Path) -> None:
    """Every record's result and page are what its plan, its chosen settings and its raw lines give."""
    written = json.loads((folder / "result.json").read_text())
    computed = results.compute(folder)
    # Means are sums of floats, whose last digit another NumPy may round otherwise.
    assert rounded(computed) == rounded(written)
    assert (folder / "README.md").read_text() == page.page(written, page.again(folder))


def test_the_table_of_claims_follows_from_the_records() -> None:
    """The table in records/README.md is the one that the records give: nothing is typed in by hand."""
    assert claims.claims(RECORDS) in (RECORDS / "README.md").read_text()


def test_every_claim_has_one_plan() -> None:
    """The plans are those of the claims a to z, each readable, with a cost and settings that build."""
    studies = [replicate.Study(read_plan(path), Path("runs"), None) for path in PLANS]
    assert [study.plan.claim["letter"] for study in studies] == list(ascii_lowercase)
    for study in studies:
        assert " h at most" in study.cost()
        for cell in range(len(study.plan.cells)):
            config = study.config(cell, "sam", study.seeds, {"train.learning_rate": 0.01})
            assert config.train.learning_rate == 0.01 and config.data.held_out
        assert not set(study.seeds) & set(study.tuning_seeds)


@pytest.mark.parametrize("folder", sorted(RECORDS.glob("*_checkpoints")), ids=str)
def test_tables_of_checkpoints_follow_from_the_raw_lines(folder: Path) -> None:
    """The scores of two checkpoints are those of their evaluations, and the record's page has their table."""
    written = json.loads((folder / "scores.json").read_text())
    lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    for task in written["tasks"]:
        for model, scores in enumerate(task["scores"]):
            found = {
                line["seed"]: sum(line["metrics"].values()) / len(line["metrics"])
                for line in lines
                if (line["stage"], line["split"]) == ("comparison", "evaluation")
                and (line["task"], line["model"]) == (task["task"], model)
            }
            assert scores == pytest.approx([found[seed] for seed in sorted(found)])
    table = checkpoints.page(written["tasks"], written["models"])
    assert table == (folder / "table.md").read_text()
    assert table.strip() in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", sorted(RECORDS.glob("*_control")), ids=str)
def test_the_table_of_the_control_follows_from_its_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control's settings, scores and table are those that its recorded runs give, without new ones."""

    def untrained(run: control.Digits) -> None:
        raise AssertionError(f"{run} is not recorded")

    monkeypatch.setattr(control, "train", untrained)
    runs = control.Control(folder / "runs.jsonl")
    cells = [selected for cell in runs.cells() for selected in cell]
    assert cells == json.loads((folder / "scores.json").read_text())
    assert control.page(cells) == (folder / "table.md").read_text()
    assert control.page(cells).strip() in (folder / "README.md").read_text()


def rounded(value: Any) -> Any:
    """The same with numbers to nine digits."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def scores(*differences: float, base: float = 70.0) -> dict[str, dict[int, float]]:
    """A cell in which SAM differs by these amounts."""
    standard = {seed: base + seed for seed in range(len(differences))}
    return {"standard": standard, "sam": {seed: standard[seed] + d for seed, d in enumerate(differences)}}


UP, DOWN, LITTLE, WIDE = (2.0, 3.0, 2.5), (-2.0, -3.1, -2.5), (0.1, -0.1, 0.05), (-9.0, 9.0, 1.0)
NEAR = (0.12, -0.1, 0.0)


@pytest.mark.parametrize(
    ("claim", "cells", "word"),
    [
        ({"rule": "gain"}, [UP, UP], "confirmed"),
        ({"rule": "gain"}, [UP, DOWN], "not confirmed"),
        ({"rule": "gain", "cells": [0]}, [UP, DOWN], "confirmed"),
        ({"rule": "gain"}, [LITTLE], "not confirmed"),
        ({"rule": "gain"}, [WIDE], "undecided"),
        ({"rule": "gain"}, [(2.0,)], "undecided"),
        ({"rule": "kept"}, [LITTLE], "confirmed"),
        ({"rule": "kept"}, [(-0.4, -0.5, -0.6)], "confirmed"),
        ({"rule": "kept"}, [DOWN], "not confirmed"),
        ({"rule": "kept"}, [WIDE], "undecided"),
        ({"rule": "every"}, [UP, UP], "confirmed"),
        ({"rule": "every"}, [UP, DOWN], "not confirmed"),
        ({"rule": "every"}, [UP, LITTLE], "undecided"),
        ({"rule": "trend", "ends": 1}, [UP, LITTLE, DOWN], "confirmed"),
        ({"rule": "trend", "ends": 1}, [LITTLE, DOWN, UP], "not confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1]}, [LITTLE, NEAR], "confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1, 2]}, [LITTLE, NEAR, UP], "not confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1]}, [LITTLE, WIDE], "undecided"),
    ],
)
def test_claims_are_judged_by_their_rule(claim: dict[str, Any], cells: list[Any], word: str) -> None:
    """A claim is confirmed, not confirmed or undecided as the intervals of its figures say."""
    assert judge.judge(claim, [scores(*cell) for cell in cells], {})["word"] == word


def test_no_claim_is_decided_early_or_without_spread() -> None:
    """Fewer seeds than planned decide nothing, and equal differences do from six seeds on."""
    rule = {"rule": "gain"}
    assert judge.judge(rule, [scores(*UP)], {}, 3)["word"] == "confirmed"
    found = judge.judge(rule, [scores(*UP)], {}, 4)
    assert found["word"] == "undecided"
    assert "3 of 4 planned seeds" in page.sentence(found)
    assert judge.judge(rule, [scores(*[1.0] * 5)], {})["word"] == "undecided"
    assert judge.judge(rule, [scores(*[1.0] * 6)], {})["word"] == "confirmed"


@pytest.mark.parametrize(
    ("times", "word"),
    [((1.2, 1.21, 1.19), "confirmed"), ((1.4, 1.41, 1.39), "not confirmed"), ((1.0, 1.6, 1.2), "undecided")],
)
def test_cost_is_judged_by_the_ratio_of_times(times: tuple[float, ...], word: str) -> None:
    """SAM's time by that of standard training, seed by seed, is held against the limit."""
    seconds = {(0, "standard", seed): 10.0 for seed in range(3)}
    seconds |= {(0, "sam", seed): 10.0 * ratio for seed, ratio in enumerate(times)}
    found = judge.judge({"rule": "cost", "reference": 0, "limit": 1.25}, [scores(*LITTLE)], seconds)
    assert found["word"] == word and math.isclose(found["value"], sum(times) / 3)

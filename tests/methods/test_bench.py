"""The bench's table: means over tasks, with an interval for these tasks."""

from __future__ import annotations

import math
import sys
import tomllib
from pathlib import Path

import pytest
from scipy.stats import t, ttest_1samp
from tests.families.tiny import write_model

from lowland.config.arms import nest
from lowland.config.experiment import build_config

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import bench_methods
from bench_methods import best_arms, main, mean_over_tasks
from methods_cost import costs


def test_one_task_has_students_interval() -> None:
    """For one task mean and interval are those of Student's t for paired differences."""
    values = [0.5, -1.0, 2.0, 3.5, 0.0]
    found = mean_over_tasks([values], higher=True)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.difference - found.half == pytest.approx(expected.low)
    assert found.difference + found.half == pytest.approx(expected.high)
    assert (found.pairs, found.better, found.worse) == (5, 3, 1)


def test_tasks_weigh_the_same() -> None:
    """A task of many seeds weighs no more, and the interval is Welch's for the mean of two means."""
    left, right = [1.0, 2.0, 3.0], [10.0, 10.5, 9.5, 10.0, 11.0, 9.0]
    found = mean_over_tasks([left, right], higher=False)
    parts = [1.0 / 3 / 4, 0.5 / 6 / 4]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 5)
    assert found.difference == 6.0 and found.worse == 9
    assert found.half == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(sum(parts)))


def test_a_single_pair_has_no_interval() -> None:
    """Where a task has one pair, its difference is told without an interval."""
    assert str(mean_over_tasks([[1.0]], higher=True)) == "+1.00 (n = 1)"


def test_the_best_of_each_outcome_go_on() -> None:
    """Of each outcome the arms with the best means are selected, whichever way it is better."""
    seeds = range(3)
    of = {"baseline": (50.0, 1.0), "a": (52.0, 1.2), "b": (49.0, 0.7), "c": (50.5, 0.9), "d": (49.5, 1.3)}
    task = {
        name: {arm: {seed: values[place] + seed for seed in seeds} for arm, values in of.items()}
        for place, name in enumerate(("score", "loss of an answer"))
    }
    assert best_arms([task], list(of), 1) == ["baseline", "a", "b"]
    assert best_arms([task], list(of), 2) == ["baseline", "a", "b", "c"]


def test_the_protocol_can_be_run() -> None:
    """The arms of bench_methods.toml are valid with its settings, and each differs from the others."""
    protocol = tomllib.loads((Path(bench_methods.__file__).parent / "bench_methods.toml").read_text())
    layer = {"data": {"tasks": ["facts/states"]}, "arms": protocol["arms"]}
    config = build_config(nest(protocol["settings"]), layer)
    assert [config.of(arm).sam.rho for arm in ("baseline", "smaller", "sam", "larger")] == [
        0,
        0.02,
        0.05,
        0.1,
    ]


@pytest.mark.slow
def test_a_protocol_runs_to_its_tables(tmp_path: Path) -> None:
    """A small protocol is run in both parts, and each table has every outcome of every arm."""
    write_model(tmp_path / "model", "bert")
    rows = [f"row {number},{'ab'[number % 2]}" for number in range(24)]
    for kind in ("train", "test"):
        (tmp_path / f"rows-{kind}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "protocol.toml").write_text(
        """
        first = [0]
        best = 1
        seeds = [1, 2]
        [models]
        tiny = "model"
        [arms]
        baseline = {}
        sam = { "sam.rho" = 0.1 }
        [settings]
        "train.steps" = 2
        "train.batch_size" = 4
        "train.learning_rate" = 0.01
        "data.held_out" = 0
        "outcomes.measure" = ["likelihood"]
        [tasks]
        one = { rows = "rows", input = "{text}", length = 8 }
        """
    )
    folders = [word for name in ("data", "models", "rows") for word in (f"--{name}", str(tmp_path))]
    out = tmp_path / "out"
    assert main([*folders, "--protocol", str(tmp_path / "protocol.toml"), "--out", str(out)]) == 0
    for part, pairs in (("first", 1), ("best", 2)):
        (line,) = [
            line for line in (out / f"{part}.md").read_text().splitlines() if line.startswith("| `sam`")
        ]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert all(cells[1:5]) and cells[6] == str(pairs)


def test_costs_are_those_of_the_arms(tmp_path: Path) -> None:
    """An average is one copy of the weights, the head's perturbation far less; a step of SAM takes longer."""
    write_model(tmp_path / "model", "bert")
    settings = {"sam.rho": 0.05, "train.steps": 5, "train.batch_size": 8, "train.schedule": "linear"}
    protocol = {
        "arms": {"baseline": {}, "sam": {}, "ema": {}, "logits": {}},
        "settings": settings,
        "tasks": {"one": {"length": 6}},
    }
    found = costs(protocol, tmp_path / "model", repeats=3)
    assert found["baseline"] == (1.0, 0.0) and found["sam"][0] > 0
    # Batches are of 8 short texts: what else lives at the peak is under a tenth of the weights.
    assert found["ema"][1] == pytest.approx(1, abs=0.1) and 0 < found["sam"][1] < 1.1
    assert found["logits"][1] < 0.3

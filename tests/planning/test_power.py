"""What the seeds of an experiment can see, from finished runs or from the records."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from tests.cli.command import call, succeed
from tests.fixtures.reports import write_run

from lowland.config.data import DataSettings
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.planning.power import RECORDED, RECORDED_ROWS, seeds_to_detect, spread_for
from lowland.statistics import power, spread_of_runs
from lowland.train.settings import TrainSettings

TRAIN = TrainSettings(batch_size=4)
CONFIG = ExperimentConfig(data=DataSettings(tasks=("facts/capitals",)), train=TRAIN)
SCORES = {"0a": [50.0, 52.0, 51.5], "1b": [53.0, 55.5]}


def write_store(store: Path, config: ExperimentConfig = CONFIG) -> None:
    """Finished runs of two arms, as they lie where runs lie."""
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            write_run(
                store,
                name,
                seed,
                {"facts/capitals": {100: {"exact_match": 1.0}, 200: {"exact_match": score}}},
            )
            (store / f"{name}-seed{seed}" / "config.toml").write_text(config.of("sam").to_toml())


def test_finished_runs_of_the_same_data_tell_the_spread(tmp_path: Path) -> None:
    """The spread is that of their last scores within arms; runs of other data or steps tell nothing."""
    write_store(tmp_path)
    found = spread_for(CONFIG, tmp_path, 10)
    assert found == spread_of_runs(list(SCORES.values()))
    assert "from 5 finished runs" in power(5, found).sentence
    other = ExperimentConfig(data=DataSettings(tasks=("facts/capitals",), fraction=0.5), train=TRAIN)
    assert spread_for(other, tmp_path, RECORDED_ROWS) == RECORDED
    # A quarter of the rows, twice the spread.
    assert spread_for(other, tmp_path, RECORDED_ROWS // 4).value == pytest.approx(2 * RECORDED.value)


def test_the_guess_is_that_of_the_records() -> None:
    """Without finished runs the spread is that of thirty pairs of runs in the records."""
    file = Path(__file__).parents[2] / "records" / "2026-11-26_last-step" / "result.json"
    scores: dict[str, dict[int, float]] = {}
    for run in json.loads(file.read_text())["runs"]:
        metrics = run["test"]["glue/sst2"]
        scores.setdefault(run["arm"], {})[run["seed"]] = fmean(values[-1] for values in metrics.values())
    reference, arm = scores.values()
    differences = [arm[seed] - reference[seed] for seed in reference]
    assert len(differences) == RECORDED.freedom + 1 == 30  # type: ignore[operator]
    assert RECORDED.value == pytest.approx(np.std(differences, ddof=1), abs=5e-4)  # as it is rounded


def test_seeds_are_chosen_by_what_they_see(tmp_path: Path) -> None:
    """--detect takes the smallest number of seeds that sees so much, and the plan says so."""
    write_store(tmp_path / "runs")
    spread = spread_for(CONFIG, tmp_path / "runs", 10)
    seeds = seeds_to_detect(5.0, spread)
    assert power(seeds, spread).sees <= 5.0 < power(seeds - 1, spread).sees
    words = ("compare", "facts/capitals", "--plan", "--out", tmp_path / "new")
    steps = ("--steps", str(CONFIG.train.steps), "--batch-size", str(CONFIG.train.batch_size))
    shown = " ".join(succeed(*words, *steps, "--detect", "5", "--runs", tmp_path / "runs").out.split())
    assert f"{seeds} seeds detect" in shown and "from 5 finished runs" in shown
    assert "leave --seeds" in call(*words, "--detect", "5", "--seeds", "3").err
    grid = call("compare", "facts/capitals", "--grid", "steps=10,20", "--detect", "5", "--seeds", "3")
    assert grid.code == 2 and "leave --seeds" in grid.err  # one mistake, not one of each experiment
    assert "must be above 0" in call(*words, "--detect", "0").err
    with pytest.raises(UserError, match="more than a thousand seeds"):
        seeds_to_detect(0.001, spread)
    assert math.isinf(power(1, spread).sees)

"""Commands that must give the same trajectory, and commands that must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.command import SMALL, files, succeed, trajectory

SLOW = pytest.mark.slow  # seconds each: the default tests keep one of every kind


def test_rho_zero_is_the_baseline(tmp_path: Path, experiment: Path) -> None:
    """With --rho 0 SAM gives the baseline's bytes of train.jsonl, weights and scores, with dropout on."""
    succeed("train", "facts/continents", *SMALL, "--rho", "0", "--out", tmp_path / "out")
    assert trajectory(tmp_path / "out" / "sam-seed0") == trajectory(experiment / "baseline-seed0")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="again, by train instead of compare"),
        pytest.param(["--micro-batch-size", "8"], id="a micro-batch as large as the batch"),
        pytest.param(
            ["--ascent-examples", "2"], id="the ascent as a number instead of a fraction", marks=SLOW
        ),
        pytest.param(["--descent", "full"], id="one point descends on all in both readings", marks=SLOW),
    ],
)
def test_same_trajectory(tmp_path: Path, experiment: Path, options: list[str]) -> None:
    """Other words for the same training give the same trajectory in another directory."""
    succeed("train", "facts/continents", *SMALL, *options, "--out", tmp_path / "out")
    assert trajectory(tmp_path / "out" / "sam-seed0") == trajectory(experiment / "sam-seed0")


def test_configuration_file_repeats(tmp_path: Path, experiment: Path) -> None:
    """The experiment.toml that an experiment leaves is all that its repetition needs."""
    succeed("train", "--config", experiment / "experiment.toml", "--out", tmp_path / "out")
    assert trajectory(tmp_path / "out" / "sam-seed0") == trajectory(experiment / "sam-seed0")


@pytest.mark.parametrize(
    "option",
    [
        ["--seed", "1"],
        pytest.param(["--rho", "0.3"], marks=SLOW),
        pytest.param(["--m", "2"], marks=SLOW),
        pytest.param(["--dropout", "0"], marks=SLOW),
        pytest.param(["--direction", "previous"], marks=SLOW),
        pytest.param(["--sam-start", "0.5"], marks=SLOW),
        pytest.param(["--sam-every", "2"], marks=SLOW),
        pytest.param(["--perturb", "*layer_norm*"], marks=SLOW),
        pytest.param(["--sam-warmup", "0.5"], marks=SLOW),
        pytest.param(["--adaptive", "--rho", "1"], marks=SLOW),
    ],
)
def test_other_trajectory(tmp_path: Path, experiment: Path, option: list[str]) -> None:
    """Another seed, radius, number of points, dropout, direction or time of SAM gives another trajectory."""
    succeed("train", "facts/continents", *SMALL, *option, "--out", tmp_path / "out")
    (run,) = (tmp_path / "out").glob("sam-seed*")
    here, there = trajectory(run), trajectory(experiment / "sam-seed0")
    assert here.log != there.log
    assert here.weights != there.weights


def test_sam_differs_from_the_baseline(experiment: Path) -> None:
    """With rho > 0 the arms differ from the first step on, and SAM's log says that weights moved by rho."""
    baseline, sam = (trajectory(experiment / f"{arm}-seed0") for arm in ("baseline", "sam"))
    assert sam.log != baseline.log
    assert sam.weights != baseline.weights
    for line in (experiment / "sam-seed0" / "sam.jsonl").read_text().splitlines():
        assert json.loads(line)["radius"] == pytest.approx(0.15, rel=1e-5)  # fp32 keeps 7 digits


def test_finished_is_not_repeated(experiment: Path) -> None:
    """The same command again leaves every file of the finished runs as it was, to the nanosecond."""
    runs = [experiment / f"{arm}-seed0" for arm in ("baseline", "sam")]
    before = [files(run) for run in runs]
    result = succeed("compare", "facts/continents", *SMALL, "--seeds", "1", "--out", experiment)
    assert [files(run) for run in runs] == before
    assert result.out.count("done before") == 2

"""The figure of score against steps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.report.comparison import compare
from lowland.report.figures import curve, pool_bins, score_figure
from lowland.report.runs import read_experiment


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two seeds of two arms on two sets, one of them with a name that is hard to draw."""
    metrics = {"a": ["em", "f1"], "$\\x_1$ 首都": ["em"]}
    directory = write_experiment(tmp_path / "run", metrics=metrics, seeds=[0, 1])
    for arm in ("baseline", "sam"):
        for seed in (0, 1):
            scores = {
                name: {step: dict.fromkeys(keys, step / 10 + seed) for step in (0, 100, 200)}
                for name, keys in metrics.items()
            }
            write_run(directory, arm, seed, scores)
    return directory


def test_curve_is_mean_and_standard_error(directory: Path) -> None:
    """Two seeds one point apart lie half a point round their mean, at the steps that both have."""
    experiment = read_experiment(directory)
    runs = list(experiment.finished("sam").values())
    steps, means, errors = curve(runs, experiment.metrics)
    np.testing.assert_array_equal(steps, [0, 100, 200])
    np.testing.assert_allclose(means, [0.5, 10.5, 20.5], rtol=1e-12)  # sums in another order
    np.testing.assert_allclose(errors, 0.5, rtol=1e-12)
    assert np.isnan(curve(runs[:1], experiment.metrics)[2]).all()


def test_files_are_whole_and_do_not_change(directory: Path) -> None:
    """A PNG and an SVG are drawn for any name, and drawing again gives the same bytes, with no date."""
    comparison = compare(read_experiment(directory))
    files = score_figure(comparison)
    assert files["scores.png"].startswith(b"\x89PNG")
    assert files["scores.svg"].rstrip().endswith(b"</svg>")
    assert b"dc:date" not in files["scores.svg"]
    assert score_figure(comparison) == files


def test_a_panel_says_whether_it_shows_a_mean(directory: Path) -> None:
    """The average and a set with two metrics show means, a set with one metric shows that."""
    svg = score_figure(compare(read_experiment(directory)))["scores.svg"].decode()
    assert svg.count("<!-- mean score (%) -->") == 2 and svg.count("<!-- em (%) -->") == 1


def test_bins_of_seeds_count_by_their_answers() -> None:
    """A bin of several seeds is the mean over its answers, and one without any is left out."""
    seeds = [
        [
            {"low": 0.0, "answers": 0, "confidence": math.nan, "right": math.nan},
            {"low": 0.5, "answers": 10, "confidence": 0.6, "right": 0.5},
        ],
        [{"low": 0.5, "answers": 30, "confidence": 0.7, "right": 0.9}],
    ]
    confidence, right, answers = pool_bins(seeds)
    np.testing.assert_allclose(confidence, [0.675], rtol=1e-12)  # (10 * 0.6 + 30 * 0.7) / 40
    np.testing.assert_allclose(right, [0.8], rtol=1e-12)
    np.testing.assert_array_equal(answers, [40])


def test_nothing_is_drawn_before_a_run_has_finished(tmp_path: Path) -> None:
    """Without a finished run there is no figure."""
    directory = write_experiment(tmp_path / "run", metrics={"a": ["em"]})
    assert score_figure(compare(read_experiment(directory))) == {}

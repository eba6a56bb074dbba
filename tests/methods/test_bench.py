"""The bench's table: means over tasks, with an interval for these tasks."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from scipy.stats import t, ttest_1samp

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from bench_methods import mean_over_tasks


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

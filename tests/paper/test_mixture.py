"""Mixtures in an experiment: rates, caps, temperature, parts of evaluation sets, classes that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lowland.cli import main
from lowland.config.data import DataSettings
from lowland.config.experiment import build_config
from lowland.errors import UserError
from lowland.runs.examples import ExperimentData, evaluation_count, part
from lowland.tasks.base import Example
from lowland.tasks.registry import get_task


def _made_up(**sizes: int) -> ExperimentData:
    train = {
        name: [
            Example(inputs=f"{name} {number}", targets="rare" if number == 0 else "often")
            for number in range(size)
        ]
        for name, size in sizes.items()
    }
    task = get_task("glue/rte")
    return ExperimentData(
        tasks=dict.fromkeys(train, task), train=train, evaluation={}, scorers={}, warnings=()
    )


def _settings(**values: object) -> DataSettings:
    return build_config({"data": {"tasks": ["facts"], "held_out": 0, **values}}).data


def test_rates_are_those_of_the_numbers() -> None:
    """By default tasks are drawn in proportion to the training examples that are left of each."""
    parted = part(_made_up(one=100, two=300), _settings(fraction=0.5), 0)
    assert {name: len(examples) for name, examples in parted.train.items()} == {"one": 50, "two": 150}
    assert parted.rates == {"one": 0.25, "two": 0.75}


def test_a_cap_limits_a_rate_and_no_examples() -> None:
    """Beyond the cap, a task is drawn no more often, but all its examples take part."""
    parted = part(_made_up(one=100, two=300), _settings(cap=100), 0)
    assert parted.rates == {"one": 0.5, "two": 0.5}
    assert len(parted.train["two"]) == 300


def test_temperature_makes_rates_alike() -> None:
    """At temperature 2, rates go with the square roots of the numbers."""
    parted = part(_made_up(one=100, two=400), _settings(temperature=2.0), 0)
    assert parted.rates == pytest.approx({"one": 1 / 3, "two": 2 / 3})  # square roots of floats


def test_a_fraction_of_an_evaluation_set_leaves_ten() -> None:
    """A fraction of an evaluation set leaves 10 examples at least; a number is a number, and 0 means all."""
    assert [evaluation_count(size, 0.1) for size in (1000, 40, 5)] == [100, 10, 5]
    assert [evaluation_count(size, 8) for size in (1000, 5)] == [8, 5]
    assert evaluation_count(1000, 0) == 1000


@pytest.mark.parametrize(
    "values", [{"cap": 0}, {"temperature": 0.0}, {"evaluation_limit": 1.5}, {"evaluation_limit": -1}]
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    """A cap below 1, a temperature of 0 and impossible limits are refused by name."""
    with pytest.raises(UserError, match=next(iter(values))):
        _settings(**values)


@pytest.mark.slow
def test_realised_rates_are_logged(tmp_path: Path) -> None:
    """A finished run's status says which share of its examples came from each task, near the rates."""
    words = "compare facts/states facts/currencies --cap 100 --steps 6 --seeds 1 --held-out 0 --eval-limit 2"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    status = json.loads((tmp_path / "run" / "sam-seed0" / "status.json").read_text())
    realised = status["realised_rates"]
    assert sum(realised.values()) == pytest.approx(1, abs=1e-5)  # each is rounded to six decimals
    # 192 draws at one half: four standard deviations are 0.144.
    assert realised["facts/states"] == pytest.approx(0.5, abs=0.15)

"""Averages of the weights: what they are, where they are used, and that training goes on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cli.command import succeed
from tests.families.test_training import interrupted
from tests.families.tiny import write_model, write_rows
from tests.sam.toys import distance, mlp, same, weights

from lowland.train.average import Average
from lowland.train.settings import TrainSettings

SHORT = [
    *("--steps", "6", "--evaluate-every", "3", "--batch-size", "8", "--log-every", "1"),
    *("--precision", "fp32", "--learning-rate", "0.01"),
]


def walk(average: Average, model: Any, steps: range) -> list[list[torch.Tensor]]:
    """Moves the weights at random, step by step; returns them after each."""
    seen = []
    for step in steps:
        torch.manual_seed(step)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.follow(step)
        seen.append(weights(model))
    return seen


def test_the_last_steps_weigh_the_same() -> None:
    """The average is the mean of the weights after the last quarter of the steps, and leaves no trace."""
    model = mlp()
    average = Average(model, TrainSettings(steps=12, average_last=0.25))
    seen = walk(average, model, range(1, 13))
    with average.inserted():
        found = weights(model)
    expected = [torch.stack(each).mean(0) for each in zip(*seen[9:], strict=True)]
    # 1e-14: float64 sums in another order.
    assert distance(found, expected) < 1e-14
    assert same(weights(model), seen[-1])


def test_the_exponential_average() -> None:
    """Step by step the average moves towards the weights by 1 - min(decay, (1 + n) / (10 + n))."""
    model = mlp()
    average = Average(model, TrainSettings(steps=40, ema=0.5))
    seen = walk(average, model, range(1, 41))
    expected = seen[0]
    for n, now in enumerate(seen[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = [decay * mean + (1 - decay) * new for mean, new in zip(expected, now, strict=True)]
    with average.inserted():
        assert distance(weights(model), expected) < 1e-13


def test_weights_come_back_after_an_error() -> None:
    """An evaluation that fails leaves the weights of training in the model."""
    model = mlp()
    average = Average(model, TrainSettings(steps=2, ema=0.5))
    seen = walk(average, model, range(1, 3))
    with pytest.raises(ZeroDivisionError), average.inserted():
        raise ZeroDivisionError
    assert same(weights(model), seen[-1])


@pytest.mark.parametrize("setting", ["ema", "average-last"])
def test_an_interrupted_run_ends_as_one_that_was_not(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kept model is the average's, the same after an interruption, and not the one without averaging."""
    start = write_model(tmp_path / "start", "bert")
    words = ["train", *write_rows(tmp_path), "--model", start, *SHORT, "--arm", "baseline"]
    kept = {}
    for name, more in (
        ("plain", []),
        ("whole", [f"--{setting}", "0.5"]),
        ("halves", [f"--{setting}", "0.5"]),
    ):
        out = tmp_path / name / "out"
        command = [*words, *more, "--out", out]
        if name == "halves":
            interrupted(monkeypatch, command, step=5)
        else:
            succeed(*command)
        kept[name] = (out / "model" / "model.safetensors").read_bytes()
    assert kept["whole"] == kept["halves"] != kept["plain"]

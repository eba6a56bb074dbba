"""What is said of a run's log and predictions, and when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowland.config.data import DataSettings
from lowland.config.experiment import RunConfig
from lowland.runs.directory import RunDirectory
from lowland.runs.health import Health
from lowland.sam import SAMConfig
from lowland.tasks.base import Example
from lowland.train.log import StepReport
from lowland.train.settings import TrainSettings


class Run:
    """A run of 100 steps, and what was said of it."""

    def __init__(self, folder: Path, rho: float = 0.0, **changes: Any) -> None:
        self.directory = RunDirectory(folder, "sam", 0)
        self.directory.start("", {}, 100)
        self.notes: list[str] = []
        self._config = RunConfig(
            data=DataSettings(tasks=("facts/states",)),
            train=TrainSettings(**{"steps": 100, "batch_size": 8, **changes}),
            sam=SAMConfig(rho=rho),
        )
        self.begin()

    def begin(self) -> None:
        """Begins, or goes on with the log as it is."""
        self.health = Health(self.directory, self._config, self.notes.append)
        self.health.read_again()

    def log(self, report: StepReport) -> list[str]:
        """Takes a line of the log; returns what was said of it."""
        known = len(self.notes)
        self.directory.log(report)
        self.health.on_log(report)
        return self.notes[known:]


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Run]:
    """Makes runs."""
    return lambda rho=0.0, **changes: Run(tmp_path, rho, **changes)


def line(step: int, loss: float | None = 1.0, radius: float | None = None) -> StepReport:
    """A line of a log."""
    return StepReport(
        step=step,
        loss=loss,
        learning_rate=0.1,
        gradient_norm=1.0,
        examples=8 * step,
        target_tokens=8 * step,
        seconds=0.0,
        radius=radius,
    )


@pytest.mark.parametrize(
    ("rho", "radius", "words"),
    [
        (0.1, 0.0, "zero or not finite"),
        (0.1, 0.04, "too coarse"),
        (0.1, 0.09, None),
        (0.1, None, None),
        (0.0, 0.0, None),
    ],
)
def test_inactive_sam(
    run_of: Callable[..., Run], rho: float, radius: float | None, words: str | None
) -> None:
    """A radius of nothing, or of less than half of rho, is said once with its reason."""
    run = run_of(rho)
    found = [*run.log(line(10, radius=radius)), *run.log(line(20, radius=radius))]
    assert len(found) == (words is not None)
    if words is not None:
        assert words in found[0] and "step 10" in found[0]


@pytest.mark.parametrize(("cosine", "loss", "words"), [(0.1, 1.0, 1), (0.6, 1.0, 0), (0.1, 0.5, 0)])
@pytest.mark.parametrize("cut", [0, 20, 40])
def test_plateau(run_of: Callable[..., Run], cosine: float, loss: float, words: int, cut: int) -> None:
    """A loss at w that stands while the cosine is low is said once to be held by SAM, also after a resume."""
    run = run_of(0.1)
    found = []
    for step in range(1, 41):
        report = replace(line(10 * step, radius=0.1), ascent_loss=1.0 if step < 13 else loss, cosine=cosine)
        found += run.log(report)
        if step == cut:
            run.begin()
    assert len(found) == words
    assert all("lower rho, or start later" in sentence for sentence in found)


def test_constant_predictions(run_of: Callable[..., Run]) -> None:
    """One prediction for all examples is warned of where their targets differ."""
    run = run_of()
    mixed = [Example(inputs=str(n), targets="yes" if n % 2 else "no") for n in range(12)]
    alike = [Example(inputs=str(n), targets="yes") for n in range(12)]
    look = run.health.on_predictions
    look("a", mixed, ["no"] * 12)
    look("b", alike, ["yes"] * 12)
    look("c", mixed, ["no"] * 11 + ["yes"])
    look("d", mixed, [""] * 12)
    warnings = run.directory.status()["warnings"]
    assert [warning[:2] for warning in warnings] == ["a:", "d:"]
    assert "'no' for all 12 examples" in warnings[0] and "nothing for all" in warnings[1]

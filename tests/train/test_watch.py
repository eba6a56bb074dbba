"""What the watch says of a training log, and when it is silent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lowland.sam import SAMConfig
from lowland.train import StepReport, TrainSettings, Watch


def watch_of(rho: float = 0.0, **changes: Any) -> Watch:
    """A watch over a training of 100 steps."""
    return Watch(TrainSettings(steps=100, **changes), SAMConfig(rho=rho))


def line(step: int, loss: float | None = 1.0, rate: float = 0.1, radius: float | None = None) -> StepReport:
    """A line of a log."""
    return StepReport(
        step=step,
        loss=loss,
        learning_rate=rate,
        gradient_norm=1.0,
        examples=8 * step,
        target_tokens=8 * step,
        seconds=0.0,
        radius=radius,
    )


def said(watch: Watch, losses: list[float | None]) -> list[str]:
    """What it says of these losses."""
    return [sentence for step, loss in enumerate(losses, start=1) for sentence in watch(line(step, loss))]


@pytest.mark.parametrize(
    "losses",
    [
        [3.0, 2.0, 1.0, 0.5, 0.4],
        [3.0, 0.01, 0.2, 0.3, 0.4, 0.5],  # rising, but lower than it began
        [1.0, 2.5, 2.5, 0.9, 2.5, 2.5, 0.8],  # never three lines in a row
        [1.0, 1.5, 1.6, 1.7, 1.8],  # higher, but not twice the lowest
        [None, None, 1.0, None, 0.5],
    ],
)
def test_no_false_alarm(losses: list[float | None]) -> None:
    """A loss that falls, wavers, or rises less than twofold above its start is no explosion."""
    assert said(watch_of(), losses) == []


def test_explosion_is_said_once() -> None:
    """Three lines in a row above the first loss and twice the lowest are called an explosion, once."""
    (sentence,) = said(watch_of(0.1), [2.0, 1.0, 4.0, 4.0, 4.0, 5.0, 6.0])
    assert "4 at step 5" in sentence and "1 at step 2" in sentence
    assert "learning rate or rho" in sentence


def test_log_read_again() -> None:
    """A watch that reads the beginning of a log again says of the rest what one that read it all says."""
    losses: list[float | None] = [2.0, 1.0, 4.0, 4.0, 4.0, 5.0]
    for cut in range(len(losses)):
        again = watch_of()
        before = said(again, losses[:cut])
        rest = [s for step, loss in enumerate(losses[cut:], start=cut + 1) for s in again(line(step, loss))]
        assert before + rest == said(watch_of(), losses)


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
def test_inactive_sam(rho: float, radius: float | None, words: str | None) -> None:
    """A radius of nothing, or of less than half of rho, is said once with its reason."""
    watch = watch_of(rho)
    found = [*watch(line(10, radius=radius)), *watch(line(20, radius=radius))]
    assert len(found) == (words is not None)
    if words is not None:
        assert words in found[0] and "step 10" in found[0]


def test_known_beforehand() -> None:
    """A warm-up that never ends is said before the first step."""
    assert watch_of().beforehand() == watch_of(0.1).beforehand() == []
    assert "never reaches 0.1" in watch_of(warmup_steps=100, learning_rate=0.1).beforehand()[0]


def test_learning_rate_of_zero() -> None:
    """A learning rate of 0 is said, but not that of a warm-up's first step."""
    watch = watch_of()
    assert watch(line(1, rate=0.0)) == []
    assert "learning rate is 0 at step 10" in watch(line(10, rate=0.0))[0]


@pytest.mark.parametrize(("cosine", "loss", "words"), [(0.1, 1.0, 1), (0.6, 1.0, 0), (0.1, 0.5, 0)])
def test_plateau(cosine: float, loss: float, words: int) -> None:
    """A loss at w that stands while the cosine is low is said once to be held by SAM."""
    watch = watch_of(0.1)
    found = []
    for step in range(1, 41):
        report = replace(line(10 * step, radius=0.1), ascent_loss=1.0 if step < 10 else loss, cosine=cosine)
        found += watch(report)
    assert len(found) == words
    assert all("lower rho, or start later" in sentence for sentence in found)

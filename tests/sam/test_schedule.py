"""Which steps are SAM's, and with which radius."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sam.toys import SAM, batch_of, loss_of, mlp

from lowland import SAMConfig
from lowland.sam.schedule import scheduled_rho


def schedule(steps: int, **settings: float) -> list[float | None]:
    """The radius of every step."""
    config = SAMConfig(rho=0.4, **settings)  # type: ignore[arg-type]
    return [scheduled_rho(config, step, steps) for step in range(steps)]


def test_default() -> None:
    """Without a schedule every step is SAM's with the full radius."""
    assert schedule(3) == [0.4] * 3


def test_start() -> None:
    """SAM begins after its fraction of the steps, rounded up."""
    assert schedule(5, start=0.2) == [None] + [0.4] * 4
    assert schedule(7, start=0.5) == [None] * 4 + [0.4] * 3
    assert sum(rho is not None for rho in schedule(1000, start=0.7)) == 300


def test_warmup() -> None:
    """The radius rises linearly over the warm-up, from above 0 on, and is the full one after it."""
    assert schedule(6, warmup=0.5) == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0.4, 0.4, 0.4])
    assert schedule(4, start=0.5, warmup=0.5) == [None, None, 0.2, 0.4]


def test_every() -> None:
    """One step of every k is SAM's, counted from its start."""
    assert schedule(6, every=3) == [0.4, None, None, 0.4, None, None]
    assert schedule(7, start=0.5, every=2) == [None] * 4 + [0.4, None, 0.4]


@given(
    steps=st.integers(1, 200),
    start=st.floats(0, 0.99),
    warmup=st.floats(0, 1),
    every=st.integers(1, 9),
)
def test_rises_and_stays(steps: int, start: float, warmup: float, every: int) -> None:
    """For any schedule the radius lies in (0, rho], never falls, and is none before the start."""
    warmup = min(warmup, 1 - start)
    config = SAMConfig(rho=0.4, start=start, warmup=warmup, every=every)
    found = [scheduled_rho(config, step, steps) for step in range(steps)]
    radii = [rho for rho in found if rho is not None]
    assert all(0 < rho <= 0.4 for rho in radii) and radii == sorted(radii)
    assert all(rho is None for step, rho in enumerate(found) if step < start * steps)


def test_a_gradient_follows_it() -> None:
    """`at` sets radius and activity for the step that comes, and a schedule that is not told is refused."""
    model = mlp()
    sam = SAM(model, rho=0.4, start=0.5, warmup=0.5)
    with pytest.raises(ValueError, match="schedule needs to know the step"):
        sam(loss_of(model), batch_of(8))
    radii = []
    for step in range(4):
        sam.at(step, 4)
        radii.append(sam(loss_of(model), batch_of(8)).radius)
    assert radii == [0.0, 0.0, pytest.approx(0.2), pytest.approx(0.4)]


def test_start_and_warmup_fit() -> None:
    """A start and a warm-up that are longer than the training together are refused."""
    with pytest.raises(ValueError, match=r"Invalid warmup=0.6 with start=0.5"):
        SAMConfig(start=0.5, warmup=0.6)

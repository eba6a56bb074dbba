"""Which gradients are built, and with what."""

from __future__ import annotations

import pytest
from tests.sam.toys import mlp

from lowland import SAM, integrations
from lowland.train import SAMSettings, TrainSettings
from lowland.train.gradients import build_gradient


@pytest.mark.parametrize("direction", ["ascent", "previous", "momentum"])
def test_training_swaps_the_weights(direction: str) -> None:
    """The command line's training puts w_adv in the place of w, whatever gives the direction."""
    built = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(direction=direction))  # type: ignore[arg-type]
    assert isinstance(built, SAM) and built.swap


@pytest.mark.parametrize("swap", [False, True])
def test_settings_hand_the_swap_on(swap: bool) -> None:
    """The settings for loops of one's own build a gradient that swaps where they say so."""
    assert integrations.SAMSettings(swap=swap).gradient(mlp()).swap is swap

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


@pytest.mark.parametrize("choice", [False, True])
def test_settings_hand_the_ascents_dropout_on(choice: bool) -> None:
    """The command line's training and loops of one's own take the ascent with or without dropout as set."""
    built = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(ascent_dropout=choice))
    assert isinstance(built, SAM) and built.ascent_dropout is choice
    assert integrations.SAMSettings(ascent_dropout=choice).gradient(mlp()).ascent_dropout is choice


def test_settings_without_an_ascent_have_no_dropout_of_it() -> None:
    """Settings refuse what is neither true nor false, and an ascent's dropout where there is no ascent."""
    with pytest.raises(ValueError, match="direction='momentum' takes no ascent"):
        SAMSettings(direction="momentum", ascent_dropout=False)
    with pytest.raises(ValueError, match=r"Invalid ascent_dropout=0\. Must be true or false\."):
        SAMSettings(ascent_dropout=0)  # type: ignore[arg-type]
    for name in ("ascent_dropout", "row_gradients", "swap"):
        with pytest.raises(ValueError, match=rf"Invalid {name}='false'"):
            integrations.SAMSettings(**{name: "false"})  # type: ignore[arg-type]


@pytest.mark.parametrize("swap", [False, True])
def test_settings_hand_the_swap_on(swap: bool) -> None:
    """The settings for loops of one's own build a gradient that swaps where they say so."""
    assert integrations.SAMSettings(swap=swap).gradient(mlp()).swap is swap

"""Which gradients are built, and with what."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sam.toys import mlp

from lowland import SAM, integrations
from lowland.sam import LookSAMGradient
from lowland.train import SAMSettings, TrainSettings
from lowland.train.gradients import build_gradient


@pytest.mark.parametrize("direction", ["ascent", "previous", "momentum"])
def test_training_swaps_the_weights(direction: str) -> None:
    """The command line's training puts w_adv in the place of w, whatever gives the direction."""
    built = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(direction=direction))  # type: ignore[arg-type]
    assert isinstance(built, SAM) and built.swap


@pytest.mark.parametrize("name", ["ascent_dropout", "ascent_bf16"])
@pytest.mark.parametrize("choice", [False, True])
def test_settings_hand_on_how_the_ascent_is_taken(name: str, choice: bool) -> None:
    """The command line's training and loops of one's own take the ascent as set."""
    chosen: dict[str, Any] = {name: choice}
    built = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(**chosen))
    assert isinstance(built, SAM) and getattr(built, name) is choice
    assert getattr(integrations.SAMSettings(**chosen).gradient(mlp()), name) is choice


def test_settings_without_an_ascent_say_nothing_of_it() -> None:
    """Settings refuse what is neither true nor false, and an ascent of some kind where there is none."""
    with pytest.raises(ValueError, match=r"direction='momentum' takes no ascent.* ascent_dropout=false"):
        SAMSettings(direction="momentum", ascent_dropout=False)
    with pytest.raises(ValueError, match=r"direction='previous' takes no ascent.* ascent_bf16=true"):
        SAMSettings(direction="previous", ascent_bf16=True)
    with pytest.raises(ValueError, match=r"Invalid ascent_dropout=0\. Must be true or false\."):
        SAMSettings(ascent_dropout=0)  # type: ignore[arg-type]
    for name in ("ascent_dropout", "ascent_bf16", "row_gradients", "swap"):
        with pytest.raises(ValueError, match=rf"Invalid {name}='false'"):
            integrations.SAMSettings(**{name: "false"})  # type: ignore[arg-type]


@pytest.mark.parametrize("swap", [False, True])
def test_settings_hand_the_swap_on(swap: bool) -> None:
    """The settings for loops of one's own build a gradient that swaps where they say so."""
    assert integrations.SAMSettings(swap=swap).gradient(mlp()).swap is swap


def test_settings_look_between_the_steps_of_sam() -> None:
    """The command line's training takes LookSAM where it is set, with its alpha, and plain SAM elsewhere."""
    built = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(every=5, look=0.6, ascent=2))
    assert isinstance(built, LookSAMGradient) and (built.alpha, built.ascent, built.swap) == (0.6, 2, True)
    plain = build_gradient("sam", mlp(), TrainSettings(), SAMSettings(every=5))
    assert type(plain) is SAM and plain.row_gradients

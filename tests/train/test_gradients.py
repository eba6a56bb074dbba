"""Which gradients are built, and with what."""

from __future__ import annotations

import pytest
from tests.sam.toys import mlp

from lowland import SAM, SAMConfig, StandardGradient
from lowland.errors import UserError
from lowland.train.loop import build_gradient
from lowland.train.settings import TrainSettings


def test_arms() -> None:
    """Without a radius it is the plain gradient, and SAM's own with its settings, in micro-batches alike."""
    sam, train = SAMConfig(rho=0.3, direction="previous"), TrainSettings(micro_batch_size=4)
    baseline, built = (build_gradient(mlp(), train, own) for own in (SAMConfig(rho=0.0), sam))
    assert type(baseline) is StandardGradient and baseline.micro_batch_size == 4
    assert isinstance(built, SAM) and built.config == sam and built.micro_batch_size == 4


def test_patterns_that_match_nothing() -> None:
    """Patterns that match no parameter of the model are a user's mistake."""
    with pytest.raises(UserError, match="no trainable parameter matches"):
        build_gradient(mlp(), TrainSettings(), SAMConfig(perturb=["*nothing*"]))

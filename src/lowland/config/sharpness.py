"""What is measured of how flat the loss is around a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowland.settings import check, setting


@dataclass(frozen=True, kw_only=True)
class SharpnessSettings:
    """What is measured; each field says what it is."""

    examples: int = setting(128, "maximum number of examples of each kind, training and held out", least=1)
    batch_size: int = setting(
        32,
        "examples of a batch; each has its own ascent, as in training",
        least=1,
        unset="the experiment's, or 32",
    )
    radii: tuple[float, ...] = setting((0.02, 0.05, 0.1, 0.2), "radii of the ascent", metavar="X,X")
    hessian_examples: int = setting(64, "examples for the Hessian; 0 leaves it out", least=0)
    seed: int = setting(0, "seed for choosing examples", least=0, option="random-seed")

    def __post_init__(self) -> None:
        check(self)
        if not self.radii or not all(radius > 0 and math.isfinite(radius) for radius in self.radii):
            raise ValueError(f"Invalid radii={list(self.radii)!r}. Must be finite numbers > 0.")

"""rho by itself: as large as lets the loss of the ascent examples rise by a chosen share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a plan asks how often a step is measured, and needs no torch
    from torch import Tensor

EVERY = 5
"""One of so many steps is measured, by a forward pass of the ascent examples at w_adv."""

SLOW = 0.5
"""Power of the ratio of the wanted to the seen rise: a single measurement is noisy."""

LARGEST = 1.5
"""The most that rho changes by at once."""


class Rise:
    """Follows the rho at which the loss of the ascent examples rises by `share` from w to w_adv.

    A rho does not transfer between models: at 0.05 the loss of one rises by 93%, that of another by 8%. The
    rise is of the loss itself, under the same dropout masks at both points.

    Attributes:
        factor: What the radius of the settings is multiplied by.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.factor = 1.0
        self._step = 0

    def follow(self, at_w: Tensor | None, at_w_adv: Callable[[], float], moved: bool) -> None:
        """Sets the factor of the steps that come; `at_w_adv` is called in one of `EVERY` steps."""
        self._step += 1
        if (self._step - 1) % EVERY or at_w is None:
            return
        before, after = float(at_w), at_w_adv()  # a pass that all processes take together
        if not moved or not 0 < before < math.inf or math.isnan(after):
            return
        change = LARGEST if after <= before else (self.share / (after / before - 1)) ** SLOW
        self.factor *= min(max(change, 1 / LARGEST), LARGEST)

    def state_dict(self, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Gives the factor and the step."""
        import torch

        return {"rise": torch.tensor([self.factor, self._step], dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor], named: Sequence[tuple[str, Tensor]]) -> None:
        """Goes on from what `state_dict` gave."""
        if set(state) != {"rise"}:
            raise ValueError(f"The state of rise= is its factor, but was given {sorted(state)}.")
        self.factor, step = state["rise"].tolist()
        self._step = int(step)

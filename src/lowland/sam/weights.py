"""The weights on their way to w_adv, and back to exactly w.

Nothing is subtracted on the way back: adding and subtracting epsilon leaves a rounding error in every weight,
in bf16 one larger than epsilon itself. Weights are copied, written over and copied back in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lowland.parameters.parallel import local


class Weights:
    """Weights that are moved and put back: `now` w or w_adv, `saved` w; of sparse tables those `rows`."""

    def __init__(self, parameters: Sequence[Tensor], gradients: list[Tensor]) -> None:
        self.parameters = list(parameters)
        self._whole = [local(parameter) for parameter in parameters]
        self.now = list(self._whole)
        self.rows: dict[int, Tensor] = {}
        for index in range(len(gradients)):  # no name is left for a gradient, which is to be freed
            if gradients[index].is_sparse:
                gradients[index] = gradients[index].coalesce()
                self.rows[index] = gradients[index].indices()[0]
                self.now[index] = self._whole[index][self.rows[index]]
                gradients[index] = gradients[index].values()
        self.saved = list(self.now)

    def move(self, directions: list[Tensor], scale: float) -> None:
        """Moves the weights by scale times the directions."""
        for index, weight in enumerate(self.now):
            self.saved[index] = weight.clone()
        torch._foreach_add_(self.now, directions, alpha=scale)
        for index, rows in self.rows.items():
            self._whole[index].index_copy_(0, rows, self.now[index])
        # A cast that autocast made of w must not be used at w_adv.
        torch.clear_autocast_cache()

    def free(self) -> None:
        """Drops the copies, once the weights are back for good."""
        self.now.clear()
        self.saved.clear()

    def back(self) -> None:
        """Puts the weights back, wherever `move` was broken off; a second time does no harm."""
        torch._foreach_copy_(self.now, self.saved)
        for index, rows in self.rows.items():
            self._whole[index].index_copy_(0, rows, self.saved[index])
        torch.clear_autocast_cache()

"""Dropout whose masks cost little on a CPU.

`torch.nn.functional.dropout` draws one number a mask, on one core, and that takes a sixth of a T5
training step. Here every 64 random bits make four masks. The rate is exact to 1/65536, and what is kept is
scaled by the very rate at which it is kept. The bits come from a generator that is seeded by one draw from
torch's global stream, so that whoever restores that stream gets the same masks again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout

LEVELS = 2**16
"""Different values of the number that decides over one mask."""


class Masks:
    """The masks of one stretch of a forward pass, in the order in which it asks for them.

    Args:
        training: Whether anything is dropped at all.
        device: Where the masks are used. Only those of CPUs are drawn here; elsewhere torch's are fast.
    """

    def __init__(self, training: bool, device: torch.device) -> None:
        self._training = training
        self._own = device.type == "cpu"
        self._bits: np.random.Generator | None = None

    def drop(self, x: Tensor, rate: float) -> Tensor:
        """Sets elements to zero at a rate, and scales the others so that the mean stays."""
        if not self._training or rate == 0.0:
            return x
        if not self._own:
            return dropout(x, rate)
        function: Any = _Drop
        dropped: Tensor = function.apply(x, *self._draw(x.shape, rate))
        return dropped

    def _draw(self, shape: torch.Size, rate: float) -> tuple[Tensor, float]:
        """Gives a mask (int16, all bits set where an element is kept) and the scale of what is kept."""
        if self._bits is None:
            seed = int(torch.randint(2**63 - 1, ()))
            self._bits = np.random.Generator(np.random.SFC64(seed))
        dropped = min(round(rate * LEVELS), LEVELS - 1)
        words = self._bits.integers(2**64, size=-(-shape.numel() // 4), dtype=np.uint64)
        numbers = torch.from_numpy(words.view(np.int16))[: shape.numel()].view(shape)
        mask = torch.empty(shape, dtype=torch.int16)
        torch.ge(numbers, dropped - LEVELS // 2, out=mask)
        return mask.neg_(), LEVELS / (LEVELS - dropped)


def _keep(x: Tensor, mask: Tensor) -> Tensor:
    """Sets elements to zero where the mask is zero, by their bits: no cast, and no NaN from 0 * inf."""
    if x.element_size() == 2:
        return (x.contiguous().view(torch.int16) & mask).view(x.dtype)
    if x.element_size() == 4:  # a mask's sign fills the wider word
        return (x.contiguous().view(torch.int32) & mask).view(x.dtype)
    return x * -mask


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _keep(x, mask).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _keep(gradient, mask).mul_(ctx.scale), None, None

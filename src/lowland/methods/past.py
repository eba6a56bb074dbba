"""Directions without an ascent pass, made of the gradients of the steps before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from lowland.parameters.parallel import local


class Past:
    """A direction d that is known from the steps before, so that a step of SAM takes one pass.

    `previous`: d is the gradient of the step before, as it was before clipping. `momentum`: d points where
    momentum of 0.9 over these gradients would move the weights. The first step, and one after a direction
    that was not finite, has none, and is a baseline step.

    Source:
        `previous`: S2-SAM, Ji et al. (2024), "A Single-Step, Sharpness-Aware Minimization is All You Need to
        Achieve Efficient and Accurate Sparse Training". `momentum`: MSAM, Becker, Altrock and Risse (2024),
        "Momentum-SAM", arXiv 2401.12033; their momentum is that of the optimizer.
    """

    def __init__(self, direction: Literal["previous", "momentum"]) -> None:
        # d <- decay * d + sign * g; momentum runs forwards, against the gradients.
        self.decay, self.sign = {"previous": (0.0, 1.0), "momentum": (0.9, -1.0)}[direction]
        self.known: dict[Tensor, Tensor] = {}

    def take(self, parameters: Sequence[Tensor], *, written: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Gives the parameters that have a direction, and the directions; copies where `written` is true."""
        known = [parameter for parameter in parameters if parameter in self.known]
        directions = [self.known[parameter] for parameter in known]
        if not self.decay:
            self.known.clear()  # frees their memory for the descent
        elif written:
            directions = [direction.clone() for direction in directions]
        return known, directions

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Makes the next direction of `.grad`, which holds the gradient of this step only."""
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            if parameter in self.known:
                direction = local(self.known[parameter])
                direction.mul_(self.decay).add_(local(gradient), alpha=self.sign)
            else:
                self.known[parameter] = gradient.detach().clone()
                local(self.known[parameter]).mul_(self.sign)

    def forget(self) -> None:
        """Drops a direction that is not finite."""
        self.known.clear()

    def state_dict(self, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Gives the direction by the names of the parameters."""
        return {name: self.known[parameter] for name, parameter in named if parameter in self.known}

    def load_state_dict(self, state: Mapping[str, Tensor], named: Sequence[tuple[str, Tensor]]) -> None:
        """Goes on from what `state_dict` gave."""
        parameters = dict(named)
        unknown = set(state) - set(parameters)
        if unknown:
            raise ValueError(f"The state is for a parameter {min(unknown)!r}, which is not there.")
        self.known = {
            parameters[name]: value.to(parameters[name].device, copy=True) for name, value in state.items()
        }

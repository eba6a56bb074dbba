"""A random direction in the place of the ascent's: what the radius alone does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lowland.parameters.parallel import refuse_sharded


class Noise:
    """Gaussian noise, scaled to the radius like a gradient: the control of every SAM.

    The numbers come from a generator of its own, which the step seeds: the global random streams are left
    alone, and all processes draw the same.

    Source:
        Random perturbations as a baseline of SAM: Foret et al. (2021), arXiv 2010.01412, appendix C.
    """

    def __init__(self) -> None:
        self.step = 0

    def take(self, parameters: Sequence[Tensor], *, written: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Draws a direction for all parameters."""
        refuse_sharded(parameters, "direction='noise'")
        directions = []
        for index, parameter in enumerate(parameters):
            generator = torch.Generator(parameter.device).manual_seed(1_000_003 * self.step + index)
            directions.append(torch.empty_like(parameter).detach().normal_(generator=generator))
        return list(parameters), directions

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Goes to the next step."""
        self.step += 1

    def forget(self) -> None:
        """Keeps no gradient, and so has none to drop."""

    def state_dict(self, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Gives the step."""
        return {"step": torch.tensor(self.step)}

    def load_state_dict(self, state: Mapping[str, Tensor], named: Sequence[tuple[str, Tensor]]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            ValueError: If it is another direction's.
        """
        if set(state) != {"step"}:
            raise ValueError(f"The state of direction='noise' is its step, but was given {sorted(state)}.")
        self.step = int(state["step"])

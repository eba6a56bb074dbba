"""A random direction in the place of the ascent's: what the radius alone does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lowland.parameters.parallel import Replicas, refuse_sharded


class Noise:
    """Gaussian noise, scaled to the radius like a gradient: the control of every SAM.

    The numbers come from a stream of its own, seeded at its first use by the seed of torch's global stream,
    from which nothing is drawn; all processes draw the same.

    Source:
        Random perturbations as a baseline of SAM: Foret et al. (2021), arXiv 2010.01412, appendix C.
    """

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._stream: torch.Generator | None = None

    def take(self, parameters: Sequence[Tensor], *, written: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Draws a direction for all parameters."""
        refuse_sharded(parameters, "direction='noise'")
        if self._stream is None:
            self._stream = torch.Generator().manual_seed(self._replicas.seed())
        directions = []
        for parameter in parameters:
            seed = int(torch.randint(2**63 - 1, (), generator=self._stream))
            generator = torch.Generator(parameter.device).manual_seed(seed)
            directions.append(torch.empty_like(parameter).detach().normal_(generator=generator))
        return list(parameters), directions

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Keeps nothing of the gradient."""

    def forget(self) -> None:
        """Keeps no gradient, and so has none to drop."""

    def state_dict(self, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Gives the place of the stream."""
        return {} if self._stream is None else {"noise": self._stream.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor], named: Sequence[tuple[str, Tensor]]) -> None:
        """Goes on from what `state_dict` gave."""
        if not set(state) <= {"noise"}:
            raise ValueError(f"The state of direction='noise' is its stream, but was given {sorted(state)}.")
        self._stream = None
        if state:
            self._stream = torch.Generator()
            self._stream.set_state(state["noise"].cpu())

"""SAM that keeps something from step to step: a tensor a parameter, and how it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lowland.sam.gradient import SAMGradient


class RememberingGradient(SAMGradient):
    """A gradient that depends on the steps before, by what it keeps for each parameter.

    Args:
        *arguments: As in `SAMGradient`.
        **options: As in `SAMGradient`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._past: dict[Tensor, Tensor] = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Gives what is kept, by parameter."""
        return {name: self._past[p] for name, p in self.selection.named() if p in self._past}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            ValueError: If it names a parameter that is not there.
        """
        parameters = dict(self.selection.named())
        unknown = set(state) - set(parameters)
        if unknown:
            raise ValueError(f"The state is for a parameter {min(unknown)!r}, which is not there.")
        self._past = {
            parameters[name]: value.to(parameters[name].device, copy=True) for name, value in state.items()
        }

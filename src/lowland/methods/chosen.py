"""The methods that the settings name, in the places where kinds of SAM differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.methods.bi_lora import Adversary
from lowland.methods.fisher import mask_smallest
from lowland.methods.flat_lora import MERGED, MergedNoise
from lowland.methods.functional import FixedLogits
from lowland.methods.head import HEAD, only_head
from lowland.methods.noise import Noise
from lowland.methods.past import Past
from lowland.methods.precondition import precondition
from lowland.methods.rise import Rise
from lowland.parameters.parallel import Replicas
from lowland.parameters.preserve import Undo

if TYPE_CHECKING:
    from lowland.sam.config import SAMConfig


class Methods:
    """What differs from Algorithm 1: direction, radius, and the gradient that is taken at w_adv.

    `past` is a direction in place of an ascent, `rise` what the radius follows, `logits` the logits'
    gradients at w, and `memory` what of it the next step needs.
    """

    def __init__(
        self,
        config: SAMConfig,
        module: nn.Module | None,
        replicas: Replicas,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self._config = config
        self.perturb = only_head(module) if config.perturb == (HEAD,) else config.perturb
        self.past: Past | Noise | Adversary | None = None
        if config.direction == "adversary":
            self.perturb, self.past = None, Adversary(module, replicas, scaler)
        elif config.perturb == (MERGED,):
            self.perturb, self.past = None, MergedNoise(module, replicas)
        elif config.direction == "noise":
            self.past = Noise(replicas)
        elif config.direction != "ascent":
            self.past = Past(config.direction)
            if scaler is not None:
                direction = config.direction
                raise ValueError(f"scaler= does not go with {direction=}: its scale changes between steps.")
        self.rise = None if config.rise is None else Rise(config.rise)
        self.logits = FixedLogits(module) if config.functional else None
        if self.logits is not None:
            replicas.refuse_unfinished("functional=True")
        self.memory = self.past or self.rise

    def shape(self, w: Sequence[Tensor], g: list[Tensor], optimizer: Optimizer | None) -> None:
        """Makes the direction of the perturbation out of the ascent gradient, in place."""
        if self._config.precondition or self._config.fisher is not None:
            g[:] = [gradient.to_dense() if gradient.is_sparse else gradient for gradient in g]
        if self._config.precondition:
            precondition(optimizer, w, g)
        if self._config.fisher is not None:
            mask_smallest(w, g, self._config.fisher)
        if isinstance(self.past, Adversary):
            self.past.optimizer = optimizer

    def radius(self, rho: float) -> float:
        """Gives the radius of a step, whose schedule asks for `rho`."""
        return rho if self.rise is None else rho * self.rise.factor

    def arrived(
        self, rho: float, ascent_loss: Tensor | None, loss: Callable[[], float], moved: bool, undo: Undo
    ) -> float | None:
        """Is told that the weights are at w_adv; gives the length of a perturbation beside the weights."""
        if self.rise is not None:
            self.rise.follow(ascent_loss, loss, moved)
        if self.logits is not None:
            self.logits.replay(undo)
        return self.past.insert(rho, undo) if isinstance(self.past, Adversary) else None

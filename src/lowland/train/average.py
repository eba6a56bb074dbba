"""Averages of the weights over steps, which are scored and kept in the place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from lowland.train.settings import TrainSettings


class Average:
    """The average of a model's trainable weights: exponential over all steps, or equal over the last ones.

    Training does not see it. The exponential average begins with the weights themselves, and its decay rises
    as (1 + n) / (10 + n), so that the first ones are soon forgotten. It is one copy of the trainable weights.

    Source:
        Polyak and Juditsky (1992); the last steps: Izmailov et al. (2018), arXiv 1803.05407. Computed by
        `torch.optim.swa_utils`; the rise of the decay is that of TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings) -> None:
        self._weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._decay = settings.ema
        last = 1.0 if settings.ema else settings.average_last
        self._first = settings.steps - round(last * settings.steps)
        self._means: dict[str, Tensor] = {}
        self._number = 0

    def follow(self, step: int) -> None:
        """Takes the weights after a step, counted from 1, into the average."""
        if step <= self._first:
            return
        weights = [weight.detach() for weight in self._weights.values()]
        if not self._means:
            self._means = {name: weight.detach().clone() for name, weight in self._weights.items()}
        elif self._decay:
            decay = min(self._decay, (1 + self._number) / (10 + self._number))
            get_ema_multi_avg_fn(decay)(list(self._means.values()), weights, self._number)
        else:
            number = torch.tensor(self._number, dtype=torch.float64)
            get_swa_multi_avg_fn()(list(self._means.values()), weights, number)
        self._number += 1

    @contextmanager
    def inserted(self) -> Iterator[None]:
        """Puts the average in the place of the weights for a block, where there is one."""
        kept = {name: self._weights[name].detach().clone() for name in self._means}
        try:
            self._put(self._means)
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._weights[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """Gives the average and the number of steps in it."""
        return {**self._means, "": torch.tensor(self._number)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave."""
        self._number = int(state[""])
        self._means = {
            name: state[name].to(weight.device, copy=True)
            for name, weight in self._weights.items()
            if name in state
        }

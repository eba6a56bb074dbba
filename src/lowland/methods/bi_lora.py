"""Bi-LoRA: an adversarial adapter beside LoRA's, which ascends in the pass in which LoRA's descends."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.optim import AdamW, Optimizer

from lowland.methods.flat_lora import adapted_layers
from lowland.parameters.norms import global_norm
from lowland.parameters.parallel import Replicas
from lowland.parameters.preserve import Undo

RANK = 8
"""The paper's advice for all tasks."""


class Adversary:
    """Matrices B and A beside each adapted one, W + B A, that only training sees.

    All of B A together is at most rho long. A begins as LoRA's, from the seed of torch's global stream, and
    B at zero, so that the first step is the baseline's. The ascent is AdamW's, with the learning rate of the
    optimizer's first group.

    Source:
        Liu et al. (2025), "Bi-LoRA: Efficient Sharpness-Aware Minimization for Fine-Tuning Large-Scale
        Models", arXiv 2508.19564: equations 9 and 10.
    """

    def __init__(
        self, module: nn.Module | None, replicas: Replicas, scaler: torch.amp.GradScaler | None = None
    ) -> None:
        replicas.refuse_unfinished("direction='adversary'")
        self._layers = adapted_layers(module)
        beside = [list(getattr(layer, "lora_A", {}).values()) for layer in self._layers]
        if not all(parts and all(isinstance(part, nn.Linear) for part in parts) for parts in beside):
            raise ValueError("direction='adversary' needs LoRA adapters on linear layers only.")
        self._replicas, self._scaler = replicas, scaler
        self.factors: list[tuple[Tensor, Tensor]] = []
        self._ascent: Optimizer | None = None
        self.optimizer: Optimizer | None = None
        self._rho = 0.0

    def take(self, parameters: Sequence[Tensor], *, written: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Moves no weights: the perturbation is a part of the forward pass."""
        return [], []

    def insert(self, rho: float, undo: Undo) -> float:
        """Adds B A to the adapted layers until `undo`; returns its length."""
        if rho == 0:
            return 0.0
        if self.optimizer is None:
            raise ValueError("direction='adversary' needs the optimizer: set sam.optimizer = optimizer.")
        self._build()
        self._rho = rho
        undo.later(self.forget)
        for layer, factors in zip(self._layers, self.factors, strict=True):
            undo.later(layer.base_layer.register_forward_hook(partial(_add, factors)).remove)
        return self._length()

    def remember(self, parameters: Sequence[Tensor]) -> None:
        """Ascends, unless a gradient is not finite."""
        if self._ascent is None or self.optimizer is None:
            return
        scale = self._scaler.get_scale() if self._scaler is not None else 1.0
        gradients = []
        for factor in self._flat():
            found = torch.zeros_like(factor) if factor.grad is None else factor.grad
            gradients.append(self._replicas.total(found) / (self._replicas.size * scale))
            factor.grad = gradients[-1]
        if math.isfinite(global_norm(gradients)):
            self._ascent.param_groups[0]["lr"] = float(self.optimizer.param_groups[0]["lr"])
            self._ascent.step()
            if (length := self._length()) > self._rho:
                with torch.no_grad():
                    torch._foreach_mul_(self._flat(), math.sqrt(self._rho / length))

    def forget(self) -> None:
        """Drops the gradients."""
        for factor in self._flat():
            factor.grad = None

    def state_dict(self, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """Gives the matrices and the moments of their ascent."""
        found = {f"adversary.{index}": factor.detach() for index, factor in enumerate(self._flat())}
        if self._ascent is not None:
            for index, moments in self._ascent.state_dict()["state"].items():
                found |= {f"adversary.{index}.{name}": value for name, value in moments.items()}
        return found

    def load_state_dict(self, state: Mapping[str, Tensor], named: Sequence[tuple[str, Tensor]]) -> None:
        """Goes on from what `state_dict` gave."""
        if not state:
            self.factors, self._ascent = [], None
            return
        self._build()
        assert self._ascent is not None
        moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            first, index, *key = [*name.split("."), ""]
            if first != "adversary" or not index.isdigit() or int(index) >= len(self._flat()):
                raise ValueError(f"The state is not of direction='adversary': it has {name!r}.")
            if key[0]:
                moments[int(index)][key[0]] = value
            else:
                with torch.no_grad():
                    self._flat()[int(index)].copy_(value)
        self._ascent.load_state_dict({**self._ascent.state_dict(), "state": dict(moments)})

    @torch.no_grad()
    def _length(self) -> float:
        """Computes the norm of all B A together."""
        squares = [((b.T @ b) * (a @ a.T)).sum().cpu().double() for a, b in self.factors]
        return math.sqrt(float(torch.stack(squares).sum()))

    def _flat(self) -> list[Tensor]:
        return [factor for pair in self.factors for factor in pair]

    def _build(self) -> None:
        if self.factors:
            return
        stream = torch.Generator().manual_seed(self._replicas.seed())
        for layer in self._layers:
            beside: Tensor = layer.lora_A[layer.active_adapters[0]].weight
            bound = 1 / math.sqrt(layer.in_features)
            kind: dict[str, Any] = {"dtype": torch.promote_types(beside.dtype, torch.float32)}
            a = torch.empty(RANK, layer.in_features, **kind).uniform_(-bound, bound, generator=stream)
            b = torch.zeros(layer.out_features, RANK, **kind)
            self.factors.append((a.to(beside.device).requires_grad_(), b.to(beside.device).requires_grad_()))
        self._ascent = AdamW(self._flat(), weight_decay=0.0, maximize=True)


def _add(factors: tuple[Tensor, Tensor], layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    a, b = factors
    return output + linear(linear(inputs[0].to(a.dtype), a), b).to(output.dtype)

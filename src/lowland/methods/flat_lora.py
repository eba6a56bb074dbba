"""Flat-LoRA: noise in the merged weights, where the adapters' own space is too small to be flat in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowland.methods.noise import Noise
from lowland.parameters.parallel import Replicas

MERGED = "merged"
"""The word that stands for the matrices under adapters among the patterns of `perturb`."""


class MergedNoise(Noise):
    """Gaussian noise on the frozen matrices under LoRA's adapters; the adapters themselves stay.

    A row's noise is as long as the row of the merged matrix, and all of it together is rho. The paper adds
    and subtracts noise that its seed makes again; here the matrices are copied and put back, since
    subtracting leaves rounding.

    Source:
        Li et al. (2024), "Flat-LoRA: Low-Rank Adaptation over a Flat Loss Landscape", arXiv 2409.14396.
    """

    def __init__(self, module: nn.Module | None, replicas: Replicas) -> None:
        super().__init__(replicas)
        self._layers = adapted_layers(module)
        if not all(layer.base_layer.weight.is_floating_point() for layer in self._layers):
            raise ValueError("perturb='merged' does not go with quantized weights.")

    def take(self, parameters: Sequence[Tensor], *, written: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Draws a direction for the matrices under the adapters."""
        weights, directions = super().take([layer.base_layer.weight for layer in self._layers], written=True)
        for layer, direction in zip(self._layers, directions, strict=True):
            with torch.no_grad():
                merged = layer.base_layer.weight.clone()
                for adapter in layer.active_adapters:
                    merged += layer.get_delta_weight(adapter)
            direction.mul_(torch.linalg.vector_norm(merged, dim=-1, keepdim=True))
        return weights, directions


def adapted_layers(module: nn.Module | None) -> list[Any]:
    """Lists the layers of a model that have adapters of PEFT, each around its `base_layer`."""
    layers = [part for part in module.modules() if hasattr(part, "get_delta_weight")] if module else []
    if not layers:
        raise ValueError("perturb='merged' needs LoRA adapters of PEFT: hand SAM a model with some (--lora).")
    return layers

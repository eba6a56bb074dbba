"""Weights whose type is too coarse for the perturbation."""

from __future__ import annotations

import warnings

import pytest
import torch
from tests.sam.toys import SAM
from torch import Tensor, nn


def linear_of(dtype: torch.dtype) -> tuple[nn.Linear, Tensor]:
    """A layer with weights of order 1, and a batch."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 64).to(dtype)
    nn.init.normal_(layer.weight)
    return layer, torch.randn(8, 64).to(dtype)


@pytest.mark.parametrize("rho", [0.001, 0.01])
def test_bf16_weights_are_warned_of_once(rho: float) -> None:
    """SAM on bf16 weights says once how much of rho reached them, with the radius that it measured."""
    layer, batch = linear_of(torch.bfloat16)
    sam = SAM(layer, rho=rho)
    with pytest.warns(UserWarning, match="bfloat16 is too coarse") as caught:
        info = sam(lambda x: layer(x).square().mean(), batch)
    assert info.radius < 0.9 * rho
    assert f"Of rho={rho:g} only {info.radius:.3g} reached the weights" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sam(lambda x: layer(x).square().mean(), batch)


def test_fp32_weights_are_not_warned_of() -> None:
    """With fp32 weights, at rho = 0, and where the gradient is zero there is nothing to warn of."""
    layer, batch = linear_of(torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAM(layer, rho=0.01)(lambda x: layer(x).square().mean(), batch)
        coarse, batch = linear_of(torch.bfloat16)
        SAM(coarse, rho=0.0)(lambda x: coarse(x).square().mean(), batch)
        SAM(coarse, rho=0.01)(lambda x: 0.0 * coarse(x).sum(), batch)

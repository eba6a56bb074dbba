"""Complex parameters, as state-space layers have, are perturbed as the pairs of numbers that they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lowland


class Complex(nn.Module):
    """A complex layer between real ones."""

    def __init__(self, pairs: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        weight = torch.randn(6, 3, dtype=torch.complex128)
        self.weight = nn.Parameter(torch.view_as_real(weight) if pairs else weight)
        self.out = nn.Linear(3, 4, dtype=torch.float64)

    def loss(self, x: Tensor) -> Tensor:
        """A mean over examples that uses the real and the imaginary part."""
        weight = self.weight if self.weight.is_complex() else torch.view_as_complex(self.weight)
        hidden = torch.exp(1j * (x.to(weight) @ weight.conj())).real
        return self.out(hidden).square().mean()


@pytest.mark.parametrize("settings", [{}, {"m": 2, "ascent": 0.5}, {"adaptive": True}], ids=str)
def test_complex_parameters(settings: dict[str, Any]) -> None:
    """The step is that of the same model with pairs of real numbers for weights, and w comes back exactly."""
    x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model, pairs = Complex(pairs=False), Complex(pairs=True)
    before = model.weight.detach().clone()
    info = lowland.SAM(model, lowland.SAMConfig(rho=0.2, **settings))(model.loss, x)
    other = lowland.SAM(pairs, lowland.SAMConfig(rho=0.2, **settings))(pairs.loss, x)
    assert torch.equal(model.weight, before)
    assert info.radius == pytest.approx(0.2, rel=1e-9) and info.moved == other.moved  # fp64
    assert info.ascent_norm == pytest.approx(other.ascent_norm, rel=1e-12)
    torch.testing.assert_close(torch.view_as_real(model.weight.grad.resolve_conj()), pairs.weight.grad)
    torch.testing.assert_close(model.out.weight.grad, pairs.out.weight.grad)

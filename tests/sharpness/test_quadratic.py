"""Sharpness where it is known in closed form: on quadratics."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lowland.sharpness import Objective, moved, rises, top_eigenvalue

SPECTRUM = [9.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.0, -3.0, -0.5]


def rotation(size: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def quadratic(
    spectrum: list[float] = SPECTRUM, start: Tensor | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Objective, Tensor]:
    """The loss w' H w / 2 over weights in two pieces, H of a known spectrum; the objective and H."""
    basis = rotation(len(spectrum))
    hessian = (basis @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ basis.T).to(dtype)
    start = torch.zeros(len(spectrum), dtype=dtype) if start is None else start.to(dtype)
    one = start[:4].clone().reshape(2, 2).requires_grad_()
    two = start[4:].clone().requires_grad_()

    def loss(scale: float) -> Tensor:
        w = torch.cat([one.reshape(-1), two])
        return scale * (w @ hessian @ w) / 2

    # Batches with the scales 0.5 and 1.5, of which the second counts twice, are one with 7/6.
    return Objective(loss, [one, two], [0.5, 1.5], [1, 2]), hessian * 7 / 6


def at(number: int) -> Tensor:
    """Weights away from the origin."""
    return torch.randn(len(SPECTRUM), generator=torch.Generator().manual_seed(number), dtype=torch.float64)


def test_value_and_gradient_are_the_weighted_mean() -> None:
    """Value and gradient over batches are those of the quadratic with the weighted mean of the scales."""
    w = at(1)
    objective, hessian = quadratic(start=w)
    value, gradient = objective.gradient()
    # Sums of ten products in double precision are exact to about 1e-14.
    assert value == pytest.approx(float(w @ hessian @ w / 2), rel=1e-12)
    assert objective.value() == pytest.approx(value, rel=1e-14)
    assert torch.allclose(gradient, hessian @ w, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_top_eigenvalue_is_that_of_the_spectrum(dtype: torch.dtype) -> None:
    """Lanczos finds the largest eigenvalue, also beside a larger negative one."""
    spectrum = [*SPECTRUM, *torch.linspace(-20, 5, 60).tolist()]
    objective, _ = quadratic(spectrum, dtype=dtype)
    found = top_eigenvalue(objective, seed=0)
    # eigsh was asked for 1%.
    assert found == pytest.approx(9.0 * 7 / 6, rel=0.01)
    assert top_eigenvalue(objective, seed=0) == found


@given(st.floats(0.01, 3.0), st.integers(0, 5))
def test_one_step_of_ascent_is_sams(rho: float, number: int) -> None:
    """After one step the rise is rho ||g|| + rho^2/2 g'Hg/||g||^2, as it is for any quadratic."""
    w = at(number)
    objective, hessian = quadratic(start=w)
    g = hessian @ w
    expected = rho * float(g.norm()) + rho**2 / 2 * float(g @ hessian @ g / (g @ g))
    assert rises(objective, [rho])[rho] == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )  # differences of rounded losses


def test_a_zero_gradient_climbs_nowhere() -> None:
    """At a point without a slope the ascent stays, and the rise is 0 rather than nan."""
    objective, _ = quadratic()
    assert rises(objective, [0.1]) == {0.1: 0.0}


def test_the_weights_come_back_bit_for_bit() -> None:
    """After every measurement, and after an exception within one, the weights are what they were."""
    objective, _ = quadratic(start=at(4))
    before = [parameter.detach().clone() for parameter in objective.parameters]
    _, gradient = objective.gradient()
    rises(objective, [0.1, 1.0])
    top_eigenvalue(objective, seed=0)
    with pytest.raises(RuntimeError), moved(objective.parameters, gradient):
        raise RuntimeError
    assert all(torch.equal(a, b) for a, b in zip(before, objective.parameters, strict=True))


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_impossible_radii_are_refused(radius: float) -> None:
    """A radius of nothing or less is an error."""
    with pytest.raises(ValueError, match="radii"):
        rises(quadratic()[0], [radius])

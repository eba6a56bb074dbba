"""The lean AdaFactor: weights and state are the library's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.optimization import Adafactor as LibraryAdafactor

from lowland.train.adafactor import Adafactor


def adafactors(steps: int) -> tuple[list[Tensor], list[Tensor], Any, Any]:
    """Two sets of weights after the same gradients, and their optimizers."""
    torch.manual_seed(0)
    shapes = [(64, 32), (1, 7), (300,), (1,), (5, 1), (33, 129)]
    ours = [torch.randn(shape).requires_grad_() for shape in shapes]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    options: dict[str, Any] = {"lr": 1e-2, "relative_step": False, "scale_parameter": True}
    fast, library = Adafactor(ours, **options), LibraryAdafactor(theirs, **options)
    for step in range(steps):
        for left, right in zip(ours, theirs, strict=True):
            gradient = torch.randn(left.shape) * 10.0 ** (step % 5 - 3)
            if left.dim() == 2:
                gradient[:: 2 + step % 2] = 0  # rows without a gradient, as in embeddings
            left.grad, right.grad = gradient, gradient.clone()
        if step == 3:  # a weight that has no gradient
            ours[0].grad = theirs[0].grad = None
        fast.step()
        library.step()
    return ours, theirs, fast, library


def test_adafactor_is_the_librarys() -> None:
    """After thirty steps weights and state are the library's AdaFactor's, up to rounding."""
    ours, theirs, fast, library = adafactors(30)
    for left, right in zip(ours, theirs, strict=True):
        # Thirty roundings of 6e-8 each, in weights of size 1 and in their updates.
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    saved, expected = fast.state_dict(), library.state_dict()
    assert saved["param_groups"] == expected["param_groups"]
    for index, state in expected["state"].items():
        assert saved["state"][index].keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(saved["state"][index][name], value, rtol=1e-5, atol=1e-12)


def test_adafactor_takes_the_gradients_of_a_closure() -> None:
    """A first step by a closure that makes the gradients is the step with these gradients."""
    weights = [torch.linspace(-1, 1, 12).reshape(3, 4).requires_grad_() for _ in range(2)]
    optimizers = [
        Adafactor([weight], lr=1e-2, relative_step=False, scale_parameter=True) for weight in weights
    ]

    def loss(weight: Tensor) -> Tensor:
        value = weight.pow(3).sum()
        value.backward()
        return value

    expected = loss(weights[0])
    optimizers[0].step()
    assert optimizers[1].step(lambda: loss(weights[1])) == expected
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_adafactor_goes_on_from_the_librarys_state() -> None:
    """A state that the library's AdaFactor saved is loaded by ours, and training goes on as the library's."""
    ours, theirs, fast, library = adafactors(4)
    fast.load_state_dict(copy.deepcopy(library.state_dict()))
    for left, right in zip(ours, theirs, strict=True):
        left.data.copy_(right.data)
        left.grad = torch.ones_like(left)
        right.grad = torch.ones_like(right)
    fast.step()
    library.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)  # one step's rounding


@pytest.mark.parametrize("change", [{"beta1": 0.9}, {"weight_decay": 0.1}, {"scale_parameter": False}])
def test_adafactor_leaves_other_settings_to_the_library(change: dict[str, Any]) -> None:
    """With settings that are not T5's, a step is the library's own, bit for bit."""
    results = []
    for kind in (Adafactor, LibraryAdafactor):
        weight = torch.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
        optimizer = kind([weight], lr=1e-2, relative_step=False, **{"scale_parameter": True, **change})
        for _ in range(3):
            weight.grad = torch.linspace(0, 1, 12).reshape(3, 4)
            optimizer.step()
        results.append(weight.detach())
    assert torch.equal(*results)

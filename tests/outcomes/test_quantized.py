"""Rounding of weights to few bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fixtures.models import logits_of, tiny_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from lowland.outcomes.quantized import (
    INT4,
    INT8,
    ROUNDINGS,
    Rounding,
    linear_weights,
    round_weight,
    rounded_weights,
)

SMALL = Rounding(name="int4", bits=4, group=8, symmetric=False)


def int4_reference(weight: np.ndarray, group: int) -> np.ndarray:
    """Round-to-nearest of 4 bits in groups, one group after the other."""
    rounded = weight.copy()
    for row in rounded:
        for start in range(0, len(row), group):
            part = row[start : start + group]
            low, high = min(part.min(), 0), max(part.max(), 0)
            scale = np.float32((high - low) / 15)
            zero = np.round(-low / scale)
            part[:] = (np.clip(np.round(part / scale) + zero, 0, 15) - zero) * scale
    return rounded


def int8_reference(weight: np.ndarray) -> np.ndarray:
    """Round-to-nearest of 8 bits with a scale for each output."""
    scale = np.abs(weight).max(1, keepdims=True) / np.float32(127)
    return np.clip(np.round(weight / scale), -127, 127) * scale


@pytest.mark.parametrize(("inputs", "group"), [(16, 8), (20, 8), (5, 8), (256, 128)])
def test_int4_is_the_reference_in_ten_lines(inputs: int, group: int) -> None:
    """Four bits in groups give what a loop over rows and groups gives, also where the last group is short."""
    weight = torch.randn(6, inputs, generator=torch.Generator().manual_seed(inputs))
    found = round_weight(weight, Rounding(name="int4", bits=4, group=group, symmetric=False))
    # A last bit of fp32 in the product of level and scale; a weight on another level would be off by 0.1.
    np.testing.assert_allclose(found.numpy(), int4_reference(weight.numpy(), group), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_of_one_sign_keep_a_grid_with_zero(sign: int) -> None:
    """A group whose weights are all positive, or all negative, is rounded on a grid that holds 0."""
    weight = sign * (torch.rand(6, 16, generator=torch.Generator().manual_seed(0)) + 2)
    np.testing.assert_allclose(
        round_weight(weight, SMALL).numpy(), int4_reference(weight.numpy(), 8), rtol=1e-6, atol=1e-7
    )


def test_int8_is_the_reference() -> None:
    """Eight bits for each output give what dividing by the largest weight gives."""
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        round_weight(weight, INT8).numpy(), int8_reference(weight.numpy()), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("rounding", [*ROUNDINGS, SMALL], ids=lambda one: f"{one.name} {one.group}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_half_a_step_and_levels_are_few(rounding: Rounding, dtype: torch.dtype) -> None:
    """No weight moves by more than half a step, and a group has at most as many values as its bits hold."""
    weight = torch.randn(4, 256, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = round_weight(weight, rounding)
    assert found.dtype == dtype
    size = rounding.group or 256
    for before, after in zip(weight.reshape(-1, size), found.reshape(-1, size), strict=True):
        before = before.float()
        span = (
            2 * before.abs().max()
            if rounding.symmetric
            else before.clamp(min=0).max() - before.clamp(max=0).min()
        )
        step = span / (2**rounding.bits - 2 if rounding.symmetric else 2**rounding.bits - 1)
        # With an asymmetric grid the zero is rounded as well; bf16 rounds once more, by 2**-9 of the value.
        limit = step * (0.5 if rounding.symmetric else 1.0) + before.abs().max() * (
            2**-9 if dtype == torch.bfloat16 else 1e-6
        )
        assert (after.float() - before).abs().max() <= limit
        assert len(after.unique()) <= 2**rounding.bits
    assert torch.equal(round_weight(torch.zeros(2, 8), rounding), torch.zeros(2, 8))


@pytest.mark.parametrize("kind", ["t5", "t5.1.1", "bart"])
@pytest.mark.parametrize("rounding", ROUNDINGS, ids=lambda one: one.name)
def test_weights_come_back_exactly(kind: str, rounding: Rounding) -> None:
    """Inside, linear layers and no others are rounded; afterwards, even of an exception, all is as before."""
    model = tiny_model(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clean = logits_of(model)
    linear = {id(weight) for weight, _ in linear_weights(model)}
    names = {name for name, value in model.named_parameters(remove_duplicate=False) if id(value) in linear}
    assert names
    assert not any(
        "embed" in name or "shared" in name or "lm_head" in name or "norm" in name for name in names
    )

    def rounded_logits() -> torch.Tensor:
        with rounded_weights(model, rounding) as numbers:
            assert numbers == sum(weight.numel() for weight, _ in linear_weights(model))
            for name, value in model.state_dict().items():
                assert torch.equal(value, before[name]) != (name in names)
            return logits_of(model)

    assert not torch.equal(rounded_logits(), clean)
    with pytest.raises(KeyboardInterrupt), rounded_weights(model, rounding):
        raise KeyboardInterrupt
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits_of(model), clean)


def test_transposed_weights_are_rounded_by_output() -> None:
    """GPT-2's layers hold their weights the other way round, and are rounded like linear layers."""
    linear, transposed = nn.Linear(24, 6), Conv1D(6, 24)
    with torch.no_grad():
        transposed.weight.copy_(linear.weight.T)
    with rounded_weights(nn.Sequential(linear, transposed), SMALL):
        assert torch.equal(linear.weight, transposed.weight.T)


def test_shared_and_missing_layers() -> None:
    """A weight that two layers share is rounded once; a model without linear layers is refused."""
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    expected = round_weight(first.weight, INT4)
    with rounded_weights(nn.Sequential(first, second), INT4) as numbers:
        assert numbers == 64
        assert torch.equal(first.weight, expected)
    with pytest.raises(ValueError, match="no linear layer"), rounded_weights(nn.Embedding(3, 4), INT8):
        pass

"""An ascent in bf16, before a descent in fp32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.sam.toys import Batch, batch_of, distance, gradients, loss_of, mlp, noisy, same
from torch import Tensor

from lowland import SAM, StandardGradient
from lowland.sam import PastSAMGradient
from lowland.sam.batch import rows


def bf16() -> torch.autocast:
    """Autocast as an ascent in bf16 has it."""
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("options", [{}, {"swap": True}, {"micro_batch_size": 2}], ids=str)
def test_climbs_in_bf16_and_descends_in_fp32(options: dict[str, Any]) -> None:
    """The direction is the first examples' gradient under bf16 autocast; the descent is in fp32."""
    model, batch = mlp(torch.float32), batch_of(12, torch.float32)
    parameters = list(model.parameters())
    loss = loss_of(model)
    info = SAM(model, rho=0.5, ascent=2, ascent_bf16=True, **options)(loss, batch)
    found = gradients(model)
    with bf16():
        at_w = loss(rows(batch, 0, 2))
    direction = torch.autograd.grad(at_w, parameters)
    exact = torch.autograd.grad(loss(rows(batch, 0, 2)), parameters)
    assert info.ascent_loss is not None and torch.equal(info.ascent_loss, at_w.detach())
    norm = torch.cat([part.flatten() for part in direction]).norm()
    with torch.no_grad():
        for parameter, part in zip(parameters, direction, strict=True):
            parameter += 0.5 / norm * part
    expected = torch.autograd.grad(loss(batch), parameters)
    # 1e-6: fp32's rounding. In bf16 the direction is another one, at its rounding of 2^-9.
    assert distance(found, list(expected)) < 1e-6
    assert distance(list(direction), list(exact)) > 1e-4


def test_rho_zero_is_standard_training() -> None:
    """At rho = 0 gradient, buffers and random stream are standard training's, dropout and BatchNorm on."""
    results: list[list[Any]] = []
    for build in (lambda model: SAM(model, rho=0.0, ascent_bf16=True), StandardGradient):
        model = noisy()
        torch.manual_seed(5)
        build(model)(loss_of(model), batch_of(16, torch.float32))
        results.append([*gradients(model), *model.buffers(), torch.get_rng_state()])
    assert same(*results)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_only_the_ascent_is_under_autocast(error: type[BaseException] | None) -> None:
    """Autocast is on in the ascent's forward pass alone, and off again after an exception there."""
    model, seen = mlp(torch.float32), []

    def loss_fn(batch: Batch) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        if error is not None:
            raise error
        return loss_of(model)(batch)

    sam = SAM(model, ascent_bf16=True)
    if error is None:
        sam(loss_fn, batch_of(8, torch.float32))
        assert seen == [True, False]
    else:
        with pytest.raises(error):
            sam(loss_fn, batch_of(8, torch.float32))
        assert seen == [True]
    assert not torch.is_autocast_enabled("cpu")


def test_a_loss_with_its_own_autocast_has_its_way() -> None:
    """Where the loss is under autocast itself, an ascent in bf16 changes nothing."""
    results = []
    for chosen in (False, True):
        model = mlp(torch.float32)

        def loss_fn(batch: Batch, model: Any = model) -> Tensor:
            with bf16():
                return loss_of(model)(batch)

        SAM(model, ascent_bf16=chosen)(loss_fn, batch_of(8, torch.float32))
        results.append(gradients(model))
    assert same(*results)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_under_another_autocast(rho: float) -> None:
    """Under an autocast to fp16 around all of it the ascent is in bf16, and the descent in fp16 as before."""
    model, other = mlp(torch.float32), mlp(torch.float32)
    batch = batch_of(8, torch.float32)
    with torch.autocast("cpu", torch.float16):
        loss_of(model)(batch)  # its casts are kept
        info = SAM(model, rho=rho, ascent_bf16=True)(loss_of(model), batch)
        expected = StandardGradient(other)(loss_of(other), batch)
    with bf16():
        at_w = loss_of(other)(rows(batch, 0, 2))
    assert info.ascent_loss is not None and torch.equal(info.ascent_loss, at_w.detach())
    assert torch.equal(info.loss, expected.loss) == (rho == 0)
    assert same(gradients(model), gradients(other)) == (rho == 0)


def test_where_it_does_not_go() -> None:
    """It needs an ascent, and is true or false."""
    with pytest.raises(ValueError, match="ascent_bf16= does not go with direction='previous'"):
        PastSAMGradient(mlp(), ascent_bf16=True)
    with pytest.raises(ValueError, match="Invalid ascent_bf16=1"):
        SAM(mlp(), ascent_bf16=1)  # type: ignore[arg-type]

"""Bi-LoRA: an adversary beside the adapters, which ascends in the pass in which they descend."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.methods.oracles import bi_lora_gradients
from tests.methods.test_contract import steps
from tests.methods.test_flat_lora import adapted
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from lowland import SAMGradient, StandardGradient
from lowland.methods.bi_lora import Adversary

SETTINGS: dict[str, Any] = {"direction": "adversary", "perturb": "merged"}


def prepared(model: nn.Module, rho: float = 0.05, **loop: Any) -> SAMGradient:
    """Bi-LoRA with AdamW as its optimizer."""
    sam = SAM(model, rho=rho, **SETTINGS, **loop)
    sam.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    return sam


def adversary_of(sam: SAMGradient) -> Adversary:
    """The method."""
    assert isinstance(sam.methods.past, Adversary)
    return sam.methods.past


def test_equals_the_paper() -> None:
    """Over steps, descent and ascent are the reference's, and the perturbation is clipped to rho."""
    model, batch = adapted(), batch_of(12)
    sam = prepared(model)
    layer, out = model.base_model.model[0], model.base_model.model[2]
    reached: list[Any] = []
    moments: list[Tensor] = []
    for step in range(4):
        before = [factor.detach().clone() for pair in adversary_of(sam).factors for factor in pair]
        before = before or [torch.zeros(8, 6, dtype=torch.float64), torch.zeros(8, 8, dtype=torch.float64)]
        merged = (layer.base_layer.weight + layer.get_delta_weight("default")).detach().requires_grad_()

        def loss(weight: Tensor, batch: Batch) -> Tensor:
            hidden = torch.tanh(linear(batch["x"], weight, layer.base_layer.bias))
            return cross_entropy(linear(hidden, out.weight, out.bias), batch["y"])

        g, ascent_b, ascent_a, b, a = bi_lora_gradients(loss, merged, *before, batch, rho=0.05)
        info = sam(loss_of(model), batch)
        reached.append(info.radius)
        assert info.radius == pytest.approx(float((b @ a).detach().norm()), abs=1e-12)
        scale, first, second = layer.scaling["default"], layer.lora_A["default"], layer.lora_B["default"]
        expected = [scale * second.weight.detach().T @ g, scale * g @ first.weight.detach().T]
        # 1e-12: float64 sums of numbers of order 1 in another order.
        assert distance([first.weight.grad, second.weight.grad], expected) < 1e-12
        if step:
            state = adversary_of(sam).state_dict([])
            for index, found in enumerate((ascent_a, ascent_b)):
                old = moments[index]
                # AdamW ascends by the moments of minus the gradient.
                torch.testing.assert_close(
                    state[f"adversary.{index}.exp_avg"], 0.9 * old - 0.1 * found, rtol=0, atol=1e-12
                )
        moments = [
            adversary_of(sam).state_dict([])[f"adversary.{index}.exp_avg"].clone() for index in range(2)
        ]
        assert sam.optimizer is not None
        sam.optimizer.step()
        sam.optimizer.zero_grad()
    assert reached[0] == 0.0 and reached[-1] == pytest.approx(0.05)


def test_ascends() -> None:
    """Where the adapters stay, the adversary raises the loss, by more than noise of the same length."""
    model, batch = adapted(), batch_of(12)
    sam, noise = prepared(model), SAM(model, rho=0.05, direction="noise", perturb="merged")
    losses = [float(sam(loss_of(model), batch).loss) for _ in range(30)]
    drawn = [float(noise(loss_of(model), batch).loss) for _ in range(10)]
    assert losses[-1] > max(*drawn, losses[0])


def test_rho_zero_is_the_baseline() -> None:
    """At rho = 0 every gradient and weight is the baseline's, bit for bit."""
    model, other = adapted(), adapted()
    sam = prepared(model, rho=0.0)
    optimizer = torch.optim.AdamW([p for p in other.parameters() if p.requires_grad], lr=0.02)
    found = steps(model, sam, sam.optimizer, range(3))
    assert same(found, steps(other, StandardGradient(other), optimizer, range(3)))
    assert same(weights(model), weights(other))


def test_an_error_leaves_nothing_behind() -> None:
    """After an error in the pass, hooks and gradients are as before, and the next steps are right."""
    model, other = adapted(), adapted()
    sam, clean = prepared(model), prepared(other)
    steps(model, sam, sam.optimizer, range(2))
    steps(other, clean, clean.optimizer, range(2))
    before = weights(model)

    def fail(batch: Batch) -> Tensor:
        loss_of(model)(batch).backward()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sam(fail, batch_of(12))
    assert same(weights(model), before) and not any(part._forward_hooks for part in model.modules())
    model.zero_grad()
    found = steps(model, sam, sam.optimizer, range(2, 4))
    assert same(found, steps(other, clean, clean.optimizer, range(2, 4)))


def test_micro_batches_are_the_whole() -> None:
    """A batch in pieces gives the gradient of the whole, the adversary's too, over steps of training."""
    model, other = adapted(), adapted()
    sam, whole = prepared(model, micro_batch_size=5), prepared(other)
    left, right = (
        steps(one, gradient, gradient.optimizer, range(4)) for one, gradient in ((model, sam), (other, whole))
    )
    for ours, theirs in zip(left, right, strict=True):
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
        # 1e-8: float64 sums in another order; AdamW divides by roots of second moments of order 1e-6.
        assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-8


def test_goes_on_from_its_state() -> None:
    """Saved after three steps and gone on with, training is bit for bit what it would have been."""
    whole, first, second = adapted(), adapted(), adapted()
    sam, begun, resumed = prepared(whole), prepared(first), prepared(second)
    steps(whole, sam, sam.optimizer, range(6))
    steps(first, begun, begun.optimizer, range(3))
    second.load_state_dict(first.state_dict())
    assert begun.optimizer is not None and resumed.optimizer is not None
    resumed.optimizer.load_state_dict(copy.deepcopy(begun.optimizer.state_dict()))
    torch.manual_seed(99)  # the stream's seed is a part of the state
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    steps(second, resumed, resumed.optimizer, range(3, 6))
    assert same(weights(second), weights(whole))
    with pytest.raises(ValueError, match="not of direction='adversary'"):
        resumed.load_state_dict({"noise": torch.zeros(1)})


def test_an_overflow_is_skipped() -> None:
    """Under a scaler, adapters and adversary skip an overflow, and the scale has no part in the ascent."""
    model, other = adapted().float(), adapted().float()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    sam, plain = prepared(model, scaler=scaler), prepared(other)
    steps(other, plain, plain.optimizer, range(3))
    assert sam.optimizer is not None
    for seed in (0, None, 1, 2):
        batch = batch_of(12, torch.float32, seed=seed or 0)
        factor = float("inf") if seed is None else 1.0
        sam(lambda batch, factor=factor: loss_of(model)(batch) * factor, batch)
        scaler.unscale_(sam.optimizer)
        scaler.step(sam.optimizer)
        scaler.update()
        sam.optimizer.zero_grad()
    # 1e-6: float32; scales are powers of two.
    pairs = zip(adversary_of(sam).factors, adversary_of(plain).factors, strict=True)
    for ours, theirs in pairs:
        assert distance([one.detach() for one in ours], [one.detach() for one in theirs]) < 1e-6
    assert scaler.get_scale() == 4.0


def test_depends_on_the_seed() -> None:
    """The adversary's beginning is that of the run's seed, and takes nothing from the global stream."""
    found = []
    for seed in (0, 0, 1):
        model = adapted()
        sam = prepared(model)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        sam(loss_of(model), batch_of(12))
        assert torch.equal(state, torch.get_rng_state())
        found.append(adversary_of(sam).factors[0][0].detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "adversary"}, "add perturb='merged'"),
        ({**SETTINGS, "adaptive": True}, "leave adaptive=True out"),
        ({**SETTINGS, "precondition": True}, "has none"),
        (SETTINGS, "needs LoRA adapters"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    """What it does not go with, and a model without adapters, are refused in one sentence."""
    with pytest.raises(ValueError, match=message):
        SAM(mlp(), **settings)


def test_needs_the_optimizer() -> None:
    """Without the optimizer, whose learning rate the ascent takes, it is asked for before any pass."""
    model = adapted()
    with pytest.raises(ValueError, match=r"set sam\.optimizer"):
        SAM(model, rho=0.1, **SETTINGS)(loss_of(model), batch_of(12))
    assert all(gradient is None for gradient in gradients(model))

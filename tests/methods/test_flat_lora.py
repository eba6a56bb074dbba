"""Flat-LoRA: noise in the frozen matrices under adapters, whose gradient the adapters descend on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, loss_of, mlp, same, weights
from torch import Tensor, nn

from lowland.methods.noise import Noise
from lowland.parameters.parallel import Replicas

pytest.importorskip("peft")


def adapted() -> Any:
    """A classifier with trained adapters on its first layer."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(mlp(), LoraConfig(r=2, target_modules=["0"]))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model.double()


def test_noise_is_in_the_merged_weights() -> None:
    """At w_adv each row of the adapted matrix has moved by its share of rho, and nothing else has."""
    model = adapted()
    layer = model.base_model.model[0]
    before, points = weights(model), []

    def loss_fn(batch: Batch) -> Tensor:
        points.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return loss_of(model)(batch)

    info = SAM(model, rho=0.5, direction="noise", perturb="merged")(loss_fn, batch_of(12))
    assert same(weights(model), before)
    (point,) = points
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, point[name])]
    assert moved == ["base_model.model.0.base_layer.weight"]
    epsilon = point[moved[0]] - layer.base_layer.weight
    assert float(epsilon.norm()) == pytest.approx(0.5) and info.radius == pytest.approx(0.5)
    merged = layer.base_layer.weight + layer.get_delta_weight("default")
    _, (drawn,) = Noise(Replicas(None)).take([layer.base_layer.weight], written=True)
    expected = drawn * merged.detach().norm(dim=1, keepdim=True)
    # 1e-12: float64, from a difference of weights of order 1.
    torch.testing.assert_close(epsilon.detach(), 0.5 * expected / expected.norm(), rtol=0, atol=1e-12)

    found = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    model.zero_grad()
    with torch.no_grad():
        layer.base_layer.weight.copy_(point[moved[0]])
    loss_of(model)(batch_of(12)).backward()
    assert same(found, [p.grad for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"perturb": "merged"}, "add direction='noise' or direction='adversary'"),
        ({"perturb": "merged", "direction": "noise"}, "needs LoRA adapters"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    """Another direction, and a model without adapters, are refused in one sentence."""
    with pytest.raises(ValueError, match=message):
        SAM(mlp(), **settings)

"""Adapters of PEFT: SAM moves the adapters and nothing else."""

from __future__ import annotations

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, loss_of, mlp
from torch import Tensor, nn


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_adapters(kind: str) -> None:
    """With LoRA and IA3 the adapters alone are moved, by rho, and trained; patterns see their names."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = {
        "lora": lambda: peft.LoraConfig(r=2, target_modules=["0", "2"], init_lora_weights=False),
        "ia3": lambda: peft.IA3Config(target_modules=["0", "2"], feedforward_modules=["2"]),
    }[kind]()
    model: nn.Module = peft.get_peft_model(mlp(torch.float32), config)
    seen: list[dict[str, Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return loss_of(model)(batch)

    info = SAM(model, rho=0.3)(loss_fn, batch_of(8, torch.float32))
    moved = {name for name in seen[0] if not torch.equal(seen[0][name], seen[1][name])}
    adapters = {name for name, p in model.named_parameters() if p.requires_grad}
    assert moved == adapters and 0 < len(adapters) < len(seen[0])
    assert info.radius == pytest.approx(0.3, rel=1e-5)  # fp32
    assert {name for name, p in model.named_parameters() if p.grad is not None} == adapters
    SAM(model, perturb=f"*{kind}*", rho=0.3)(loss_fn, batch_of(8, torch.float32))

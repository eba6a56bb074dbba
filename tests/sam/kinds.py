"""Cases of two processes for the other kinds of SAM: past directions and adaptive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.sam.ranks import (
    Net,
    alone,
    assert_same_gradients,
    case,
    close,
    ddp,
    halves,
    joined,
    shard,
)
from tests.sam.toys import SAM
from tests.sam.trajectories import FLAVOURS, trajectory
from torch import nn


def past_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Takes steps whose direction is made of the steps before, together and alone."""
    for direction in ("previous", "momentum"):
        wrapped, other = wrap(Net()), Net()
        options: dict[str, Any] = {"direction": direction, "micro_batch_size": 4}
        together = SAM(wrapped, rho=0.3, **options)
        single = SAM(other, rho=0.3, direction=direction)  # type: ignore[arg-type]
        for step in range(3):
            info, expected = together(wrapped, halves(step)[rank]), single(other, joined(halves(step)))
            assert_same_gradients(wrapped, other)
            assert close(info.radius, expected.radius) and close(info.ascent_norm, expected.ascent_norm)
            for optimized in (wrapped, other):
                torch.optim.SGD(optimized.parameters(), lr=0.1).step()
                optimized.zero_grad()


@case
def ddp_past(rank: int) -> None:
    """Under DDP, bucket views included, directions of past gradients are those of the whole batch."""
    for options in FLAVOURS.values():
        past_trajectory(rank, ddp(**options))


@case
def fsdp2_past(rank: int) -> None:
    """Under FSDP2 directions of past gradients are kept in shards, with one norm over all of them."""
    past_trajectory(rank, shard)


@case
def adaptive(rank: int) -> None:
    """Under DDP and FSDP2 an adaptive perturbation is measured by all weights together."""
    trajectory(rank, ddp(), adaptive=True)
    trajectory(rank, shard, adaptive=True)


class Scorer(nn.Module):
    """A tagger whose forward pass gives its scores, as a model with logits does."""

    def __init__(self) -> None:
        super().__init__()
        net = Net()
        self.embedding, self.hidden, self.out = net.embedding, net.hidden, net.out

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.hidden(self.embedding(ids))))


def adapted(model: nn.Module) -> nn.Module:
    """Puts an adapter beside a layer."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    adapted: nn.Module = get_peft_model(model, LoraConfig(r=2, target_modules=["hidden"]))  # type: ignore[arg-type]
    return adapted.double()


@case
def ddp_methods(rank: int) -> None:
    """Under DDP every method gives what one process gives on the examples of both."""
    kinds: list[dict[str, Any]] = [
        {"functional": True},
        {"functional": True, "precondition": True, "fisher": 0.5, "rise": 0.1},
        {"perturb": "head"},
        {"direction": "noise"},
        {"direction": "adversary", "perturb": "merged"},
    ]
    for settings in kinds:
        lora = settings.get("perturb") == "merged"
        other = adapted(Scorer()) if lora else Scorer()
        wrapped = ddp()(adapted(Scorer()) if lora else Scorer())
        pair = []
        for model, more in ((wrapped, {"micro_batch_size": 4}), (other, {})):
            sam = SAM(model, rho=0.3, ascent=4, **settings, **more)
            sam.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
            pair.append((model, sam))
        for step in range(3):
            parts = halves(step)
            for (model, sam), batch in zip(pair, (parts[rank], alone(parts, 2)), strict=True):
                sam(
                    lambda batch, model=model: nn.functional.cross_entropy(
                        model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten()
                    ),
                    batch,
                )
            assert_same_gradients(wrapped, other)
            for _, sam in pair:
                assert sam.optimizer is not None
                sam.optimizer.step()
                sam.optimizer.zero_grad()

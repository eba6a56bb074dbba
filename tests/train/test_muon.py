"""Muon with AdamW: torch's own optimizers, each on its share of the parameters."""

from __future__ import annotations

import copy

import torch
from tests.fixtures.models import tiny_model
from torch import nn

from lowland.train.optimizers import MuonWithAdamW, build_optimizer
from lowland.train.settings import TrainSettings


def _layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 6), nn.Linear(6, 3))


def _gradients(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def _optimizer(model: nn.Sequential) -> MuonWithAdamW:
    matrices = [model[1].weight, model[2].weight]
    others = [model[0].weight, model[1].bias, model[2].bias]
    return MuonWithAdamW(matrices, others, lr=0.01, weight_decay=0.1)


def test_each_part_is_torchs() -> None:
    """Matrices move as torch's Muon moves them, the others as AdamW does, at a learning rate that changes."""
    ours, theirs = _layers(), _layers()
    optimizer = _optimizer(ours)
    muon = torch.optim.Muon(
        [theirs[1].weight, theirs[2].weight], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        [
            {"params": [theirs[0].weight], "weight_decay": 0.1},
            {"params": [theirs[1].bias, theirs[2].bias], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.98),
    )
    for step in range(3):
        for model in (ours, theirs):
            _gradients(model, step)
        for group in (*optimizer.param_groups, *muon.param_groups, *adamw.param_groups):
            group["lr"] = 0.01 / (step + 1)
        for part in (optimizer, muon, adamw):
            part.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_goes_on_from_its_state() -> None:
    """Loaded from its state, it takes the very steps it would have taken."""
    through, resumed = _layers(), _layers()
    one = _optimizer(through)
    for step in range(2):
        _gradients(through, step)
        one.step()
    resumed.load_state_dict(through.state_dict())
    other = _optimizer(resumed)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for step in range(2, 4):
        for model, optimizer in ((through, one), (resumed, other)):
            _gradients(model, step)
            optimizer.step()
    for left, right in zip(through.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)


def test_tables_are_no_matrices() -> None:
    """In a T5, Muon gets all matrices but token embeddings, position biases and the output matrix."""
    model = tiny_model("t5")
    optimizer = build_optimizer(model, TrainSettings(optimizer="muon"))
    moved = {id(parameter) for parameter in optimizer.param_groups[0]["params"]}
    for name, parameter in model.named_parameters():
        table = any(part in name for part in ("shared", "lm_head", "relative_attention_bias"))
        assert (id(parameter) in moved) == (parameter.dim() == 2 and not table), name
    total = sum(len(group["params"]) for group in optimizer.param_groups)
    assert total == len(list(model.parameters()))

"""What each of two processes does in the distributed tests: train together, and compare with one alone."""

from __future__ import annotations

import datetime
import json
import os
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import tests.sam.kinds
import tests.sam.trajectories  # noqa: F401
import torch
import torch.distributed as dist
from tests.sam.ranks import (
    CASES,
    WORLD,
    Net,
    alone,
    assert_same_gradients,
    assert_same_info,
    case,
    close,
    ddp,
    full,
    halves,
    shard,
)
from tests.sam.toys import SAM, Batch, token_batch
from tests.sam.trajectories import FLAVOURS, trajectory
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor

from lowland import StandardGradient


@case
def ddp_existing_gradients(rank: int) -> None:
    """Gradients that were there are added to, also where they are views of DDP's buckets."""
    for options in FLAVOURS.values():
        wrapped, other = ddp(**options)(Net()), Net()
        together, single = SAM(wrapped, rho=0.3, ascent=4), SAM(other, rho=0.3, ascent=4)
        for step in range(3):  # without zero_grad
            together(wrapped, halves(step)[rank])
            single(other, alone(halves(step), 2))
            assert_same_gradients(wrapped, other)


@case
def ddp_reductions(rank: int) -> None:
    """Each pass is reduced once, in its last micro-batch; an ascent of a rank's own is not."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    for options, passes in (({}, 2), ({"ranks": "own"}, 1), ({"m": 3}, 6)):
        wrapped = ddp()(Net())
        reductions = 0

        def hook(state, bucket):  # type: ignore[no-untyped-def]
            nonlocal reductions
            reductions += 1
            return allreduce_hook(state, bucket)

        wrapped.register_comm_hook(None, hook)  # type: ignore[operator]
        sam = SAM(wrapped, micro_batch_size=1, ascent=1.0, **options)  # type: ignore[arg-type]
        sam(wrapped, halves()[rank])
        reductions = 0  # the first pass may come in other buckets
        sam(wrapped, halves()[rank])
        assert reductions == passes, (options, reductions)


@case
def ddp_rho_zero(rank: int) -> None:
    """At rho = 0 the gradient is that of standard training under DDP, bit for bit."""
    for options in FLAVOURS.values():
        sam_model, standard_model = ddp(**options)(Net()), ddp(**options)(Net())
        for step in range(3):
            SAM(sam_model, rho=0.0)(sam_model, halves(step)[rank])
            StandardGradient(standard_model)(standard_model, halves(step)[rank])
            for p, q in zip(sam_model.parameters(), standard_model.parameters(), strict=True):
                assert p.grad is not None and q.grad is not None and torch.equal(p.grad, q.grad)


@case
def fsdp2_rho_zero(rank: int) -> None:
    """At rho = 0 the gradient is that of standard training under FSDP2, bit for bit."""
    sam_model, standard_model = shard(Net()), shard(Net())
    for step in range(3):
        SAM(sam_model, rho=0.0)(sam_model, halves(step)[rank])
        StandardGradient(standard_model)(standard_model, halves(step)[rank])
        for p, q in zip(sam_model.parameters(), standard_model.parameters(), strict=True):
            left, right = full(p.grad), full(q.grad)
            assert left is not None and right is not None and torch.equal(left, right)


@case
def fsdp2_hybrid(rank: int) -> None:
    """With replicas of shards, each shard counts once in the norm and each example once in the mean."""
    for sizes in ((2, 1), (1, 2)):
        mesh = init_device_mesh("cpu", sizes, mesh_dim_names=(f"replicate{sizes[0]}", f"shard{sizes[1]}"))

        def wrap(model: nn.Module, mesh: Any = mesh) -> nn.Module:
            return fully_shard(model, mesh=mesh)

        trajectory(rank, wrap, micro_batch_size=4)


@case
def fsdp2_points(rank: int) -> None:
    """The ranks' forward passes see one w_adv, at a distance of rho from w over all shards together."""
    wrapped, points = shard(Net()), []

    def loss_fn(batch: Batch) -> Tensor:
        points.append([p.full_tensor().detach().clone() for p in wrapped.parameters()])  # type: ignore[attr-defined]
        return wrapped(batch)

    info = SAM(wrapped, rho=0.3)(loss_fn, halves()[rank])
    distance = sum(float((a - b).square().sum()) for a, b in zip(*points, strict=True)) ** 0.5
    assert close(distance, 0.3) and close(info.radius, 0.3)
    assert info.moved > 0.5


@case
def fsdp2_after_evaluation(rank: int) -> None:
    """An evaluation, which leaves gathered weights in the module, does not disturb the step after it."""
    wrapped, other = shard(Net()), Net()
    with torch.no_grad():
        wrapped(halves()[rank])
    sam = SAM(wrapped, rho=0.3, ascent=4)
    for step in range(2):
        with torch.no_grad():
            wrapped(halves()[rank])
        sam(wrapped, halves(step)[rank])
        SAM(other, rho=0.3, ascent=4)(other, alone(halves(step), 2))
        assert_same_gradients(wrapped, other)


def failing_descent(rank: int, wrapped: nn.Module, inside_forward: bool) -> None:
    """The descent fails; the weights are exactly what they were, and the next step is right."""
    other = Net()
    before = [p.detach().clone() for p in wrapped.parameters()]
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("in the descent")

    def loss_fn(batch: Batch) -> Tensor:
        loss = wrapped(batch)
        if not inside_forward:
            fail()
        return loss

    hidden = next(part for part in wrapped.modules() if isinstance(part, Net)).hidden
    handle = hidden.register_forward_pre_hook(fail) if inside_forward else None
    sam = SAM(wrapped, rho=0.3, ascent=4)
    with pytest.raises(RuntimeError, match="in the descent"):
        sam(loss_fn, halves()[rank])
    if handle is not None:
        handle.remove()
    for p, value in zip(wrapped.parameters(), before, strict=True):
        mine, its = (t.to_local() if isinstance(t, DTensor) else t for t in (p.detach(), value))
        assert torch.equal(mine, its)
    wrapped.zero_grad()
    with torch.no_grad():
        assert close(wrapped(halves()[rank]), other(halves()[rank]))  # no gathered copy of w_adv is left
    sam(lambda batch: wrapped(batch), halves()[rank])
    SAM(other, rho=0.3, ascent=4)(other, alone(halves(), 2))
    assert_same_gradients(wrapped, other)


@case
def fsdp2_error_after_forward(rank: int) -> None:
    """An error between forward and backward of the descent leaves FSDP2 ready for the next step."""
    failing_descent(rank, shard(Net()), inside_forward=False)


@case
def fsdp2_error_inside_forward(rank: int) -> None:
    """An error in the middle of the descent's forward pass does, too."""
    failing_descent(rank, shard(Net()), inside_forward=True)


@case
def ddp_error_after_forward(rank: int) -> None:
    """DDP itself cannot go on after a backward pass that never came, but the weights are restored."""
    wrapped = ddp()(Net())
    before = [p.detach().clone() for p in wrapped.parameters()]
    calls = 0

    def loss_fn(batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("in the descent")
        return wrapped(batch)

    with pytest.raises(RuntimeError, match="in the descent"):
        SAM(wrapped)(loss_fn, halves()[rank])
    assert all(torch.equal(p, value) for p, value in zip(wrapped.parameters(), before, strict=True))


@case
def ddp_overflow(rank: int) -> None:
    """An ascent that overflows on one rank makes the scalers of all ranks skip the step."""
    for ranks in ("shared", "own"):
        wrapped = ddp()(Net())
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        before = [p.detach().clone() for p in wrapped.parameters()]

        def loss_fn(batch: Batch, wrapped: nn.Module = wrapped) -> Tensor:
            return wrapped(batch) * (float("inf") if rank == 1 and len(batch["labels"]) == 2 else 1.0)

        SAM(wrapped, ascent=4, ranks=ranks, scaler=scaler)(loss_fn, halves()[rank])  # type: ignore[arg-type]
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == 32.0
        assert all(torch.equal(p, value) for p, value in zip(wrapped.parameters(), before, strict=True))


@case
def ddp_no_targets_on_a_rank(rank: int) -> None:
    """A rank without any target token adds nothing, and the others' gradient is right."""
    wrapped, other = ddp()(Net()), Net()
    parts = [token_batch([2, 3, 5, 1]), token_batch([0, 0, 0, 0])]
    info = SAM(wrapped, rho=0.3, ascent=4)(wrapped, parts[rank])
    expected = SAM(other, rho=0.3, ascent=2)(other, parts[0])
    assert_same_gradients(wrapped, other)
    assert_same_info(info, expected)


@case
def ddp_compiled(rank: int) -> None:
    """A compiled DDP is seen through."""
    trajectory(rank, lambda model: torch.compile(ddp()(model), backend="eager"), steps=2)  # type: ignore[arg-type, return-value]


@case
def ascent_sizes(rank: int) -> None:
    """A number of ascent examples is that of all ranks together, with at least one a rank."""
    wrapped = ddp()(Net())
    sizes = {1: 1, 2: 1, 4: 2, 6: 3, 100: 6}
    assert {given: SAM(wrapped, ascent=given).ascent_size(6) for given in sizes} == sizes
    assert SAM(wrapped, ascent=0.25).ascent_size(128) == 32


@case
def fsdp1_is_refused(rank: int) -> None:
    """FSDP1 is refused with what to use instead, by module and by parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FSDP1 is deprecated
        for original in (True, False):
            wrapped = FullyShardedDataParallel(Net(), use_orig_params=original, device_id=torch.device("cpu"))
            with pytest.raises(ValueError, match=r"radius would be wrong under FSDP1.*fully_shard"):
                SAM(wrapped)
        with pytest.raises(ValueError, match=r"radius would be wrong under FSDP1.*fully_shard"):
            SAM(wrapped.parameters())


@case
def own_needs_ddp(rank: int) -> None:
    """An ascent of each rank's own is refused where it cannot be: under FSDP2, and with a static graph."""
    with pytest.raises(ValueError, match="does not go with static_graph=True"):
        SAM(ddp(static_graph=True)(Net()), ranks="own")
    with pytest.raises(ValueError, match="ranks='own' needs the model wrapped in DistributedDataParallel"):
        SAM(shard(Net()), ranks="own")


def work(rank: int, folder: str) -> None:
    """Runs every case on this rank and writes what went wrong to a file."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")  # of linear layers
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=20),
    )
    errors: dict[str, str] = {}
    for name, function in CASES.items():
        try:
            function(rank)
            errors[name] = ""
        except BaseException:
            errors[name] = traceback.format_exc()
        Path(folder, f"errors-{rank}.json").write_text(json.dumps(errors))
        dist.barrier()
    dist.destroy_process_group()

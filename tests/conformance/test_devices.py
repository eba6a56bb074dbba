"""Defects that show on several devices, looked for in two processes."""

from __future__ import annotations

import datetime
import functools
import json
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from tests.conformance.implementations import IMPLEMENTATIONS, Implementation, NotOffered
from tests.sam.toys import Batch, batch_of, loss_of
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

# Starting two processes takes ten seconds, on a busy machine more.
# With `--dist loadgroup` one worker runs them all, so that they are started once.
pytestmark = [pytest.mark.distributed, pytest.mark.timeout(300), pytest.mark.xdist_group("distributed")]

NOT_OFFERED = "not offered"
Cases = dict[str, Callable[[Implementation, int], None]]


class Net(nn.Module):
    """A classifier that keeps the weights each of its passes saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out = nn.Linear(6, 5), nn.Linear(5, 4)
        self.points: list[Tensor] = []
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        seen = [p.detach().flatten() for part in (self.hidden, self.out) for p in (part.weight, part.bias)]
        self.points.append(torch.cat(seen))
        return self.out(torch.tanh(self.hidden(x)))


def halves() -> list[Batch]:
    """The batches of both ranks."""
    return [batch_of(8, seed=1), batch_of(8, seed=2)]


def radius_of(net: Net) -> float:
    """The distance between the points of the last two passes."""
    return float((net.points[-1] - net.points[-2]).norm())


def close(left: Any, right: Any) -> bool:
    """Equality up to sums in another order, and norms in fp32."""
    return bool(torch.allclose(torch.as_tensor(left), torch.as_tensor(right), rtol=0, atol=1e-6))


def alone(a: int, own: bool = False) -> list[Tensor]:
    """The weights after the same step in one process: w - lr g, by plain autograd."""
    parts = halves()
    net = Net()

    def gradient(net: nn.Module, batch: Batch) -> list[Tensor]:
        return list(torch.autograd.grad(loss_of(net)(batch), list(net.parameters())))

    def joined(batches: list[Batch]) -> Batch:
        return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}

    total = [torch.zeros_like(p) for p in net.parameters()]
    for rank in range(2):
        few = [{key: value[:a] for key, value in part.items()} for part in parts]
        g = gradient(net, few[rank] if own else joined(few))
        norm = torch.cat([t.flatten() for t in g]).norm()
        there = Net()
        with torch.no_grad():
            for p, direction in zip(there.parameters(), g, strict=True):
                p.add_(0.3 * direction / norm)
        for sum_, part in zip(total, gradient(there, parts[rank]), strict=True):
            sum_ += part / 2
    return [p.detach() - 0.1 * g for p, g in zip(net.parameters(), total, strict=True)]


def shared_point_under_ddp(implementation: Implementation, rank: int) -> None:
    """Under DDP all ranks share one w_adv at a distance of rho, as one process on all examples would."""
    ddp = DistributedDataParallel(Net())
    implementation.start(ddp, rho=0.3, a=4, lr=0.1).step(loss_of(ddp), halves()[rank])
    assert close(radius_of(ddp.module), 0.3)
    expected = alone(2 if implementation.name == "lowland" else 4)  # lowland counts over all ranks
    assert all(close(p.detach(), q) for p, q in zip(ddp.parameters(), expected, strict=True))


def own_points_under_ddp(implementation: Implementation, rank: int) -> None:
    """Under DDP with a w_adv of each rank's own, the ascent is not synchronised."""
    ddp = DistributedDataParallel(Net())
    training = implementation.start(ddp, rho=0.3, a=4, lr=0.1)
    training.step_own_ascent(ddp, loss_of(ddp), halves()[rank])
    expected = alone(2 if implementation.name == "lowland" else 4, own=True)
    assert all(close(p.detach(), q) for p, q in zip(ddp.parameters(), expected, strict=True))


def shards(implementation: Implementation, rank: int) -> None:
    """Under FSDP2 a step works, with the radius rho over all shards together."""
    net = Net()
    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
    implementation.start(net, rho=0.3, a=4, lr=0.1).step(loss_of(net), halves()[rank])
    assert close(radius_of(net), 0.3)
    expected = alone(2 if implementation.name == "lowland" else 4)
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in net.parameters()]
    assert all(close(p.detach(), q) for p, q in zip(whole, expected, strict=True))


def flat_shards(implementation: Implementation, rank: int) -> None:
    """Under FSDP1 the radius is rho, or the wrapper is refused; it is not sqrt(2) times too large."""
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FSDP1 is deprecated
        wrapped = FullyShardedDataParallel(net, device_id=torch.device("cpu"), use_orig_params=True)
        try:
            training = implementation.start(wrapped, rho=0.3, a=4, lr=0.1)
        except ValueError:
            return
        training.step(loss_of(wrapped), halves()[rank])
    assert close(radius_of(net), 0.3)


CASES: Cases = {
    case.__name__: case for case in (shared_point_under_ddp, own_points_under_ddp, shards, flat_shards)
}


def work(rank: int, name: str, folder: str) -> None:
    """Runs every case on this rank and writes what went wrong to a file."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=20),
    )
    errors: dict[str, str] = {}
    for case, function in CASES.items():
        try:
            function(IMPLEMENTATIONS[name], rank)
            errors[case] = ""
        except NotOffered:
            errors[case] = NOT_OFFERED
        except Exception:
            errors[case] = traceback.format_exc()
        Path(folder, f"errors-{rank}.json").write_text(json.dumps(errors))
        dist.barrier()
    dist.destroy_process_group()


@functools.cache
def errors_of(name: str) -> list[dict[str, str]]:
    """What went wrong in each case, by rank; all cases of an implementation run in one pair of processes."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, args=(name, folder), nprocs=2)
        return [json.loads(Path(folder, f"errors-{rank}.json").read_text()) for rank in range(2)]


def check(implementation: Implementation, case: Callable[..., None]) -> None:
    """Fails with what a case found wrong in any of the processes."""
    for errors in errors_of(implementation.name):
        if errors[case.__name__] == NOT_OFFERED:
            raise NotOffered
        assert not errors[case.__name__], errors[case.__name__]


def test_shared_point_under_ddp(implementation: Implementation) -> None:
    """Under DDP all ranks share one w_adv at a distance of rho, as one process on all examples would."""
    check(implementation, shared_point_under_ddp)


def test_own_points_under_ddp(implementation: Implementation) -> None:
    """Under DDP with a w_adv of each rank's own, the ascent is not synchronised: `no_sync` is done right."""
    check(implementation, own_points_under_ddp)


def test_shards(implementation: Implementation) -> None:
    """Under FSDP2 a step works, with the radius rho over all shards together."""
    check(implementation, shards)


def test_flat_shards(implementation: Implementation) -> None:
    """Under FSDP1 the radius is rho, or the wrapper is refused; it is not sqrt(2) times too large."""
    check(implementation, flat_shards)

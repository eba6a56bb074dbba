"""Where the parameters live: one device, replicas (DDP) or shards (FSDP2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

if dist.is_available():
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, Partial, Replicate
    from torch.nn.parallel import DistributedDataParallel


def local(tensor: Tensor) -> Tensor:
    """Gives the part of a tensor that this process holds, sharing its storage; complex numbers as pairs."""
    if dist.is_available() and isinstance(tensor, DTensor):
        return tensor.to_local().detach()
    tensor = tensor.detach()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def unwrapped(module: nn.Module) -> nn.Module:
    """Takes off what `torch.compile` and `DistributedDataParallel` put around a module."""
    while True:
        if isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        elif dist.is_available() and isinstance(module, DistributedDataParallel):
            module = module.module
        else:
            return module


def owner_of(module: nn.Module, method: str) -> Any:
    """Finds what has a method of transformers' models: what was wrapped, or the model inside of it."""
    inner: Any = unwrapped(module)
    while not hasattr(inner, method) and hasattr(inner, "model"):
        inner = inner.model
    return inner


def shard_sums(values: Tensor, owners: Sequence[Tensor]) -> Tensor:
    """Adds up figures of the local shards of tensors, one row each; the row of a plain tensor stays."""
    if not dist.is_available() or not any(isinstance(owner, DTensor) for owner in owners):
        return values
    sums = values.clone()
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, owner in enumerate(owners):
        if isinstance(owner, DTensor):
            groups[owner.device_mesh, owner.placements].append(index)
    for (mesh, placements), members in groups.items():
        partial = [Replicate() if isinstance(place, Replicate) else Partial() for place in placements]
        device = torch.device(mesh.device_type)
        part = DTensor.from_local(values[members].to(device), mesh, partial, run_check=False)
        sums[members] = part.full_tensor().to("cpu")
    return sums


class Replicas:
    """The processes that train one model together, seen from the module that was handed to SAM."""

    def __init__(self, module: nn.Module | None) -> None:
        parts = list(module.modules()) if module is not None and dist.is_available() else []
        # A compiled model holds the wrapper inside.
        self.ddp = next((part for part in parts if isinstance(part, DistributedDataParallel)), None)
        self.sharded = [part for part in parts if isinstance(part, FSDPModule)]
        self._recorded = False
        self.group: dist.ProcessGroup | None = None
        self._device = torch.device("cpu")
        if self.ddp is not None:
            self.group = self.ddp.process_group
            self._device = next(self.ddp.parameters()).device
        elif self.sharded:
            self.reshard()
            mesh = next(
                p.device_mesh for part in self.sharded for p in part.parameters() if isinstance(p, DTensor)
            )
            self.group = mesh.get_group() if mesh.ndim == 1 else mesh._flatten().get_group()
            self._device = torch.device(mesh.device_type)
        self.size: int = self.group.size() if self.group is not None else 1
        # Where only parameters are known, they may well be those of a wrapper.
        hidden = module is None and dist.is_available() and dist.is_initialized()
        self.wrapped = self.ddp is not None or bool(self.sharded) or hidden

    @property
    def bucket_views(self) -> bool:
        """Whether gradients are views of the memory that DDP reduces them in."""
        return self.ddp is not None and self.ddp.gradient_as_bucket_view

    def refuse_own(self) -> None:
        """Refuses an ascent of each process's own where its gradient is reduced in any case."""
        if self.ddp is None:
            raise ValueError("ranks='own' needs the model wrapped in DistributedDataParallel.")
        if self.ddp.static_graph:
            raise ValueError(
                "ranks='own' does not go with static_graph=True, whose first pass is always reduced."
            )

    def refuse_unfinished(self, setting: str) -> None:
        """Refuses, under FSDP2 and static graphs, a setting whose passes do not reach the parameters."""
        if self.sharded or (self.ddp is not None and self.ddp.static_graph):
            wrapper = "fully_shard" if self.sharded else "DistributedDataParallel(static_graph=True)"
            raise ValueError(f"{setting} does not run under {wrapper}. Use DistributedDataParallel.")

    def unsynchronised(self) -> AbstractContextManager[None]:
        """Opens a block whose forward and backward passes keep their gradients to themselves.

        Under DDP `no_sync` must cover the forward pass too. FSDP2 goes on reducing every pass, which gives
        the same sum; and so does the one pass in which a static graph is recorded.
        """
        if self.ddp is None:
            return nullcontext()
        if self.ddp.static_graph and not self._recorded:
            self._recorded = True
            return nullcontext()
        return self.ddp.no_sync()

    def total(self, count: Tensor) -> Tensor:
        """Adds a count up over all processes."""
        if self.size == 1:
            return count
        total = count.to(self._device, copy=True)
        dist.all_reduce(total, group=self.group)
        return total.to(count.device)

    def sum(self, count: float) -> float:
        """Adds a number up over all processes, in double precision."""
        return float(self.total(torch.tensor(count, dtype=torch.float64))) if self.size > 1 else float(count)

    def seed(self) -> int:
        """Gives the seed of torch's global random stream, of the processes' the smallest; draws nothing."""
        seed = torch.tensor(torch.initial_seed() % 2**63)
        if self.size > 1:
            seed = seed.to(self._device)
            dist.all_reduce(seed, dist.ReduceOp.MIN, group=self.group)
        return int(seed)

    def most(self, count: int) -> int:
        """Gives the largest of the processes' counts of passes, where each pass waits for the others'."""
        if not self.sharded:
            return count
        largest = torch.tensor(count, device=self._device)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.group)
        return int(largest)

    def reshard(self) -> None:
        """Puts shards in place of gathered weights, which an evaluation leaves behind."""
        for part in self.sharded:
            part.reshard()

    def abandon(self) -> None:
        """Ends a pass that an error broke off, and frees the weights that were gathered at w_adv."""
        inner = {id(part) for outer in self.sharded for part in outer.modules() if part is not outer}
        for root in self.sharded:
            if id(root) in inner:
                continue
            if hasattr(root, "reset_iter_state"):
                root.reset_iter_state()
            else:  # before torch 2.13
                self.reshard()


def refuse_flattened(parameters: Sequence[Tensor], module: nn.Module | None) -> None:
    """Refuses FSDP1 and DeepSpeed ZeRO, which hide the parameters that SAM would have to measure."""
    kinds = {type(part).__name__ for part in (module.modules() if module is not None else ())}
    if "FullyShardedDataParallel" in kinds or any(hasattr(p, "_is_flat_param") for p in parameters):
        raise ValueError(
            "SAM's radius would be wrong under FSDP1, whose flat parameters hide the shards. "
            "Use torch.distributed.fsdp.fully_shard (FSDP2) instead."
        )
    if "DeepSpeedEngine" in kinds or any(hasattr(p, "ds_id") for p in parameters):
        raise ValueError(
            "SAM does not run under DeepSpeed ZeRO, which keeps the weights out of reach between passes. "
            "Use DistributedDataParallel or torch.distributed.fsdp.fully_shard (FSDP2) instead."
        )


def refuse_sharded(parameters: Iterable[Tensor], setting: str) -> None:
    """Refuses a setting that has to see whole tensors."""
    if dist.is_available() and any(isinstance(parameter, DTensor) for parameter in parameters):
        raise ValueError(f"{setting} does not run under fully_shard. Use DistributedDataParallel.")

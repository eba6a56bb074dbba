"""SAM on several processes: `torchrun --nproc-per-node 2 examples/distributed.py`, with `ddp` or `fsdp2`."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
import toy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import lowland


def ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def fsdp2(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (dist.get_world_size(),))
    for block in [*model.encoder.block, *model.decoder.block]:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def main(kind: str) -> None:
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else "cpu"
    dist.init_process_group()
    rank, size = dist.get_rank(), dist.get_world_size()
    model, tokenizer = toy.model_and_tokenizer()
    model = {"ddp": ddp, "fsdp2": fsdp2}[kind](model.to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_fn(batch: toy.Batch) -> Tensor:
        return model(**batch).loss

    sam = lowland.SAM(model, rho=0.05)  # the wrapped model, after wrapping
    for batch in toy.batches(tokenizer, 8):
        part = {name: column.tensor_split(size)[rank].to(device) for name, column in batch.items()}
        info = sam(loss_fn, part)  # one w_adv for all, and the gradient of the batch of all
        optimizer.step()
        optimizer.zero_grad()
        if rank == 0:
            print(f"loss {info.loss:.4f}  norm {info.ascent_norm:.4f}  radius {info.radius:.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ddp")

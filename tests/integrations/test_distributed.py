"""The Trainer on two processes, against one process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from safetensors.torch import load_file, save_file
from tests.integrations.toys import Row, SAMTrainer, arguments, batch_of, distance, moves, rows, tiny, weights
from tests.sam.toys import SAM
from torch import Tensor
from transformers import Trainer

import lowland
from lowland import SAMConfig

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

# fp32 sums of a few hundred terms in another order, relative to the norm of what is compared.
ROUNDING = 1e-5
RUNS: dict[str, dict[str, Any]] = {
    "shared": {"sam": SAMConfig(rho=0.3)},
    "accumulation": {"sam": SAMConfig(rho=0.3), "micro_batch": 1},
    "own": {"sam": SAMConfig(rho=0.3, ranks="own")},
    "baseline": {"sam": SAMConfig(rho=0.0)},
    "stock": {"sam": None},
}


def train(folder: Path, sam: SAMConfig | None, micro_batch: int = 4, **changes: Any) -> Trainer:
    """One step on 8 examples, 4 on each of two processes."""
    changes = {"per_device_train_batch_size": micro_batch, "max_steps": 1, **changes}
    args = arguments(folder, gradient_accumulation_steps=4 // micro_batch, **changes)
    model, data = tiny("t5", 0.0), rows("t5", 8)
    if sam is None:
        trainer = Trainer(model, args, train_dataset=data)
    else:
        trainer = SAMTrainer(model, args, train_dataset=data, sam=sam)
    trainer.train()
    return trainer


def worker(rank: int, port: int, folder: str) -> None:
    """Trains on one of two processes, and lets the first one write down what came out."""
    join(rank, port)
    for name, run in RUNS.items():
        trainer = train(Path(folder), **run, ddp_backend="gloo")
        assert type(trainer.model_wrapped).__name__ == "DistributedDataParallel"
        update = moves(weights(trainer.model), weights(tiny("t5")))
        figures = {k: torch.tensor(v) for k, v in trainer.state.log_history[0].items()}
        if rank == 0:
            save_file({str(i): t for i, t in enumerate(update)} | figures, Path(folder, name))
    torch.distributed.destroy_process_group()


def join(rank: int, port: int) -> None:
    """Tells this process its place among the two, as torchrun does."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")


def spawn(function: Callable[[int, int, str], None], folder: Path) -> Path:
    """Runs a function on two processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(function, args=(port, str(folder)), nprocs=2)  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What every run did on two processes: the weights' moves by position, and the log."""
    folder = spawn(worker, tmp_path_factory.mktemp("two"))
    return {name: load_file(folder / name) for name in RUNS}


def update_of(result: dict[str, Tensor]) -> list[Tensor]:
    """The weights' moves, in order."""
    return [result[str(index)] for index in range(sum(name.isdigit() for name in result))]


def reference(order: list[int], **settings: Any) -> tuple[list[Tensor], lowland.GradientInfo]:
    """One step on one process and the whole batch, with the examples in the given order."""
    model, batch = tiny("t5", 0.0).train(), batch_of(rows("t5", 8), 8)
    batch = {name: column[order] for name, column in batch.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss_fn(piece: Row) -> Tensor:
        loss: Tensor = model(**piece).loss
        return loss

    info = SAM(model, **settings)(loss_fn, batch)
    optimizer.step()
    return moves(weights(model), weights(tiny("t5"))), info


def test_shared_perturbation(two_processes: dict[str, dict[str, Tensor]]) -> None:
    """Two processes share one w_adv, from the first examples of each, weighted by target tokens."""
    expected, info = reference([0, 4, 1, 2, 3, 5, 6, 7], rho=0.3, ascent=2)
    result = two_processes["shared"]
    assert distance(update_of(result), expected) < ROUNDING
    assert float(result["loss"]) == pytest.approx(float(info.loss), rel=1e-5)
    assert float(result["ascent_norm"]) == pytest.approx(info.ascent_norm, rel=1e-5)
    assert float(result["radius"]) == pytest.approx(0.3, rel=1e-5)


def test_accumulation(two_processes: dict[str, dict[str, Tensor]]) -> None:
    """With accumulation, too, whose micro-batches but the last the Trainer leaves unsynchronised."""
    expected, _ = reference(list(range(8)), rho=0.3, ascent=2)  # one example a process and micro-batch
    assert distance(update_of(two_processes["accumulation"]), expected) < ROUNDING


def test_own_perturbations(two_processes: dict[str, dict[str, Tensor]]) -> None:
    """With `ranks="own"` each process has a w_adv of its own, as m = 2 has on one."""
    expected, _ = reference(list(range(8)), rho=0.3, ascent=2, m=2)
    assert distance(update_of(two_processes["own"]), expected) < ROUNDING


def test_rho_zero(two_processes: dict[str, dict[str, Tensor]]) -> None:
    """At rho = 0 two processes take the step of one, where the stock Trainer gives T5 twice the gradient."""
    expected, _ = reference(list(range(8)), rho=0.0)
    assert distance(update_of(two_processes["baseline"]), expected) < ROUNDING
    norms = [float(two_processes[name]["grad_norm"]) for name in ("stock", "baseline")]
    # Not 2 exactly, since a process with few targets counts as much as one with many.
    assert 1.7 < norms[0] / norms[1] < 2.4

"""How much memory SAM needs above standard training, in bytes of weights.

    python benchmarks/bench_memory.py [--shape t5-v1_1-small] [--micro-batch-size 4]

Peak bytes of the weights and of all tensors that live during one whole step (on GPUs: the allocator's own
peak). One copy of the weights that move is what Algorithm 1 needs: w must be restored exactly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, sam_of
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from lowland import StandardGradient
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import TrainSettings

GRADIENTS: dict[str, Callable[[torch.nn.Module], StandardGradient]] = {
    "standard": StandardGradient,
    "SAM": sam_of,
    "SAM, whole tables": lambda module: sam_of(list(module.parameters())),
    "SAM, measured": lambda module: sam_of(module, measure=True),
    "previous": lambda module: sam_of(module, direction="previous"),
    "momentum": lambda module: sam_of(module, direction="momentum"),
}


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and notes what it made."""
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and not tensor.is_sparse:  # its parts are tensors themselves
                self.note(tensor)
        return result

    def note(self, tensor: torch.Tensor) -> None:
        """Counts a tensor's storage, once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def freed(_: Any) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak_of(shape: str, arm: str, batch_size: int, options: Any) -> tuple[int, int]:
    """Gives the peak bytes of a step and the bytes of the weights."""
    device = torch.device(options.device)
    model = model_of(shape, device)
    loss_fn = loss_of(model, precision_of(options) == "bf16")
    optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))
    gradient = GRADIENTS[arm](loss_fn.module)
    batch = batch_of(model, batch_size, options.input_length, options.target_length)

    def step() -> None:
        gradient(loss_fn, batch)
        optimizer.step()
        optimizer.zero_grad()

    weights = sum(parameter.nbytes for parameter in model.parameters())
    step()  # the optimizer's state is there from the first step on, and what a gradient remembers
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated(), weights
    with PeakBytes() as tracker:
        for tensor in [*model.parameters(), *gradient.state_dict().values()]:
            tracker.note(tensor)
        step()
    return tracker.peak, weights


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--input-length", type=int, default=32)
    parser.add_argument("--target-length", type=int, default=8)
    options = parser.parse_args()

    table = Table(
        title=f"{options.shape}, {precision_of(options)}: peak memory of a step, in bytes of weights"
    )
    for column in ("batch", "standard", *(f"{arm} above standard" for arm in list(GRADIENTS)[1:])):
        table.add_column(column, justify="right")
    rows = []
    for size in options.batch_sizes:
        peaks = {}
        for arm in GRADIENTS:
            peak, weights = peak_of(options.shape, arm, size, options)
            peaks[arm] = peak / weights
        rows.append({"batch": size, **peaks})
        above = [f"{peaks[arm] - peaks['standard']:.3f}" for arm in list(GRADIENTS)[1:]]
        table.add_row(str(size), f"{peaks['standard']:.2f}", *above)
    Console().print(table)
    finish("memory", rows, options.json)


if __name__ == "__main__":
    main()

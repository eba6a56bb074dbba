"""What spares memory where a model is large for its machine, and what that costs, with SAM and without.

    python benchmarks/bench_large_models.py [--shape t5-v1_1-small] [--batch-size 32] [--keep-memory]

Micro-batches, layers whose activations are computed again, and LoRA: peak bytes of a step (weights and all
tensors) in bytes of the weights, and times of interleaved whole steps, as multiples of plain standard ones.
On GPUs the peak is the weights and what a step allocates above what lay there before it.
"""

from __future__ import annotations

import statistics
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from bench_memory import PeakBytes
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, sam_of, timed
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table

from lowland import StandardGradient
from lowland.models.load import checkpoint_layers
from lowland.train.machine import keep_freed_memory
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What is done to spare memory.

    Attributes:
        parts: Micro-batches of a batch.
        checkpointed: Whether each layer keeps its input only, and is computed again in the backward pass.
        lora: Whether adapters of rank 8 on queries and values are trained instead of the weights.
    """

    parts: int = 1
    checkpointed: bool = False
    lora: bool = False


SAVINGS = {
    "none": Saving(),
    "four micro-batches": Saving(parts=4),
    "checkpointing": Saving(checkpointed=True),
    "both": Saving(parts=4, checkpointed=True),
    "LoRA": Saving(lora=True),
    "LoRA and both": Saving(parts=4, checkpointed=True, lora=True),
}


class Trained:
    """A model in training, by one arm and with one way of sparing memory.

    Args:
        saving: That way.
        arm: `standard` or `SAM`.
        options: The benchmark's.
    """

    def __init__(self, saving: Saving, arm: str, options: Any) -> None:
        self.model = model_of(options.shape, torch.device(options.device))
        self.weights = sum(parameter.nbytes for parameter in self.model.parameters())
        if saving.checkpointed:
            checkpoint_layers(self.model)
        model: Any = self.model
        if saving.lora:
            model = get_peft_model(
                model, LoraConfig(r=8, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
            )
        self.loss_fn = loss_of(model, precision_of(options) == "bf16")
        module = self.loss_fn.module
        self.gradient = StandardGradient(module) if arm == "standard" else sam_of(module)
        self.gradient.micro_batch_size = -(-options.batch_size // saving.parts)
        self.optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))

    def step(self, batch: Any) -> None:
        """Takes a whole step."""
        self.gradient(self.loss_fn, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def peak(self, batch: Any) -> float:
        """Measures the peak of a step, in bytes of the weights."""
        if batch["input_ids"].is_cuda:
            torch.cuda.reset_peak_memory_stats()
            others = torch.cuda.memory_allocated()
            self.step(batch)
            # Other models of the benchmark lie on the device, too.
            return (torch.cuda.max_memory_allocated() - others) / self.weights + 1
        with PeakBytes() as tracker:
            for parameter in self.gradient.module.parameters():  # type: ignore[union-attr]
                tracker.note(parameter)
            self.step(batch)
        return tracker.peak / self.weights


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-length", type=int, default=128)
    parser.add_argument("--target-length", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that is not")
    options = parser.parse_args()
    # PEFT asks transformers by a name that is to go.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
    if options.keep_memory:
        keep_freed_memory()
    device = torch.device(options.device)
    trained = {
        (name, arm): Trained(SAVINGS[name], arm, options) for name in SAVINGS for arm in ("standard", "SAM")
    }
    sizes = (options.batch_size, options.input_length, options.target_length)
    peaks: dict[tuple[str, str], float] = {}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in trained}
    for count in range(-1, options.rounds):
        for key, one in trained.items():
            batch = batch_of(one.model, *sizes, seed=count + 1)
            took = timed(device, lambda one=one, batch=batch: one.step(batch))
            if count < 0:  # the optimizer's state is there now
                peaks[key] = one.peak(batch)
            else:
                seconds[key].append(took)
    table = Table(
        title=f"{options.shape}, batch {sizes[0]}, {sizes[1]}/{sizes[2]} tokens, {precision_of(options)}, "
        f"{options.device}: peak in bytes of weights, time by plain standard training's"
    )
    for column in ("sparing", "peak", "SAM's peak", "time", "SAM's time", "SAM's/time"):
        table.add_column(column, justify="right")
    rows = []
    for name in SAVINGS:
        standard, sam = (name, "standard"), (name, "SAM")
        times = [
            statistics.median(mine / plain for mine, plain in zip(seconds[one], seconds[other], strict=True))
            for one, other in ((standard, ("none", "standard")), (sam, ("none", "standard")), (sam, standard))
        ]
        rows.append({"sparing": name, "peaks": [peaks[standard], peaks[sam]], "times": times})
        table.add_row(name, f"{peaks[standard]:.2f}", f"{peaks[sam]:.2f}", *(f"{time:.2f}" for time in times))
    Console().print(table)
    finish("large models", rows, options.json)


if __name__ == "__main__":
    main()

"""What a SAM step costs beside a standard step: interleaved in one process, as ratios.

    python benchmarks/bench_overhead.py [--shape t5-v1_1-small] [--batch-size 32] [--input-length 128]

The floor is the arithmetic of Algorithm 1: forward and backward passes over a more examples. The gradient
alone and the whole step (with AdaFactor) are both shown. Machine time drifts, so that only ratios of
neighbours count.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of
from rich.console import Console
from rich.table import Table

from lowland import SAM, StandardGradient
from lowland.train import TrainSettings, keep_freed_memory
from lowland.train.optimizers import build_optimizer


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-length", type=int, default=32)
    parser.add_argument("--target-length", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=20, help="measured rounds, after three that are not")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--keep-memory", action="store_true", help="as the command line does")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()

    device = torch.device(options.device)
    model = model_of(options.shape, device)
    loss_fn = loss_of(model, options.precision == "bf16")
    optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))
    b = options.batch_size
    gradients: dict[str, Any] = {"standard": StandardGradient(model)}
    for part, name in ((8, "b/8"), (4, "b/4"), (2, "b/2"), (1, "b")):
        gradients[name] = SAM(model, rho=0.05, ascent=max(1, b // part))

    def timed(work: Any) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in gradients}
    for pair in range(options.pairs + 3):
        batch = batch_of(model, b, options.input_length, options.target_length, seed=pair)
        for name, gradient in gradients.items():
            passes = timed(lambda gradient=gradient, batch=batch: gradient(loss_fn, batch))
            step = timed(lambda: (optimizer.step(), optimizer.zero_grad()))
            if pair >= 3:
                seconds[name].append((passes, passes + step))

    table = Table(
        title=f"{options.shape}, batch {b}, {options.input_length}/{options.target_length} tokens, "
        f"{options.precision}, {options.device}: times standard training"
    )
    for column in ("ascent", "gradient", "whole step", "range of the step", "floor"):
        table.add_column(column, justify="right")
    rows = []
    for name in list(gradients)[1:]:
        pairs = list(zip(seconds[name], seconds["standard"], strict=True))
        passes = [sam[0] / standard[0] for sam, standard in pairs]
        steps = [sam[1] / standard[1] for sam, standard in pairs]
        floor = 1 + gradients[name].ascent / b
        row = {
            "ascent": name,
            "gradient": statistics.median(passes),
            "step": statistics.median(steps),
            "step_low": min(steps),
            "step_high": max(steps),
            "floor": floor,
        }
        rows.append(row | {"options": {k: str(v) for k, v in vars(options).items()}})
        table.add_row(
            f"a = {name}",
            f"{row['gradient']:.2f}",
            f"{row['step']:.2f}",
            f"{row['step_low']:.2f} to {row['step_high']:.2f}",
            f"{floor:.2f}",
        )
    Console().print(table)
    finish("overhead", rows, options.json)


if __name__ == "__main__":
    main()

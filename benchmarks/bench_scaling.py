"""How the cost of a step grows with the model, the batch and the length, in both arms.

    python benchmarks/bench_scaling.py [--shape t5-v1_1-small] [--precision fp32]

Whole steps (gradient and AdaFactor) of standard training and of SAM at a = b/4, interleaved. One of batch
and length is varied at a time; the shortest round counts, since other programs only make it longer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, timed
from rich.console import Console
from rich.table import Table

from lowland import SAM, StandardGradient
from lowland.train.loss import BatchLoss
from lowland.train.machine import keep_freed_memory
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import TrainSettings


def step(gradient: Any, loss: BatchLoss, optimizer: Any, batch: Any) -> None:
    """Takes a whole step."""
    gradient(loss, batch)
    optimizer.step()
    optimizer.zero_grad()


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=["embedded"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--input-lengths", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--target-length", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="measured, after one that is not")
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device(options.device)
    precision = precision_of(options)
    bf16 = precision == "bf16"
    middle = (sorted(options.batch_sizes)[1:] or options.batch_sizes)[0], sorted(options.input_lengths)[0]

    table = Table(title=f"{options.target_length} target tokens, {precision}, {options.device}")
    for column in ("model", "batch", "length", "standard, ms", "SAM, ms", "SAM/standard"):
        table.add_column(column, justify="right")
    rows = []
    for shape in options.shape:
        model = model_of(shape, device)
        loss = loss_of(model, bf16)
        optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))
        gradients = {
            "standard": StandardGradient(loss.module),
            "sam": SAM(loss.module, rho=0.05, ascent=0.25),
        }
        settings = {(size, middle[1]) for size in options.batch_sizes}
        settings |= {(middle[0], length) for length in options.input_lengths}
        for size, length in sorted(settings):
            batch = {
                name: column.cpu()
                for name, column in batch_of(model, size, length, options.target_length).items()
            }
            seconds: dict[str, list[float]] = {arm: [] for arm in gradients}
            for _ in range(1 + options.rounds):
                for arm, gradient in gradients.items():
                    work = partial(step, gradient, loss, optimizer, batch)
                    seconds[arm].append(timed(device, work))
            standard, sam = (min(values[1:]) for values in seconds.values())
            row = {"shape": shape, "batch": size, "input_length": length, "standard": standard, "sam": sam}
            row |= {"ratio": sam / standard}
            rows.append(row | {"options": {key: str(value) for key, value in vars(options).items()}})
            table.add_row(
                shape,
                str(size),
                str(length),
                f"{1000 * standard:.0f}",
                f"{1000 * sam:.0f}",
                f"{sam / standard:.2f}",
            )
    Console().print(table)
    finish("scaling", rows, options.json)


if __name__ == "__main__":
    main()

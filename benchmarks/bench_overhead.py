"""What a SAM step costs beside a standard step: interleaved in one process, as ratios.

    python benchmarks/bench_overhead.py [--shape t5-v1_1-small] [--settings 32x64/8] [--keep-memory]

The floor is the arithmetic of Algorithm 1: forward and backward passes over a more examples. Passes and whole
steps (with AdaFactor) are both shown. Machine time drifts, so that only ratios of neighbours count; beside
their median stands the ratio of the shortest steps, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from typing import Any

import torch
from common import (
    SHAPES,
    batch_of,
    finish,
    loss_of,
    model_of,
    numbers_like,
    parser_of,
    precision_of,
    sam_of,
    timed,
)
from rich.console import Console
from rich.table import Table

from lowland import SAMGradient, StandardGradient
from lowland.train.machine import keep_freed_memory
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import TrainSettings

LOG_EVERY = 10
WARM_UP, MOST_WARM_UP, FEW_PAGES = 3, 10, 20_000
"""Rounds that are not measured: until one asks the system for few pages of memory. A step that takes fresh
memory pays for that and not for SAM; a training does so in its first steps only."""


def gradients_of(module: torch.nn.Module, size: int) -> dict[str, tuple[StandardGradient, float | None]]:
    """Gives the gradients that are compared, each with the floor of its passes."""
    gradients: dict[str, tuple[StandardGradient, float | None]] = {
        "standard": (StandardGradient(module), None)
    }
    for part, name in ((8, "a = b/8"), (4, "a = b/4"), (2, "a = b/2"), (1, "a = b")):
        a = max(1, size // part)
        gradients[name] = sam_of(module, ascent_examples=a), 1 + a / size
    quarter = max(1, size // 4)
    floor = 1 + quarter / size
    parameters = list(module.parameters())  # without the module, no table of embeddings is moved by rows
    gradients["a = b/4, whole tables"] = sam_of(parameters, ascent_examples=quarter), floor
    gradients["previous"] = sam_of(module, direction="previous"), 1.0
    gradients["momentum"] = sam_of(module, direction="momentum"), 1.0
    return gradients


def measure(options: argparse.Namespace, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Measures the ratios of one batch size and length."""
    device = torch.device(options.device)
    size, *lengths = sizes
    model = model_of(options.shape, device)
    loss_fn = loss_of(model, precision_of(options) == "bf16")
    optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))
    gradients = gradients_of(loss_fn.module, size)
    if options.only:
        gradients = {name: gradients[name] for name in ("standard", *options.only)}
    names = list(gradients)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    pages: list[int] = []

    def take_round(measured: bool) -> None:
        count = len(pages)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        batch = batch_of(model, size, *lengths, seed=count)
        for name in names[count % len(names) :] + names[: count % len(names)]:
            gradient = gradients[name][0]
            if isinstance(gradient, SAMGradient):
                gradient.measure = measured
            passes = timed(device, lambda gradient=gradient, batch=batch: gradient(loss_fn, batch))
            rest = timed(device, lambda: (optimizer.step(), optimizer.zero_grad()))
            seconds[name].append((passes, passes + rest))
        pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    while len(pages) < WARM_UP or (pages[-1] > FEW_PAGES and len(pages) < MOST_WARM_UP):
        take_round(measured=not pages)
    warm_up = len(pages)
    for pair in range(options.pairs):
        take_round(measured=pair % LOG_EVERY == 0)  # as in the training loop
    seconds = {name: taken[warm_up:] for name, taken in seconds.items()}
    print(f"{warm_up} rounds to warm up; pages of fresh memory in each round: {pages}")
    rows = []
    for name in names[1:]:
        pairs = list(zip(seconds[name], seconds["standard"], strict=True))
        steps = [one[1] / standard[1] for one, standard in pairs]
        rows.append(
            {
                "gradient": name,
                "passes": statistics.median(one[0] / standard[0] for one, standard in pairs),
                "step": statistics.median(steps),
                "shortest": min(one[1] for one, _ in pairs) / min(standard[1] for _, standard in pairs),
                "quartiles": statistics.quantiles(steps, n=4) if len(steps) > 1 else steps * 3,
                "floor": gradients[name][1],
                "ratios": steps,
                "standard_seconds": statistics.median(standard[1] for _, standard in pairs),
            }
        )
    quarter = next((row["step"] for row in rows if row["gradient"] == "a = b/4"), None)
    if quarter is not None:  # steps that are not SAM's are standard steps
        for name, share in (("a = b/4, every 4", 1 / 4), ("a = b/4, from 0.7", 0.3)):
            rows.append({"gradient": name, "step": 1 + share * (quarter - 1), "floor": 1 + share / 4})
    return rows


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument(
        "--settings", type=numbers_like("32x64/8"), nargs="+", default=[(32, 32, 8), (8, 32, 8), (32, 128, 8)]
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=20,
        help=f"measured rounds, after {WARM_UP} to {MOST_WARM_UP} that are not",
    )
    parser.add_argument("--only", nargs="+", metavar="GRADIENT", help='such as "a = b/4" "previous"')
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    record = []
    for sizes in options.settings:
        rows = measure(options, sizes)
        size, inputs, targets = sizes
        table = Table(
            title=f"{options.shape}, batch {size}, {inputs}/{targets} tokens, {precision_of(options)}, "
            f"{options.device}: times standard training"
        )
        for column in ("gradient", "passes", "whole step", "quartiles", "shortest", "floor"):
            table.add_column(column, justify="right")
        for row in rows:
            known = "passes" in row
            table.add_row(
                row["gradient"],
                f"{row['passes']:.2f}" if known else "computed",
                f"{row['step']:.3f}",
                f"{row['quartiles'][0]:.2f} to {row['quartiles'][2]:.2f}" if known else "",
                f"{row['shortest']:.3f}" if known else "",
                f"{row['floor']:.3f}",
            )
        Console().print(table)
        record += [row | {"shape": options.shape, "batch": size, "tokens": [inputs, targets]} for row in rows]
    finish("overhead", record, options.json)


if __name__ == "__main__":
    main()

"""What rounding the numbers of tokens saves where batches have many lengths: processor time and memory.

    python benchmarks/bench_lengths.py [--shape t5-v1_1-small] [--steps 100] [--rounds 2]

SAM steps on batches of inputs and targets of random lengths, each way in a process of its own: with the
padding that rounds the numbers of tokens up, and with real tokens alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median
from typing import Any

import psutil
import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, sam_of
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lowland.models import packed
from lowland.train import TrainSettings, keep_freed_memory
from lowland.train.optimizers import build_optimizer

WARM_UP = 5
WAYS = ("real tokens alone", "rounded")


def ragged(model: Any, options: argparse.Namespace, seed: int) -> dict[str, Tensor]:
    """Makes a batch of inputs of 8 tokens to the longest, and of targets of 2 to the longest."""
    batch = batch_of(model, options.batch_size, options.input_length, options.target_length, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, least, padding in (("attention_mask", 8, 0), ("labels", 2, -100)):
        rows, longest = batch[name].shape
        lengths = torch.randint(least, longest + 1, (rows, 1), generator=generator)
        batch[name][torch.arange(longest)[None] >= lengths] = padding
    return batch


def measure(options: argparse.Namespace) -> tuple[float, int]:
    """Trains; gives the processor seconds of a step and the memory of the process at the end, in bytes."""
    keep_freed_memory()
    if options.way == WAYS[0]:
        packed._rounded = lambda tokens, least: tokens
    device = torch.device(options.device)
    model = model_of(options.shape, device)
    loss_fn = loss_of(model, precision_of(options) == "bf16")
    sam = sam_of(loss_fn.module)
    optimizer = build_optimizer(model, TrainSettings(learning_rate=1e-4))
    start = 0.0
    for step in range(options.steps):
        if step == WARM_UP:
            start = time.process_time()
        sam(loss_fn, ragged(model, options, step))
        optimizer.step()
        optimizer.zero_grad()
    seconds = (time.process_time() - start) / (options.steps - WARM_UP)
    return seconds, psutil.Process().memory_info().rss


def main() -> None:
    """Measures both ways in turn and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-length", type=int, default=64, help="tokens of the longest input")
    parser.add_argument("--target-length", type=int, default=8, help="tokens of the longest target")
    parser.add_argument("--steps", type=int, default=100, help=f"of which {WARM_UP} are not timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help="measure this way alone, in this process")
    options = parser.parse_args()
    if options.way is not None:
        print(*measure(options))
        return
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            words = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            seconds, memory = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
            found[way].append((float(seconds), int(memory)))
    table = Table(
        title=f"{options.shape}, batch {options.batch_size}, {options.steps} SAM steps, {options.device}"
    )
    for column in ("", "processor ms a step", "MB at the end"):
        table.add_column(column, justify="right" if column else "left")
    for way, values in found.items():
        seconds, memory = zip(*values, strict=True)
        table.add_row(
            way,
            f"{1000 * median(seconds):.0f} ({1000 * min(seconds):.0f} to {1000 * max(seconds):.0f})",
            f"{median(memory) / 1e6:,.0f} ({min(memory) / 1e6:,.0f} to {max(memory) / 1e6:,.0f})",
        )
    Console().print(table)
    rows = [
        {"way": way, "seconds_and_bytes": values, "shape": options.shape} for way, values in found.items()
    ]
    finish("lengths", rows, options.json)


if __name__ == "__main__":
    main()

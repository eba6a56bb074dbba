"""What a step costs under other implementations of SAM, on the same model, data and base optimizer.

    python benchmarks/bench_peers.py [--shape t5-v1_1-small] [--batch-size 32] [--input-length 64]

Each climbs on a quarter of the batch where it can, and on all of it, as users of the libraries do. The peers
are those of the conformance suite; pytorch-optimizer is where `make conformance` puts it, or is left out.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, sam_of, timed
from rich.console import Console
from rich.table import Table

from lowland import StandardGradient
from lowland.train.machine import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "build" / "conformance")]


def steps_of(module: torch.nn.Module, loss_fn: Any, size: int) -> dict[str, Callable[[Any], None]]:
    """Gives a step of training for each implementation; all train the same weights by AdamW."""
    from tests.conformance.implementations import Plain, PytorchOptimizer

    def by_gradient(gradient: StandardGradient) -> Callable[[Any], None]:
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

        def step(batch: Any) -> None:
            gradient(loss_fn, batch)
            optimizer.step()
            optimizer.zero_grad()

        return step

    quarter = size // 4
    steps = {
        "standard": by_gradient(StandardGradient(module)),
        "lowland, a = b/4": by_gradient(sam_of(module, ascent_examples=quarter)),
        "lowland, a = b/4, measured": by_gradient(sam_of(module, measure=True, ascent_examples=quarter)),
        "lowland, a = b": by_gradient(sam_of(module, ascent=1.0)),
    }
    peers: list[Any] = [Plain()]
    if importlib.util.find_spec("pytorch_optimizer") is not None:
        peers.insert(0, PytorchOptimizer())
    else:
        print("pytorch-optimizer is not there and left out; `make conformance` installs it.", file=sys.stderr)
    for peer in peers:
        for name, a in (("b/4", quarter), ("b", size)):
            training = peer.start(module, rho=0.05, a=a, base=torch.optim.AdamW, lr=1e-4)
            title = f"{peer.name} {peer.version()}".strip()
            steps[f"{title}, a = {name}"] = lambda batch, training=training: training.step(loss_fn, batch)
    return steps


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-length", type=int, default=32)
    parser.add_argument("--target-length", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=10, help="measured rounds, after two that are not")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    device = torch.device(options.device)
    model = model_of(options.shape, device)
    loss_fn = loss_of(model, precision_of(options) == "bf16")
    steps = steps_of(loss_fn.module, loss_fn, options.batch_size)
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for pair in range(-2, options.pairs):
        batch = batch_of(model, options.batch_size, options.input_length, options.target_length, pair + 2)
        for name in names[pair % len(names) :] + names[: pair % len(names)]:
            taken = timed(device, lambda name=name, batch=batch: steps[name](batch))
            if pair >= 0:
                seconds[name].append(taken)

    table = Table(
        title=f"{options.shape}, batch {options.batch_size}, {options.input_length}/{options.target_length} "
        f"tokens, {precision_of(options)}, AdamW, {options.device}: a whole step, times standard training"
    )
    for column in ("implementation", "step", "range"):
        table.add_column(column, justify="left" if column == "implementation" else "right")
    rows = []
    for name in names[1:]:
        ratios = [one / standard for one, standard in zip(seconds[name], seconds["standard"], strict=True)]
        rows.append(
            {"name": name, "step": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
        )
        table.add_row(name, f"{rows[-1]['step']:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}")
    Console().print(table)
    finish("peers", rows, options.json)


if __name__ == "__main__":
    main()

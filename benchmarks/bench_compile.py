"""What `torch.compile` gives and costs: first calls, passes after them, and the steps that pay it back.

    python benchmarks/bench_compile.py [--shape t5-v1_1-small] [--precision fp32]

A pass computes the loss of a batch and the gradient. The eager and the compiled module have the same weights
and are called in turn; the compiled one is first called once, and again when the length changes first.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch
from common import SHAPES, batch_of, finish, loss_of, model_of, parser_of, precision_of, timed
from rich.console import Console
from rich.table import Table

from lowland.train.machine import keep_freed_memory


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=["embedded"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-lengths", type=int, nargs=2, default=[32, 24])
    parser.add_argument("--target-length", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    keep_freed_memory()
    device, precision = torch.device(options.device), precision_of(options)
    table = Table(title=f"batch {options.batch_size}, {options.target_length} target tokens, {precision}")
    columns = (
        "model", "eager, ms", "compiled, ms", "first call, s", "second length, s", "pays after, passes"
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    rows = []
    for shape in options.shape:
        model = model_of(shape, device)
        eager, compiled = (loss_of(model, precision == "bf16") for _ in range(2))
        compiled.module = torch.compile(compiled.module)  # type: ignore[assignment]
        batches = [
            batch_of(model, options.batch_size, length, options.target_length)
            for length in options.input_lengths
        ]

        def step(loss: Any, batch: Any, model: Any = model) -> None:
            loss(batch).backward()
            model.zero_grad()

        step(eager, batches[0])
        first, second = (timed(device, partial(step, compiled, batch)) for batch in batches)
        seconds: dict[str, list[float]] = {"eager": [], "compiled": []}
        for turn in range(options.rounds):
            batch = batches[turn % 2]
            for name, loss in (("eager", eager), ("compiled", compiled)):
                seconds[name].append(timed(device, partial(step, loss, batch)))
        middle = {name: median(values) for name, values in seconds.items()}
        gain = middle["eager"] - middle["compiled"]
        pays = (first + second) / gain if gain > 0 else None
        row = {"shape": shape, "precision": precision, **middle, "first": first, "second": second}
        rows.append(row | {"pays_after": pays})
        table.add_row(
            shape,
            *(f"{1000 * middle[name]:.0f}" for name in ("eager", "compiled")),
            f"{first:.0f}",
            f"{second:.0f}",
            "never" if pays is None else f"{pays:.0f}",
        )
    Console().print(table)
    finish("compile", rows, options.json)


if __name__ == "__main__":
    main()

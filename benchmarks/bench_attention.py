"""The products of attention in a training step: lowland's beside torch's fused ones.

    python benchmarks/bench_attention.py [--settings 32x6x512 32x6x64]

Forward and backward, with T5's additive bias, with and without dropout; the bias of the first layer needs a
gradient, that of padding none.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from common import finish, numbers_like, parser_of, precision_of, timed
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lowland.train import keep_freed_memory

WIDTH, WARM_UP = 64, 2


def plain(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Attends as `models/packed.py` does."""
    scores = query @ key.transpose(2, 3) + bias
    weights = torch.nn.functional.dropout(scores.softmax(-1).to(value.dtype), dropout)
    return weights @ value


def fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Attends as torch does it best."""
    mask = bias.to(query.dtype).expand(len(query), -1, -1, -1)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=1.0)


def milliseconds(
    attend: Callable[..., Tensor], tensors: list[Tensor], dropout: float, device: torch.device, rounds: int
) -> float:
    """Times forward and backward passes; gives the median."""

    def passes() -> None:
        attend(*tensors, dropout).float().square().mean().backward()

    times = []
    for number in range(-WARM_UP, rounds):
        seconds = timed(device, passes)
        for tensor in tensors:
            tensor.grad = None
        if number >= 0:
            times.append(1000 * seconds)
    return statistics.median(times)


def main() -> None:
    """Measures and prints."""
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument(
        "--settings", type=numbers_like("32x6x512"), nargs="+", default=[(32, 6, 512), (32, 6, 64)]
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if precision_of(options) == "bf16" else torch.float32
    rows = []
    table = Table(title=f"Attention forward and backward, ms, {precision_of(options)}, {options.device}")
    for column in ("examples, heads, tokens", "bias learns", "dropout", "plain", "fused"):
        table.add_column(column, justify="right")
    for examples, heads, tokens in options.settings:
        for learns in (True, False):
            for dropout in (0.1, 0.0):
                generator = torch.Generator().manual_seed(0)
                tensors = [
                    torch.randn(examples, heads, tokens, WIDTH, generator=generator)
                    .to(device, dtype)
                    .requires_grad_()
                    for _ in range(3)
                ]
                bias = torch.randn(1, heads, tokens, tokens, generator=generator).to(device)
                tensors.append(bias.requires_grad_(learns))
                found = [
                    milliseconds(way, tensors, dropout, device, options.rounds) for way in (plain, fused)
                ]
                rows.append(
                    {"examples": examples, "heads": heads, "tokens": tokens, "bias_learns": learns,
                     "dropout": dropout, "plain_ms": found[0], "fused_ms": found[1]}
                )  # fmt: skip
                shape = f"{examples}, {heads}, {tokens}"
                table.add_row(shape, str(learns), f"{dropout:g}", *(f"{value:.1f}" for value in found))
    Console().print(table)
    finish("attention", rows, options.json)


if __name__ == "__main__":
    main()

"""Which examples the ascent uses, and how m-sharpness cuts a batch into points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from lowland.batches.batch import batch_size, cut
from lowland.parameters.parallel import Replicas
from lowland.sam.config import SAMConfig


def ascent_size(config: SAMConfig, size: int, processes: int = 1) -> int:
    """Computes a of `size` examples on this process: the multiple of m nearest to what settings ask for."""
    m = config.m
    if size < m:
        raise ValueError(f"A batch of {size} examples cannot be cut for m={m} points.")
    number = config.ascent_examples
    examples = config.ascent * size if number is None else number / processes
    return m * max(1, min(round(examples / m), size // m))


def points(
    config: SAMConfig,
    pieces: Sequence[Any],
    count: Callable[[Any], Tensor | int | float],
    replicas: Replicas,
) -> Iterator[tuple[list[Any], list[Any], float]]:
    """Cuts the micro-batches of a batch for the points of m-sharpness.

    Yields:
        For each point the micro-batches of its ascent examples M, those that it descends on, and its share of
        the gradient.

    Source:
        `share` as in Foret et al. (2021), `full` as in the paper's ablation of m.
    """
    size = sum(batch_size(piece) for piece in pieces)
    m = config.m
    group = ascent_size(config, size, replicas.size) // m
    if m == 1:
        yield cut(pieces, 0, group), list(pieces), 1.0
    elif config.descent == "full":
        for point in range(m):
            yield cut(pieces, point * group, (point + 1) * group), list(pieces), 1.0 / m
    else:
        ends = [size * point // m for point in range(m + 1)]
        shares = [cut(pieces, start, stop) for start, stop in pairwise(ends)]
        counts = [replicas.sum(sum(float(count(piece)) for piece in share)) for share in shares]
        for share, weight in zip(shares, counts, strict=True):
            yield cut(share, 0, group), share, weight / sum(counts) if any(counts) else 1.0 / m

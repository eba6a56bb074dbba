"""Seeds: one stream for every source of chance, so that arms differ in nothing but the gradient."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

Stream: TypeAlias = Literal[
    "initialisation", "order", "dropout", "subsample", "held-out", "label-noise", "sharpness"
]


def derive_seed(seed: int, stream: Stream) -> int:
    """Derives a stream's own seed, in [0, 2**63), from the run's seed, which all its arms share."""
    digest = hashlib.sha256(f"{stream}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_dropout(seed: int, process: int = 0) -> None:
    """Seeds torch's global streams, from which dropout masks are drawn; every process has its own."""
    import torch

    torch.manual_seed(derive_seed(seed, "dropout") + process)

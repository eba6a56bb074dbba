"""Many verdicts at once: how often chance alone makes one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p values so that, of all verdicts below 5%, one or more is false in at most 5% of experiments.

    The verdicts may depend on each other in any way, as outcomes of the same runs do.

    Args:
        p_values: One for each verdict; nan where there is none, which stays nan and does not count.

    Returns:
        The adjusted p values, in the same order, none smaller than before.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    p = np.asarray(p_values, dtype=float)
    tested = [int(index) for index in np.argsort(p) if not math.isnan(p[index])]
    adjusted = p.copy()
    highest = 0.0
    for rank, index in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * float(p[index])))
        adjusted[index] = highest
    return [float(value) for value in adjusted]

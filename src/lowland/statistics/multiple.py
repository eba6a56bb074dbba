"""Many verdicts at once: how often chance alone makes one of them."""

from __future__ import annotations

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
    adjusted = np.array(p_values, dtype=float)
    order = np.argsort(adjusted)[: np.count_nonzero(~np.isnan(adjusted))]  # nan sorts last
    grown = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(grown), 1.0)
    return [float(value) for value in adjusted]

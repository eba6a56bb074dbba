"""Metrics of numbers that a model writes as text: Pearson and Spearman correlation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence


def parse_number(text: str, default: float = -1.0) -> float:
    """Reads a number as Python's `float` does (`4.`, `nan` too); the T5 library takes -1 for others."""
    try:
        return float(text)
    except ValueError:
        return default


def finite_number(text: str) -> float | None:
    """Reads a finite number; `None` for any other text, `nan` and `inf` among them."""
    number = parse_number(text, math.nan)
    return number if math.isfinite(number) else None


def pearson(targets: Sequence[float], predictions: Sequence[float]) -> float:
    """Pearson correlation in percent; `nan` where a side is constant, not finite, or shorter than two."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, targets, predictions)


def spearman(targets: Sequence[float], predictions: Sequence[float]) -> float:
    """Spearman rank correlation (average ranks for ties) in percent; `nan` where it is not defined."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, targets, predictions)


def of_predictions(
    function: Callable[[Sequence[float], Sequence[float]], float],
    targets: Sequence[float],
    predictions: Sequence[float],
) -> float:
    """Scores predictions by a correlation: the same number for all of them correlates with nothing, and is 0.

    A run that ends so is a bad run, not one without a score.
    """
    if len(set(predictions)) == 1 and len(set(targets)) > 1:
        return 0.0
    return function(targets, predictions)


def _correlation(
    function: Callable[..., tuple[float, float]], targets: Sequence[float], predictions: Sequence[float]
) -> float:
    if len(targets) != len(predictions):
        raise ValueError(f"Got {len(targets)} targets and {len(predictions)} predictions.")
    if len(targets) < 2:
        return math.nan
    # scipy warns of a constant or infinite side; the nan it returns says the same.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 100 * float(function(list(targets), list(predictions))[0])

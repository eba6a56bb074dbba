"""Metrics of classes and of numbers, in percent; `nan` without examples.

Classes are whole numbers from 0; a prediction that names no class is -1. scikit-learn and scipy are imported
where they are used: they take a second to load.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence


def accuracy(targets: Sequence[object], predictions: Sequence[object]) -> float:
    """Percentage of predictions that equal their target."""
    if not targets:
        return math.nan
    right = sum(target == prediction for target, prediction in zip(targets, predictions, strict=True))
    return 100 * right / len(targets)


def binary_f1(targets: Sequence[int], predictions: Sequence[int]) -> float:
    """F1 of class 1, 0 where neither side has it; a prediction that is neither 0 nor 1 is always wrong.

    Source: `f1_score_with_invalid` of the T5 library.
    """
    pairs = zip(targets, predictions, strict=True)
    return macro_f1(targets, [text if text in (0, 1) else 1 - target for target, text in pairs], [1])


def macro_f1(targets: Sequence[int], predictions: Sequence[int], classes: Sequence[int]) -> float:
    """Unweighted mean of the F1 of these classes; one that never occurs counts as 0.

    Source: `mean_multiclass_f1` of the T5 library.
    """
    from sklearn.metrics import f1_score

    if not targets:
        return math.nan
    labels = list(classes)
    return 100 * float(f1_score(targets, predictions, labels=labels, average="macro", zero_division=0.0))


def matthews(targets: Sequence[int], predictions: Sequence[int]) -> float:
    """Matthews correlation; an invalid prediction is a class of its own, and a constant side gives 0."""
    from sklearn.metrics import matthews_corrcoef

    if not targets:
        return math.nan
    # scikit-learn warns of a single label, where the correlation is 0 by definition.
    if len({*targets, *predictions}) == 1:
        return 0.0
    return 100 * float(matthews_corrcoef(targets, predictions))


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
    """Pearson correlation; `nan` where a side is constant, not finite, or shorter than two."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, targets, predictions)


def spearman(targets: Sequence[float], predictions: Sequence[float]) -> float:
    """Spearman rank correlation (average ranks for ties); `nan` where it is not defined."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, targets, predictions)


def _correlation(
    function: Callable[..., tuple[float, float]], targets: Sequence[float], predictions: Sequence[float]
) -> float:
    if len(targets) == len(predictions) < 2:
        return math.nan
    # scipy warns of a constant or infinite side; the nan it returns says the same.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 100 * float(function(list(targets), list(predictions))[0])

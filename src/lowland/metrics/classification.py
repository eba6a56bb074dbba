"""Metrics of classes: accuracy, F1, macro F1 and Matthews correlation.

Classes are whole numbers from 0; a prediction that names no class is -1. All are `nan` without examples.
scikit-learn is imported where it is used: it takes a second to load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def accuracy(targets: Sequence[object], predictions: Sequence[object]) -> float:
    """Percentage of predictions that equal their target."""
    if not targets:
        return math.nan
    right = sum(target == prediction for target, prediction in zip(targets, predictions, strict=True))
    return 100 * right / len(targets)


def binary_f1(targets: Sequence[int], predictions: Sequence[int]) -> float:
    """F1 of class 1, 0 where neither side has it; a prediction that is neither 0 nor 1 is always wrong.

    Source:
        `f1_score_with_invalid` of the T5 library.
    """
    valid = [
        prediction if prediction in (0, 1) else 1 - target
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    return macro_f1(targets, valid, [1])


def macro_f1(targets: Sequence[int], predictions: Sequence[int], classes: Sequence[int]) -> float:
    """Unweighted mean of the F1 of these classes; one that never occurs counts as 0.

    Source:
        `mean_multiclass_f1` of the T5 library.
    """
    from sklearn.metrics import f1_score

    if not targets:
        return math.nan
    return 100 * float(
        f1_score(targets, predictions, labels=list(classes), average="macro", zero_division=0.0)
    )


def matthews(targets: Sequence[int], predictions: Sequence[int]) -> float:
    """Matthews correlation; an invalid prediction is a class of its own, and a constant side gives 0.

    Source:
        CoLA's metric in the T5 library, which is scikit-learn's `matthews_corrcoef`.
    """
    from sklearn.metrics import matthews_corrcoef

    if not targets:
        return math.nan
    # scikit-learn warns of a single label, where the correlation is 0 by definition.
    if len({*targets, *predictions}) == 1:
        return 0.0
    return 100 * float(matthews_corrcoef(targets, predictions))

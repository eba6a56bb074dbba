"""The likelihood of the right answer, and whether a model's confidence is to be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from lowland.outcomes.base import Outcome


def _loss(name: str, unit: str, margin: float, ceiling: float | None = 0.0) -> Outcome:
    return Outcome(name=name, unit=unit, better="lower", margin=margin, ceiling=ceiling)


ANSWER_LOSS = _loss("loss of an answer", "nats", 0.02)  # mean negative log-likelihood of the right answer
TOKEN_LOSS = _loss("loss of a token", "nats", 0.02)  # the same of one of its tokens
BRIER = _loss("Brier score", "", 0.005)  # mean squared distance of the labels' probabilities, from 0 to 2
CALIBRATION = _loss("calibration error", "points", 0.5)  # distance of confidence and share of right answers
# The rise of the loss on general text over the model before fine-tuning.
FORGETTING = _loss("forgetting", "nats a token", 0.02, ceiling=None)
OUTCOMES = (ANSWER_LOSS, TOKEN_LOSS, BRIER, CALIBRATION)

BINS = 15

Bin = dict[str, float]
"""Confidence above `low` up to `high`; number of `answers`, their mean `confidence` and share `right`."""


def measure_answers(log_likelihoods: ArrayLike, tokens: Sequence[int] | None) -> dict[str, float]:
    """Measures the mean loss in nats of right answers `# (examples,)`, and of their tokens, if any."""
    values = _filled(log_likelihoods, 1)
    measured = {ANSWER_LOSS.name: -float(values.mean())}
    if tokens is not None:
        measured[TOKEN_LOSS.name] = -float(values.sum() / np.sum(tokens))
    return measured


def measure_labels(
    log_likelihoods: ArrayLike, targets: Sequence[int], tokens: Sequence[int] | None
) -> tuple[dict[str, float], list[Bin]]:
    """Measures likelihood, Brier score and calibration from the log-likelihoods of the labels.

    Args:
        log_likelihoods: Of every label as the answer to each example, in nats. `# (examples, labels)`
        targets: Number of the right label. `# (examples,)`
        tokens: Tokens of each label, the end included; `None` for a model that writes none. `# (labels,)`

    Returns:
        Outcome -> value, and the bins of the reliability diagram.

    Source:
        Brier, "Verification of forecasts expressed in terms of probability" (1950): the sum over labels,
        which for two labels is twice the other form in use; 0 is perfect, 2 is sure and wrong.
    """
    values, right = _filled(log_likelihoods, 2), np.asarray(targets, dtype=int)
    probabilities = softmax(values, axis=1)
    of_right = values[np.arange(len(right)), right]
    measured = measure_answers(of_right, None if tokens is None else np.asarray(tokens)[right].tolist())
    measured[BRIER.name] = float(((probabilities - np.eye(values.shape[1])[right]) ** 2).sum(1).mean())
    measured[CALIBRATION.name], bins = calibration(probabilities, targets)
    return measured, bins


def calibration(
    probabilities: ArrayLike, targets: Sequence[int], bins: int = BINS
) -> tuple[float, list[Bin]]:
    """Computes the expected calibration error in points, and its bins from low to high confidence.

    Confidence is the probability of the likeliest label. Answers are put in bins of equal width; the error
    is the mean over answers of the distance between their bin's mean confidence and share of right ones.

    Source:
        Guo et al., "On calibration of modern neural networks" (2017).
    """
    values = _filled(probabilities, 2)
    confidence = values.max(1)
    right = values.argmax(1) == np.asarray(targets, dtype=int)
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)  # an edge belongs to the bin below it
    counts = np.bincount(place, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    confidences = np.bincount(place, weights=confidence, minlength=bins) / filled
    shares = np.bincount(place, weights=right, minlength=bins) / filled
    distance = np.nan_to_num(np.abs(confidences - shares))
    columns = ("low", "high", "answers", "confidence", "right")
    rows = zip(*(of.tolist() for of in (edges[:-1], edges[1:], counts, confidences, shares)), strict=True)
    error = 100 * float((counts * distance).sum() / len(values))
    return error, [dict(zip(columns, row, strict=True)) for row in rows]


def _filled(values: ArrayLike, dimensions: int) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"Expected some numbers in {dimensions}D, not an array of shape {array.shape}.")
    return array

"""The likelihood of the right answer, and whether a model's confidence is to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from lowland.outcomes.base import Outcome

ANSWER_LOSS = Outcome(
    name="loss of an answer",
    unit="nats",
    better="lower",
    margin=0.02,
    description="mean negative log-likelihood of the right answer",
    ceiling=0.0,
)
TOKEN_LOSS = Outcome(
    name="loss of a token",
    unit="nats",
    better="lower",
    margin=0.02,
    description="mean negative log-likelihood of a token of the right answer",
    ceiling=0.0,
)
BRIER = Outcome(
    name="Brier score",
    unit="",
    better="lower",
    margin=0.005,
    description="mean squared distance of the labels' probabilities from the right ones, from 0 to 2",
    ceiling=0.0,
)
CALIBRATION = Outcome(
    name="calibration error",
    unit="points",
    better="lower",
    margin=0.5,
    description="mean distance between confidence and share of right answers, over bins of confidence",
    ceiling=0.0,
)
FORGETTING = Outcome(
    name="forgetting",
    unit="nats a token",
    better="lower",
    margin=0.02,
    description="rise of the loss on general text over the model before fine-tuning",
)
OUTCOMES = (ANSWER_LOSS, TOKEN_LOSS, BRIER, CALIBRATION)

BINS = 15


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The answers of like confidence.

    Attributes:
        low: Least confidence, excluded but for 0.
        high: Largest confidence, included.
        answers: How many answers there are.
        confidence: Their mean confidence; nan without any.
        right: Share of right ones; nan without any.
    """

    low: float
    high: float
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether confidence is to be believed.

    Attributes:
        error: Expected calibration error in points, 0 to 100.
        bins: The reliability diagram's bins, from low to high confidence.
    """

    error: float
    bins: tuple[Bin, ...]


def measure_labels(
    log_likelihoods: ArrayLike, targets: Sequence[int], tokens: Sequence[int] | None
) -> tuple[dict[str, float], Calibration]:
    """Measures all of it from the log-likelihoods of the labels.

    Args:
        log_likelihoods: Of every label as the answer to each example, in nats. `# (examples, labels)`
        targets: Number of the right label. `# (examples,)`
        tokens: Tokens of each label, the end included; `None` for a model that writes none. `# (labels,)`

    Returns:
        Outcome -> value, for `OUTCOMES`, without the loss of a token where there are none; and the
        calibration with its bins.
    """
    values, right = _filled(log_likelihoods, 2), np.asarray(targets, dtype=int)
    of_right = values[np.arange(len(right)), right]
    probabilities = label_probabilities(values)
    found = calibration(probabilities, targets)
    measured = {ANSWER_LOSS.name: answer_loss(of_right)}
    if tokens is not None:
        measured[TOKEN_LOSS.name] = token_loss(of_right, np.asarray(tokens)[right])
    measured |= {
        BRIER.name: brier(probabilities, targets),
        CALIBRATION.name: found.error,
    }
    return measured, found


def answer_loss(log_likelihoods: ArrayLike) -> float:
    """Computes the mean negative log-likelihood of the right answers, in nats.

    Args:
        log_likelihoods: Of the whole right answer of each example, a sum over its tokens. `# (examples,)`
    """
    return -float(_filled(log_likelihoods, 1).mean())


def token_loss(log_likelihoods: ArrayLike, tokens: ArrayLike) -> float:
    """Computes the mean negative log-likelihood over all tokens of right answers, in nats.

    Args:
        log_likelihoods: Of the whole right answer of each example. `# (examples,)`
        tokens: Tokens of each answer, the end included. `# (examples,)`
    """
    return -float(_filled(log_likelihoods, 1).sum() / _filled(tokens, 1).sum())


def label_probabilities(log_likelihoods: ArrayLike) -> np.ndarray:
    """Turns the log-likelihoods of the labels into probabilities that sum to 1.

    Args:
        log_likelihoods: Of every label as the answer to each example. `# (examples, labels)`

    Returns:
        Probabilities. `# (examples, labels)`
    """
    values = _filled(log_likelihoods, 2)
    probabilities: np.ndarray = np.exp(values - logsumexp(values, axis=1, keepdims=True))
    return probabilities


def brier(probabilities: ArrayLike, targets: Sequence[int]) -> float:
    """Computes the Brier score: 0 is perfect, 2 is sure and wrong.

    Args:
        probabilities: Of every label. `# (examples, labels)`
        targets: Number of the right label. `# (examples,)`

    Source:
        Brier, "Verification of forecasts expressed in terms of probability" (1950): the sum over labels,
        which for two labels is twice the other form in use.
    """
    values = _filled(probabilities, 2)
    right = np.eye(values.shape[1])[np.asarray(targets, dtype=int)]
    return float(((values - right) ** 2).sum(1).mean())


def calibration(probabilities: ArrayLike, targets: Sequence[int], bins: int = BINS) -> Calibration:
    """Computes the expected calibration error: how far confidence is from the share of right answers.

    Confidence is the probability of the likeliest label. Answers are put in bins of equal width; the error
    is the mean over answers of the distance between their bin's mean confidence and share of right ones.
    With few examples it is above 0 even for a perfectly calibrated model, for both arms alike.

    Args:
        probabilities: Of every label. `# (examples, labels)`
        targets: Number of the right label. `# (examples,)`
        bins: Number of bins.

    Returns:
        The error and the bins.

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
    mean_confidence = np.bincount(place, weights=confidence, minlength=bins) / filled
    mean_right = np.bincount(place, weights=right, minlength=bins) / filled
    distance = np.nan_to_num(np.abs(mean_confidence - mean_right))
    return Calibration(
        error=100 * float((counts * distance).sum() / len(values)),
        bins=tuple(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                answers=int(counts[number]),
                confidence=float(mean_confidence[number]),
                right=float(mean_right[number]),
            )
            for number in range(bins)
        ),
    )


def _filled(values: ArrayLike, dimensions: int) -> np.ndarray:
    """Takes numbers as an array of fp64, and refuses an empty one or another shape."""
    array = np.asarray(values, dtype=float)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(
            f"Expected an array with {dimensions} dimension{'s' * (dimensions > 1)} and some numbers, "
            f"not one of shape {array.shape}."
        )
    return array

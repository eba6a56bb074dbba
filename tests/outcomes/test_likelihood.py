"""Likelihood, Brier score and calibration, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from lowland.outcomes import likelihood
from lowland.outcomes.likelihood import OUTCOMES, calibration, measure_answers, measure_labels


def predictions(labels: int, examples: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods of labels, not normalised over them, and the right labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(-3, 2, (examples, labels)), rng.integers(labels, size=examples)


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_brier_and_likelihood_are_scikit_learn_s(labels: int) -> None:
    """The Brier score and the mean loss equal scikit-learn's on the same predictions."""
    values, targets = predictions(labels)
    values -= np.logaddexp.reduce(values, axis=1, keepdims=True)
    everything = list(range(labels))
    measured, _ = measure_labels(values, targets.tolist(), None)
    # Sums of 500 numbers in fp64, in another order.
    assert measured[likelihood.BRIER.name] == pytest.approx(
        brier_score_loss(targets, np.exp(values), labels=everything, scale_by_half=False), rel=1e-12
    )
    assert measured[likelihood.ANSWER_LOSS.name] == pytest.approx(
        log_loss(targets, np.exp(values), labels=everything), rel=1e-12
    )


@pytest.mark.parametrize("labels", [2, 3, 7])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_is_scikit_learn_s(labels: int, bins: int) -> None:
    """Every bin of the reliability diagram is scikit-learn's, and the error their weighted distance."""
    values, targets = predictions(labels)
    probabilities = softmax(values, axis=1)
    error, found = calibration(probabilities, targets.tolist(), bins)
    right = probabilities.argmax(1) == targets
    shares, confidences = calibration_curve(right, probabilities.max(1), n_bins=bins)
    filled = [one for one in found if one["answers"]]
    assert [one["right"] for one in filled] == pytest.approx(shares.tolist(), rel=1e-12)
    assert [one["confidence"] for one in filled] == pytest.approx(confidences.tolist(), rel=1e-12)
    assert sum(one["answers"] for one in found) == 500
    distances = [one["answers"] * abs(s - c) for one, s, c in zip(filled, shares, confidences, strict=True)]
    assert error == pytest.approx(sum(distances) / 5, rel=1e-12)


def test_calibration_by_hand() -> None:
    """Four answers at 0.9, three of them right, and one wrong at 0.6: (4 * 0.15 + 1 * 0.6) / 5 = 24%."""
    probabilities = [[0.9, 0.1]] * 4 + [[0.6, 0.4]]
    error, bins = calibration(probabilities, [0, 0, 0, 1, 1], bins=10)
    assert error == pytest.approx(24.0)
    assert (bins[8]["answers"], bins[8]["right"]) == (4, 0.75)
    assert bins[8]["high"] == pytest.approx(0.9)  # an edge belongs to the bin below it


def test_perfect_and_hopeless() -> None:
    """Sure and right scores 0 everywhere; sure and wrong scores 2 and 100."""
    sure = np.array([[0.0, -800.0], [-800.0, 0.0]])
    measured, _ = measure_labels(sure, [0, 1], [2, 2])
    assert measured == {outcome.name: 0.0 for outcome in OUTCOMES}
    measured, _ = measure_labels(sure, [1, 0], [2, 2])
    assert measured[likelihood.BRIER.name] == 2
    assert measured[likelihood.CALIBRATION.name] == 100
    assert measured[likelihood.ANSWER_LOSS.name] == 800
    assert measured[likelihood.TOKEN_LOSS.name] == 400


@given(st.lists(st.floats(-2000, 0), min_size=2, max_size=6), st.floats(-500, 0))
def test_probabilities_do_not_depend_on_a_common_part(row: list[float], common: float) -> None:
    """What all labels have in common changes neither Brier score nor calibration, nor does it underflow."""
    assume(
        len({round(value, 6) for value in row}) == len(row)
    )  # rounding can make another label the likeliest
    (found, _), (moved, _) = (
        measure_labels([[value + more for value in row]], [0], None) for more in (0.0, common)
    )
    for outcome in (likelihood.BRIER, likelihood.CALIBRATION):
        # Log-likelihoods up to 2,500 are rounded to about 5e-13 each; the second is in percent.
        assert moved[outcome.name] == pytest.approx(found[outcome.name], rel=1e-9, abs=1e-9)


def test_losses_of_answers_and_tokens() -> None:
    """Answers count alike for the one, tokens for the other."""
    measured = {likelihood.ANSWER_LOSS.name: 5, likelihood.TOKEN_LOSS.name: 2}
    assert measure_answers([-2.0, -8.0], [1, 4]) == measured


def test_empty_and_misshapen_input_is_refused() -> None:
    """No examples, or a list where a table is due, are refused."""
    with pytest.raises(ValueError, match="in 2D"):
        calibration([0.5, 0.5], [0])
    with pytest.raises(ValueError, match="some numbers"):
        measure_answers([], None)

"""Scores of classes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.metrics import accuracy
from lowland.outcomes.score import OTHER, score, score_classes
from lowland.statistics import Kind, compare_pairs

LABELS = ["no", "yes", "maybe"]


def test_by_hand() -> None:
    """Precision, recall, F1 and confusion of five answers, one of which is none of the labels."""
    found = score_classes(["no", "no", "yes", "yes", "yes"], ["no", "yes", "yes", "yes", "perhaps"], LABELS)
    no, yes, maybe = found.scores
    assert (no.precision, no.recall, no.examples) == (100, 50, 2)
    assert (yes.precision, yes.recall) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    assert no.f1 == pytest.approx(200 / 3)
    assert (maybe.precision, maybe.recall, maybe.f1, maybe.examples) == (0, 0, 0, 0)
    assert found.columns == (*LABELS, OTHER)
    assert found.confusion == ((1, 1, 0, 0), (0, 2, 0, 1), (0, 0, 0, 0))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "x"])), min_size=1))
def test_confusion_counts_every_answer(answers: list[tuple[str, str]]) -> None:
    """The confusion matrix holds every answer once, and its diagonal is the accuracy."""
    targets, predictions = [pair[0] for pair in answers], [pair[1] for pair in answers]
    found = score_classes(targets, predictions, LABELS)
    assert sum(map(sum, found.confusion)) == len(answers)
    diagonal = sum(row[number] for number, row in enumerate(found.confusion))
    assert 100 * diagonal / len(answers) == pytest.approx(accuracy(targets, predictions))


def test_floor_and_ceiling() -> None:
    """What is no better than one and the same answer learned nothing; at 100% nothing is left to gain."""
    outcome = score("accuracy", floor=70.0)
    assert outcome.judge(compare_pairs([70.0, 70.0], [70.0, 69.0])).kind is Kind.NOTHING_LEARNED
    assert outcome.judge(compare_pairs([100.0], [100.0])).kind is Kind.NOTHING_LEFT


def test_bad_input_is_refused() -> None:
    """Unequal lengths and targets that are no labels are refused."""
    with pytest.raises(ValueError, match="2 targets and 1 predictions"):
        score_classes(["no", "no"], ["no"], LABELS)
    with pytest.raises(ValueError, match="'x' is none of the labels"):
        score_classes(["x"], ["no"], LABELS)

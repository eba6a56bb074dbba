"""ROUGE, BLEU and chrF."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from lowland.errors import UserError
from lowland.metrics import Domain, by_name, metric_names
from lowland.metrics.texts import PACKAGES
from lowland.tasks.custom import CustomTask

TARGETS = ["The cat sat on the mat.", "A dog ran."]
ANSWERS = [["The cat sat on the mat.", "On the mat sat a cat."], ["A dog ran."]]


def score(name: str, predictions: list[str]) -> dict[str, float]:
    """The numbers of a metric; skips where its library is missing."""
    pytest.importorskip(PACKAGES[name])
    return by_name(name).score(TARGETS, predictions, ANSWERS, Domain.of(TARGETS))


def test_rouge_by_hand() -> None:
    """Three of four words are right, of six; the second answer is right but for its case and stop."""
    found = score("rouge", ["the cats sat down", "A DOG ran"])
    assert found["rouge1"] == pytest.approx(100 * (0.6 + 1) / 2)
    assert found["rouge2"] == pytest.approx(100 * (2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5) + 1) / 2)
    assert tuple(found) == by_name("rouge").keys


def test_best_of_several_answers_counts() -> None:
    """A prediction that equals the second right answer scores 100."""
    assert score("rouge", ["On the mat sat a cat.", "A dog ran."])["rouge1"] == pytest.approx(100)
    assert score("bleu", ["On the mat sat a cat.", "A dog ran."])["bleu"] == pytest.approx(100)
    assert score("chrf", ["On the mat sat a cat.", "A dog ran."])["chrf"] == pytest.approx(100)


def test_bleu_by_hand() -> None:
    """One word wrong of ten: BLEU is the geometric mean of the precisions of n-grams, counted by hand."""
    found = score("bleu", ["The cat sat on the hat.", "A dog ran."])["bleu"]
    # Tokens with their stops: 7 and 4. Right n-grams: 10 of 11, 7 of 9, 5 of 7, 3 of 5.
    expected = math.exp(sum(map(math.log, (10 / 11, 7 / 9, 5 / 7, 3 / 5))) / 4)
    assert found == pytest.approx(100 * expected)


def test_case_counts_for_bleu_and_chrf() -> None:
    """BLEU and chrF mind the case, as their descriptions say."""
    lower = [target.lower() for target in TARGETS]
    assert score("bleu", lower)["bleu"] < 100
    assert score("chrf", lower)["chrf"] < 100


def test_no_examples_have_no_score() -> None:
    """Without examples the metrics are not defined."""
    for name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
        assert all(math.isnan(value) for value in by_name(name).score([], [], [], Domain.of([])).values())


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Choosing a metric whose library is missing says what to install, before a file is read."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"'rouge' needs the package rouge-score.*pip install 'lowland\[text\]'"
    ):
        CustomTask("mine", None, tmp_path / "none.csv", "{a}", "{b}", metrics=("rouge",))
    assert set(PACKAGES) <= set(metric_names())

"""Metrics of question answering: exact match and token F1 over the best of several right answers.

Two normalisations exist, those of the official SQuAD and TriviaQA evaluation scripts. Both lower the
case, remove ASCII punctuation and English articles, and collapse white space; SQuAD deletes
punctuation (`U.S.A.` equals `USA`), TriviaQA replaces it by a space (`Jean-Paul` equals `Jean Paul`).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\u2018\u2019\u00b4", " "))


def normalize_squad(text: str) -> str:
    """Normalises an answer as SQuAD's evaluation does: punctuation is deleted, then articles."""
    return _without_articles(text.lower().translate(_DELETE_PUNCTUATION))


def normalize_trivia_qa(text: str) -> str:
    """Normalises an answer as TriviaQA's evaluation does: punctuation and curly quotes become spaces."""
    return _without_articles(text.lower().translate(_SPACE_PUNCTUATION))


def token_f1(target: str, prediction: str) -> float:
    """F1 from 0 to 1 of the bags of words of two normalised texts; 0 where they share none, or have none."""
    target_words, prediction_words = target.split(), prediction.split()
    common = sum((Counter(target_words) & Counter(prediction_words)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction_words), common / len(target_words)
    return 2 * precision * recall / (precision + recall)


def max_over_answers(
    score: Callable[[str, str], float], answers: Sequence[Sequence[str]], predictions: Sequence[str]
) -> float:
    """Mean over questions, in percent, of the best score that a prediction reaches with any right answer.

    Args:
        score: Maps (right answer, prediction) to a score from 0 to 1.
        answers: The right answers of each question, one at least.
        predictions: One prediction a question.

    Raises:
        ValueError: If a question has no right answer.
    """
    if not answers:
        return math.nan
    total = 0.0
    for number, (right, prediction) in enumerate(zip(answers, predictions, strict=True)):
        if not right:
            raise ValueError(f"Question {number} has no right answer, so its prediction cannot be scored.")
        total += max(score(answer, prediction) for answer in right)
    return 100 * total / len(answers)


def squad(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match and token F1 with SQuAD's normalisation: `{"em": ..., "f1": ...}`."""
    return _em_and_f1(normalize_squad, answers, predictions)


def trivia_qa(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match and token F1 with TriviaQA's normalisation: `{"em": ..., "f1": ...}`."""
    return _em_and_f1(normalize_trivia_qa, answers, predictions)


def _em_and_f1(
    normalize: Callable[[str], str], answers: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    right = [[normalize(answer) for answer in question] for question in answers]
    written = [normalize(prediction) for prediction in predictions]
    return {
        "em": max_over_answers(lambda answer, prediction: float(answer == prediction), right, written),
        "f1": max_over_answers(token_f1, right, written),
    }


def _without_articles(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text).split())

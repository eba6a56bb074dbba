"""Metrics of texts, in percent: exact match and token F1 of answers, ROUGE, BLEU and chrF.

Answers are normalised as the scripts of SQuAD and TriviaQA do: lower case, no ASCII punctuation, no
English articles. SQuAD deletes punctuation (`U.S.A.` equals `USA`), TriviaQA replaces it by a space
(`Jean-Paul` equals `Jean Paul`). The libraries of the other metrics come with the extra `text`.
"""

from __future__ import annotations

import importlib.util
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest

from lowland.errors import UserError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\u2018\u2019\u00b4", " "))

PACKAGES = {"rouge": "rouge_score", "bleu": "sacrebleu", "chrf": "sacrebleu"}
"""Metric -> the module that computes it."""

ROUGE_KEYS = ("rouge1", "rouge2", "rougeL")


def normalize_squad(text: str) -> str:
    """Normalises an answer as SQuAD's evaluation does."""
    return _without_articles(text.lower().translate(_DELETE_PUNCTUATION))


def normalize_trivia_qa(text: str) -> str:
    """Normalises an answer as TriviaQA's evaluation does; curly quotes are punctuation, too."""
    return _without_articles(text.lower().translate(_SPACE_PUNCTUATION))


def _without_articles(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text).split())


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
    """Mean over questions of the best score (0 to 1) that a prediction reaches with any right answer.

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


def exact_match(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """Percentage of predictions that equal a right answer, character for character."""
    return max_over_answers(lambda answer, prediction: float(answer == prediction), answers, predictions)


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
    return {"em": exact_match(right, written), "f1": max_over_answers(token_f1, right, written)}


def check_installed(name: str) -> None:
    """Refuses a metric whose library is not installed, before anything is trained."""
    module = PACKAGES.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        raise UserError(
            f"The metric {name!r} needs the package {module.replace('_', '-')}, which is not installed: "
            "pip install 'lowland[text]'."
        )


def rouge(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Computes ROUGE-1, ROUGE-2 and ROUGE-L: means of the F measures of the best right answer, over stems."""
    check_installed("rouge")
    from rouge_score.rouge_scorer import RougeScorer

    if not predictions:
        return dict.fromkeys(ROUGE_KEYS, math.nan)
    scorer = RougeScorer(list(ROUGE_KEYS), use_stemmer=True)
    scores = [scorer.score_multi(list(right), text) for right, text in zip(answers, predictions, strict=True)]
    return {key: 100 * sum(score[key].fmeasure for score in scores) / len(scores) for key in ROUGE_KEYS}


def corpus(name: str, answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """Computes `bleu` or `chrf` of all predictions together, by sacrebleu with its defaults."""
    check_installed(name)
    import sacrebleu

    if not predictions:
        return math.nan
    compute = getattr(sacrebleu, f"corpus_{name}")
    # One stream for each first, second ... answer; who has fewer ends in None.
    streams = [list(stream) for stream in zip_longest(*answers)]
    return float(compute(list(predictions), streams).score)

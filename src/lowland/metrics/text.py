"""Metrics of longer texts: ROUGE, BLEU and chrF, by the libraries in which they are reported.

The libraries come with the extra `text`, and are imported where they are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

from lowland.errors import UserError
from lowland.metrics.domain import Domain

PACKAGES = {"rouge": "rouge_score", "bleu": "sacrebleu", "chrf": "sacrebleu"}
"""Metric -> the module that computes it."""

ROUGE_KEYS = ("rouge1", "rouge2", "rougeL")


def check_installed(name: str) -> None:
    """Refuses a metric whose library is not installed, before anything is trained.

    Args:
        name: Any metric's name.

    Raises:
        UserError: If its library is missing.
    """
    module = PACKAGES.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        package = module.replace("_", "-")
        raise UserError(
            f"The metric {name!r} needs the package {package}, which is not installed: "
            "pip install 'lowland[text]'."
        )


def rouge(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
) -> dict[str, float]:
    """Computes ROUGE-1, ROUGE-2 and ROUGE-L: F measures in percent, of the best right answer, over stems.

    Source:
        The package rouge-score with its stemmer, as summarisation reports it; mean over examples.
    """
    if not targets:
        return dict.fromkeys(ROUGE_KEYS, math.nan)
    scorer = _load("rouge").rouge_scorer.RougeScorer(list(ROUGE_KEYS), use_stemmer=True)
    sums = dict.fromkeys(ROUGE_KEYS, 0.0)
    for right, prediction in zip(answers, predictions, strict=True):
        for key, score in scorer.score_multi(list(right), prediction).items():
            sums[key] += score.fmeasure
    return {key: 100 * sum_ / len(targets) for key, sum_ in sums.items()}


def bleu(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
) -> dict[str, float]:
    """Computes BLEU of all predictions together, in percent.

    Source:
        sacrebleu with its defaults: tokenisation 13a, case as written, exponential smoothing.
    """
    if not targets:
        return {"bleu": math.nan}
    return {"bleu": float(_load("bleu").corpus_bleu(list(predictions), _streams(answers)).score)}


def chrf(
    targets: Sequence[str], predictions: Sequence[str], answers: Sequence[Sequence[str]], task: Domain
) -> dict[str, float]:
    """Computes chrF2 of all predictions together, in percent.

    Source:
        sacrebleu with its defaults: character n-grams up to 6, no words, beta 2.
    """
    if not targets:
        return {"chrf": math.nan}
    return {"chrf": float(_load("chrf").corpus_chrf(list(predictions), _streams(answers)).score)}


def _streams(answers: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Turns the right answers of each example into sacrebleu's streams; who has fewer ends in None."""
    most = max(map(len, answers))
    return [[row[place] if place < len(row) else None for row in answers] for place in range(most)]


def _load(name: str) -> Any:
    check_installed(name)
    module = PACKAGES[name]
    if module == "rouge_score":
        importlib.import_module("rouge_score.rouge_scorer")
    return importlib.import_module(module)

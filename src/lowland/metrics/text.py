"""Metrics of longer texts: ROUGE, BLEU and chrF, by the libraries in which they are reported.

The libraries come with the extra `text`, and are imported where they are used.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from itertools import zip_longest

from lowland.errors import UserError

PACKAGES = {"rouge": "rouge_score", "bleu": "sacrebleu", "chrf": "sacrebleu"}
"""Metric -> the module that computes it."""

ROUGE_KEYS = ("rouge1", "rouge2", "rougeL")


def check_installed(name: str) -> None:
    """Refuses a metric whose library is not installed, before anything is trained.

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


def rouge(answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Computes ROUGE-1, ROUGE-2 and ROUGE-L: F measures in percent, of the best right answer, over stems.

    Source:
        The package rouge-score with its stemmer, as summarisation reports it; mean over examples.
    """
    check_installed("rouge")
    from rouge_score.rouge_scorer import RougeScorer

    if not predictions:
        return dict.fromkeys(ROUGE_KEYS, math.nan)
    scorer = RougeScorer(list(ROUGE_KEYS), use_stemmer=True)
    scores = [scorer.score_multi(list(right), text) for right, text in zip(answers, predictions, strict=True)]
    return {key: 100 * sum(score[key].fmeasure for score in scores) / len(scores) for key in ROUGE_KEYS}


def corpus(name: str, answers: Sequence[Sequence[str]], predictions: Sequence[str]) -> float:
    """Computes `bleu` or `chrf` of all predictions together, in percent.

    Source:
        sacrebleu with its defaults. BLEU: tokenisation 13a, case as written, exponential smoothing. chrF2:
        character n-grams up to 6, no words.
    """
    check_installed(name)
    import sacrebleu

    if not predictions:
        return math.nan
    compute = getattr(sacrebleu, f"corpus_{name}")
    # One stream for each first, second ... answer; who has fewer ends in None.
    streams = [list(stream) for stream in zip_longest(*answers)]
    return float(compute(list(predictions), streams).score)

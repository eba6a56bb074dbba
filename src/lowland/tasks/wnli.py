"""WNLI in the form of WSC: aligning its two sentences finds a pronoun and what the second puts in its place.

Source: `wnli_simple` of the T5 library 0.9.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import Example, Row, Task
from lowland.tasks.winograd import score_referents

PRONOUNS = frozenset(["he", "she", "they", "it", "her", "his", "their", "them", "him"])


def wnli(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes WNLI, for evaluation only: aligning two sentences finds pronoun and candidate."""
    options: Any = {"metrics": ("accuracy",), "companions": ("label",)}
    return Task(write=_write, scorer=score_referents, **options, **common)


def _write(row: Row, split: str) -> list[Example]:
    if fields.has_none(row, "sentence1", "sentence2", "label") or row.get("label") == "":
        return []
    label = fields.class_id(row, ("not_entailment", "entailment"), booleans=True)
    marked, candidate = align(fields.text(row, "sentence1"), fields.text(row, "sentence2"))
    return [Example(inputs=f"wsc: {marked}", targets=candidate, label=-1 if label is None else label)]


def align(premise: str, hypothesis: str) -> tuple[str, str]:
    """Finds WNLI's pronoun in the premise and what the hypothesis puts in its place.

    For every pronoun of the premise, the longest runs of words before and after it that the hypothesis
    holds are counted; the pronoun with most such words is the one, and what stands between the two
    runs in the hypothesis is the candidate.

    Returns:
        The premise with the pronoun in asterisks, and the candidate (empty where none was found).

    Raises:
        UserError: If the premise has no pronoun, or the candidate is not found in the hypothesis.
    """
    premise_words, hypothesis_words = _bare_words(premise), _bare_words(hypothesis)
    pronouns = [index for index, word in enumerate(premise_words) if word in PRONOUNS]
    if not pronouns:
        raise UserError(f"the first sentence has none of the pronouns {', '.join(sorted(PRONOUNS))}.")
    alignments = {index: _align_at(premise_words, hypothesis_words, index) for index in pronouns}
    best = max(pronouns, key=lambda index: alignments[index][0])
    words = premise.split(" ")
    word = words[best]
    pronoun, mark = (word[:-1], f" {word[-1]}") if word.endswith((".", ",", "!", "?")) else (word, "")
    words[best] = f"*{pronoun}*{mark}"
    return " ".join(words), _as_written(alignments[best][1], hypothesis)


def _bare_words(sentence: str) -> list[str]:
    words = [re.sub(r"[.,?!]$", "", word) for word in sentence.strip().lower().split(" ")]
    return [word for word in words if word]


def _align_at(premise: list[str], hypothesis: list[str], index: int) -> tuple[int, str]:
    """Counts the words around a pronoun that the hypothesis holds, and finds the candidate between them."""
    before, after = premise[:index], premise[index + 1 :]
    matched_before = _prefix_found_in(before[::-1], hypothesis[::-1])
    matched_after = _prefix_found_in(after, hypothesis)
    score = matched_before + matched_after
    if score:
        left = [re.escape(word) for word in before[len(before) - matched_before :]]
        right = [re.escape(word) for word in after[:matched_after]]
        # Between both runs; else at the start of the hypothesis; else at its end.
        for pattern in ([*left, "(.+)", *right], ["^(.+)", *right], [*left, "(.+)$"]):
            found = re.search(" ".join(pattern), " ".join(hypothesis))
            if found:
                return score, found.group(1)
    return score, ""


def _prefix_found_in(words: list[str], other: list[str]) -> int:
    """Length of the longest prefix of words whose text is a part of the other words' text."""
    text = " ".join(other)
    for length in range(len(words)):
        if " ".join(words[: length + 1]) not in text:
            return length
    return len(words)


def _as_written(candidate: str, hypothesis: str) -> str:
    """Takes the candidate from its last article on, as the hypothesis writes it, without a possessive s."""
    words = candidate.split(" ")
    start = max((words.index(article) for article in ("a", "an", "the") if article in words), default=0)
    pattern = " ".join(rf"{re.escape(word)}[.,?!]?" for word in words[start:])
    found = re.search(pattern, hypothesis, re.IGNORECASE)
    if not found:
        raise UserError(f"the candidate {candidate!r} is not found in the second sentence.")
    text = found.group(0)
    text = text[:-1] if text.endswith((".", ",", "!", "?")) else text
    return text.removesuffix("'") if text.endswith("'") else text.removesuffix("'s")

"""Pronouns: WSC, DPR and WNLI, written alike: mark a pronoun in the input, name its referent in the target.

Source: `wsc_simple`, `definite_pronoun_resolution_simple` and `wnli_simple` of the T5 library 0.9.4, on WSC
rows that TensorFlow Datasets repaired (`wsc.fixed`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import DataSet, Example, Row, Task
from lowland.tasks.rows import read_text

# fmt: off
DETERMINERS = frozenset([
    "a", "an", "few", "her", "his", "each", "every", "many", "much", "my", "our", "some", "that", "the",
    "their", "these", "this", "those", "which", "whose", "your",
])
# fmt: on

PRONOUNS = frozenset(["he", "she", "they", "it", "her", "his", "their", "them", "him"])

# Ends of two official texts whose word number does not point at the pronoun, and how T5 marks them.
_SPECIAL_ENDS = {
    ' "Good for him," he said. ': ' "Good for X ," he said.',
    " might want to use it , but really for now, what more could they wish for?": (
        " might want to use X , but really for now, what more could they wish for?"
    ),
}


def wsc(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes WSC: trained on rows whose candidate is the referent, scored by whether the model names it."""
    return Task(metrics=("accuracy",), write=_write_wsc, scorer=score_referents, drops_rows=True, **common)


def wnli(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes WNLI, for evaluation only: aligning two sentences finds pronoun and candidate."""
    return Task(metrics=("accuracy",), write=_write_wnli, scorer=score_referents, **common)


def dpr(entry: Mapping[str, Any], *, data: DataSet, **common: Any) -> Task:
    """Makes definite pronoun resolution (Rahman and Ng, 2012), which T5 mixes in with WSC's training rows."""

    def score(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
        return {"accuracy": metrics.accuracy([example.targets for example in examples], predictions)}

    data = replace(data, read=read_blocks)
    return Task(metrics=("accuracy",), write=_write_dpr, scorer=score, data=data, **common)


def _write_wsc(row: Row, split: str) -> list[Example]:
    """Marks the pronoun; for training, only in rows whose candidate is the referent."""
    label = fields.class_id(row, ("False", "True"), booleans=True)
    if split == "train" and label != 1:
        return []
    spans = fields.mapping(row.get("target", row), "target")
    text = fields.text(row, "text")
    candidate = repair_span(text, fields.text(spans, "span1_text"), fields.integer(spans, "span1_index"))
    pronoun_index = fields.integer(spans, "span2_index")
    pronoun = repair_span(text, fields.text(spans, "span2_text"), pronoun_index)
    # Every " X " is replaced, one of the text's own too: the library does so.
    marked = mark_word(text, pronoun, pronoun_index).replace(" X ", f" *{pronoun}* ")
    return [Example(inputs=f"wsc: {marked}", targets=candidate, label=-1 if label is None else label)]


def _write_dpr(row: Row, split: str) -> list[Example]:
    """Marks the pronoun's first occurrence."""
    if "block" in row:  # sentence, pronoun, candidates with a comma between, answer
        lines = fields.text(row, "block").split("\n")
        if len([line for line in lines if line.strip()]) < 4:
            raise UserError("a block has four lines: sentence, pronoun, candidates, answer; is it cut off?")
        sentence, pronoun, target = lines[0], lines[1], lines[3].strip()
    else:
        sentence, pronoun = fields.text(row, "sentence"), fields.text(row, "pronoun")
        candidates = fields.texts(fields.find(row, "candidates"), "candidates")
        number = fields.integer(row, "label")
        if number not in range(len(candidates)):
            raise UserError(f"the field 'label' is {number}, but there are {len(candidates)} candidates.")
        target = candidates[number]
    if not target:
        raise UserError("the answer is empty.")
    marked = re.sub(rf" ({re.escape(pronoun)})( |\.|,)", r" *\1*\2", sentence, count=1)
    return [Example(inputs=f"wsc: {marked}", targets=target)]


def read_blocks(path: Path) -> Iterator[tuple[int, Row]]:
    """Reads DPR's blocks of lines with blank lines between; each row holds its lines under `block`."""
    lines = enumerate((line.rstrip("\r") for line in read_text(path).split("\n")), start=1)
    for filled, block in groupby(lines, key=lambda line: bool(line[1].strip())):
        if filled:
            (first, text), *rest = block
            yield first, {"block": "\n".join([text, *(line for _, line in rest), ""])}


def repair_span(text: str, span: str, index: int) -> str:
    """Repairs a span that does not occur in its text: first letter's case, final full stops, line ends."""
    words = text.split()
    if span in text or not span or not 0 <= index < len(words):
        return span
    first = span[0].lower() if words[index][0].islower() else span[0].upper()
    repaired = (first + span[1:]).rstrip(".").replace("\n", " ")
    return repaired if repaired in text else span


def mark_word(text: str, word: str, index: int) -> str:
    """Writes `X` for the word number `index` of a text, counted between single spaces, not of the first."""
    for end, marked in _SPECIAL_ENDS.items():
        if text.endswith(end):
            return text.removesuffix(end) + marked
    words = text.split(" ")
    if not 0 < index < len(words):
        raise UserError(
            f"the field 'span2_index' is {index}, but it must number a word after the first, of {len(words)}."
        )
    if words[index] != word:
        raise UserError(
            f"the pronoun {word!r} is not word number {index} of the text, which is {words[index]!r}."
        )
    # Without a word after it, T5's join leaves a space at the end.
    return " ".join([" ".join(words[:index]), "X", " ".join(words[index + 1 :])])


def score_referents(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    """Accuracy of "the model named the candidate" against "the candidate is the referent"."""
    named = [
        names_referent(prediction, example.targets)
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    return {"accuracy": metrics.accuracy([example.label for example in examples], named)}


def names_referent(prediction: str, referent: str) -> int:
    """Whether a prediction names the referent: 1, 0, or -1 where nothing but determiners is left of it.

    Case and determiners do not count, and one text's words may be a part of the other's; but `Bob` is
    not `Bob's hat`.
    """
    written, right = _without_determiners(prediction), _without_determiners(referent)
    if not written:
        return -1
    if ("'" in written) != ("'" in right):
        return 0
    written_words, right_words = set(written.split(" ")), set(right.split(" "))
    return int(written_words <= right_words or right_words <= written_words)


def _without_determiners(text: str) -> str:
    return " ".join(word for word in text.strip().lower().split(" ") if word not in DETERMINERS)


def _write_wnli(row: Row, split: str) -> list[Example]:
    if fields.has_none(row, "sentence1", "sentence2", "label") or row.get("label") == "":
        return []
    label = fields.class_id(row, ("not_entailment", "entailment"), booleans=True)
    marked, candidate = align(fields.text(row, "sentence1"), fields.text(row, "sentence2"))
    return [Example(inputs=f"wsc: {marked}", targets=candidate, label=-1 if label is None else label)]


def align(premise: str, hypothesis: str) -> tuple[str, str]:
    """Marks WNLI's pronoun in the premise, and finds what the hypothesis puts in its place (or nothing).

    For every pronoun of the premise, the longest runs of words before and after it that the hypothesis
    holds are counted; the pronoun with most such words is the one, and what stands between the two
    runs in the hypothesis is the candidate.
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
    words = (re.sub(r"[.,?!]$", "", word) for word in sentence.strip().lower().split(" "))
    return list(filter(None, words))


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

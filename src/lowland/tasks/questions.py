"""Questions with several right answers: closed-book, and TyDiQA-GoldP's on a paragraph.

Closed-book (Roberts et al., 2020), training is on the whole training set and evaluation on what the paper
calls the test set: the official development set of Natural Questions and TriviaQA, and the test set of
WebQuestions. TyDiQA (Clark et al., 2020) has one training set, and an evaluation set for each language.

Source: t5_closed_book_qa of google-research, and `xquad` of google-research/multilingual-t5.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import regex

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Task
from lowland.tasks.rows import place, read_rows

ANSWERS = ("answer", "answers", "Answer", "targetValue")
"""Names of the field that holds the right answers."""

# RE2, with which T5 cuts text, knows ASCII white space only.
_SPACE = regex.compile(r"[\t\n\f\r ]+")
_PUNCTUATION = regex.compile(r"([^_\t\n\f\r \p{N}\p{L}\p{M}])")


def closed_book(entry: Mapping[str, Any], *, data: DataSet | None = None, **common: Any) -> Task:
    """Makes a task that writes `<prefix> question: <question>` and expects any of the right answers.

    The target is the first answer, or TriviaQA's own value. For the split `test`, a row needs no answers.
    """
    prefix = entry["prefix"]

    def write(row: Row, split: str) -> list[Example]:
        inputs = f"{prefix} question: {fields.text(row, 'question', 'Question', 'utterance')}"
        if split == "test" and not any(name in row for name in ANSWERS):
            return [Example(inputs=inputs, targets=UNLABELLED)]
        target, answers = _right_answers(row)
        if not target.strip():
            raise UserError("the field 'answer' holds no right answer.")
        return [Example(inputs=inputs, targets=target, answers=answers)]

    return Task(
        metrics=("em", "f1"),
        write=write,
        scorer=partial(_score, metrics.trivia_qa if prefix == "trivia_qa" else metrics.squad),
        data=data and replace(data, read=read_questions),
        input_length=38,
        target_length=18,
        **common,
    )


def _score(
    metric: Callable[[Sequence[Sequence[str]], Sequence[str]], dict[str, float]],
    examples: Sequence[Example],
    predictions: Sequence[str],
) -> dict[str, float]:
    return metric([(e.targets,) if e.answers is None else e.answers for e in examples], predictions)


def _right_answers(row: Row) -> tuple[str, tuple[str, ...]]:
    """Takes the target and all right answers from a row of any of the three data sets."""
    value = fields.find(row, *ANSWERS)
    if isinstance(value, Mapping):
        target = fields.text(value, "value", "Value")
        return target, fields.texts(fields.find(value, "aliases", "Aliases"), "aliases") or (target,)
    if "targetValue" in row and isinstance(value, str):
        # WebQuestions' own notation: `(list (description "Jaxon Bieber") (description Rome))`.
        found = re.findall(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()]*))\)', value)
        value = [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in found]
    answers = fields.texts(value, "answer")
    return "".join(answers[:1]), answers


def read_questions(path: Path) -> Iterator[tuple[int, Row]]:
    """Reads a file of questions: JSON, JSON lines, or a TSV of questions and lists as retrievers use them."""
    if path.suffix.lower() != ".tsv":
        yield from read_rows(path)
        return
    for number, row in read_rows(path, columns=("question", "answer"), quoted=True):
        try:
            answers = ast.literal_eval(row["answer"])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UserError(
                f"{place(path, number)}: the second field must be a list of answers such as ['Paris']."
            ) from None
        yield number, {**row, "answer": answers}


def tydiqa(entry: Mapping[str, Any], *, data: DataSet, **common: Any) -> Task:
    """Makes TyDiQA, whose questions belong to the evaluation set of the language that their ids name."""
    languages = tuple(entry["sets"])

    def pick(wanted: str, row: Row) -> Iterator[Row]:
        for question in _flatten(row):
            language = fields.text(question, "id").partition("-")[0]
            if language not in languages:
                raise UserError(f"the field 'id' must begin with a language ({', '.join(languages)}).")
            if language == wanted:
                yield question

    sets = {
        name: replace(split, pick=partial(pick, name.rpartition("/")[2]))
        for name, split in data.evaluation.items()
    }
    return Task(
        metrics=("em", "f1"),
        write=_write_tydiqa,
        scorer=partial(_score, metrics.squad),
        input_length=1024,
        target_length=512,
        data=replace(data, evaluation=sets),
        **common,
    )


def _write_tydiqa(row: Row, split: str) -> list[Example]:
    """Writes an article with all its questions (official files), or one question (the hub's rows).

    An input is `question: <question> context: <paragraph>` with spaces around every punctuation character.
    """
    examples = []
    for question in _flatten(row):
        asked, context = _pad(fields.text(question, "question")), _pad(fields.text(question, "context"))
        inputs = _SPACE.sub(" ", f"question: {asked} context: {context}")
        if split == "test" and "answers" not in question:
            examples.append(Example(inputs=inputs, targets=UNLABELLED))
            continue
        found = fields.find(question, "answers")
        if isinstance(found, Mapping):
            found = fields.find(found, "text")
        elif isinstance(found, list) and found and isinstance(found[0], Mapping):
            found = [fields.text(answer, "text") for answer in fields.mappings(question, "answers")]
        answers = tuple(map(_pad, fields.texts(found, "answers")))
        if not answers:
            raise UserError("the field 'answers' holds no right answer.")
        examples.append(Example(inputs=inputs, targets=answers[0], answers=answers))
    return examples


def _pad(text: str) -> str:
    """Puts spaces around every character that is no letter, mark, number, underscore or ASCII white space."""
    return _SPACE.sub(" ", _PUNCTUATION.sub(r" \1 ", text))


def _flatten(row: Row) -> Iterator[Row]:
    """Yields the questions of a SQuAD-style article, each with its paragraph; a flat row as it is."""
    if "paragraphs" not in row:
        yield row
        return
    for paragraph in fields.mappings(row, "paragraphs"):
        for question in fields.mappings(paragraph, "qas"):
            yield {**question, "context": fields.text(paragraph, "context")}

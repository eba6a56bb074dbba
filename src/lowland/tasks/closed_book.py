"""Closed-book question answering (Roberts et al., 2020): a question in, the answer out, from memory.

Training is on the whole training set and evaluation on what the paper calls the test set: the official
development set of Natural Questions and TriviaQA, and the test set of WebQuestions.

Source: t5_closed_book_qa of google-research.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Task
from lowland.tasks.rows import place, read_rows

ANSWERS = ("answer", "answers", "Answer", "targetValue")
"""Names of the field that holds the right answers."""


def closed_book(entry: Mapping[str, Any], *, data: DataSet | None = None, **common: Any) -> Task:
    """Makes a task that writes `<prefix> question: <question>` and expects any of the right answers.

    The target is the first answer, or TriviaQA's own value. For the split `test`, a row needs no answers.
    """
    prefix = entry["prefix"]
    qa_score = metrics.trivia_qa if prefix == "trivia_qa" else metrics.squad

    def write(row: Row, split: str) -> list[Example]:
        inputs = f"{prefix} question: {fields.text(row, 'question', 'Question', 'utterance')}"
        if split == "test" and not any(name in row for name in ANSWERS):
            return [Example(inputs=inputs, targets=UNLABELLED)]
        target, answers = right_answers(row)
        return [Example(inputs=inputs, targets=target, answers=answers)]

    return Task(
        metrics=("em", "f1"),
        write=write,
        scorer=lambda examples, predictions: qa_score(all_answers(examples), predictions),
        data=data and replace(data, read=read_questions),
        exchanges=data is None,  # facts: a wrong answer is another question's
        input_length=38,
        target_length=18,
        **common,
    )


def all_answers(examples: Sequence[Example]) -> list[Sequence[str]]:
    """Lists the right answers of each question."""
    return [(example.targets,) if example.answers is None else example.answers for example in examples]


def right_answers(row: Row) -> tuple[str, tuple[str, ...]]:
    """Takes the target and all right answers from a row of any of the three data sets.

    Raises:
        UserError: If the answers are missing or empty.
    """
    value = fields.find(row, *ANSWERS)
    if "targetValue" in row and isinstance(value, str):
        answers = _descriptions(value)
    elif isinstance(value, Mapping):
        target = fields.text(value, "value", "Value")
        answers = fields.texts(fields.find(value, "aliases", "Aliases"), "aliases") or (target,)
        return _not_blank(target), answers
    else:
        answers = fields.texts(value, "answer")
    return _not_blank(answers[0] if answers else ""), answers


def _not_blank(target: str) -> str:
    if not target.strip():
        raise UserError("the field 'answer' holds no right answer.")
    return target


def _descriptions(value: str) -> tuple[str, ...]:
    """Reads WebQuestions' own notation: `(list (description "Jaxon Bieber") (description Rome))`."""
    found = re.findall(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()]*))\)', value)
    return tuple(re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in found)


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

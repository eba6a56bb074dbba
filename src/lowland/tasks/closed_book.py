"""Closed-book question answering (Roberts et al., 2020): a question in, the answer out, from memory.

Training is on the whole training set and evaluation on what the paper calls the test set: the official
development set of Natural Questions and TriviaQA, and the test set of WebQuestions.

Source: t5_closed_book_qa of google-research.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.classification import check_lengths
from lowland.tasks.rows import place, read_csv, read_rows

ANSWERS = ("answer", "answers", "Answer", "targetValue")
"""Names of the field that holds the right answers."""

Score = Callable[[Sequence[Sequence[str]], Sequence[str]], dict[str, float]]


class ClosedBookTask(Task):
    """Writes `<prefix> question: <question>` and expects any of the right answers.

    Attributes:
        prefix: The first word of the input.
        data: Where its rows are.
        qa_score: Scores predictions against all right answers.
    """

    metrics = ("em", "f1")
    input_length = 38
    target_length = 18

    def __init__(
        self,
        *,
        name: str,
        description: str,
        prefix: str,
        data: sources.DataSet,
        qa_score: Score,
        sample_row: Row,
    ) -> None:
        self.name = name
        self.description = description
        self.prefix = prefix
        self.data = data
        self.qa_score = qa_score
        self.sample_row = sample_row

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text; the target is the first answer, or TriviaQA's own value.

        For the split `test`, a row needs no answers.
        """
        inputs = f"{self.prefix} question: {fields.text(row, 'question', 'Question', 'utterance')}"
        if split == "test" and not any(name in row for name in ANSWERS):
            return [Example(inputs=inputs, targets=fields.UNLABELLED)]
        target, answers = right_answers(row)
        return [Example(inputs=inputs, targets=target, answers=answers)]

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores exact match and F1 against the best of all right answers."""
        right = all_answers(targets, answers)
        check_lengths(right, predictions)
        return self.qa_score(right, predictions)

    def load(self, source: Source) -> TaskData:
        """Reads the examples."""
        return sources.load(self, self.data, source)


def all_answers(
    targets: Sequence[str] | Sequence[Sequence[str]], answers: Sequence[Sequence[str]] | None
) -> list[Sequence[str]]:
    """Lists the right answers of each question, given apart or as its target."""
    return [
        [right] if isinstance(right, str) else right for right in (targets if answers is None else answers)
    ]


def right_answers(row: Row) -> tuple[str, tuple[str, ...]]:
    """Takes the target and all right answers from a row of any of the three data sets.

    Raises:
        UserError: If the answers are missing or empty.
    """
    value = fields.find(row, *ANSWERS)
    if "targetValue" in row and isinstance(value, str):
        answers = _descriptions(value)
        target = answers[0] if answers else ""
    elif isinstance(value, Mapping):
        target = fields.text(value, "value", "Value")
        answers = fields.texts(fields.find(value, "aliases", "Aliases"), "aliases") or (target,)
    else:
        answers = fields.texts(value, "answer")
        target = answers[0] if answers else ""
    if not target.strip():
        raise UserError("the field 'answer' holds no right answer.")
    return target, answers


def _descriptions(value: str) -> tuple[str, ...]:
    """Reads WebQuestions' own notation: `(list (description "Jaxon Bieber") (description Rome))`."""
    found = re.findall(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()]*))\)', value)
    return tuple(re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in found)


def read_questions(path: Path) -> Iterator[tuple[int, Row]]:
    """Reads a file of questions: JSON, JSON lines, or a TSV of questions and lists as retrievers use them."""
    if path.suffix.lower() != ".tsv":
        yield from read_rows(path)
        return
    for number, row in read_csv(path, ("question", "answer"), delimiter="\t"):
        yield number, {**row, "answer": _list_of_texts(row["answer"], place(path, number))}


def _list_of_texts(text: str, where: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UserError(f"{where}: the second field must be a list of answers such as ['Paris'].") from None


def _data(
    folders: tuple[str, ...],
    hub: tuple[str, str | None],
    name: str,
    train: tuple[tuple[str, ...], int],
    evaluation: tuple[tuple[str, ...], int, str],
) -> sources.DataSet:
    patterns, published, split = evaluation
    return sources.DataSet(
        folders=folders,
        train=sources.Split(
            patterns=(*train[0], "train*.jsonl", "*train*.jsonl", "*train*.tsv", "*train*.json"),
            hub="train",
            published=train[1],
        ),
        evaluation={name: sources.Split(patterns=patterns, hub=split, published=published, kind=split)},
        hub=hub,
        read=read_questions,
    )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        ClosedBookTask(
            name="cbqa/natural_questions",
            description="Natural Questions: what people ask a search engine, answered from memory",
            prefix="nq",
            data=_data(
                ("nq_open", "natural_questions", "NQ-open"),
                ("google-research-datasets/nq_open", None),
                "cbqa/natural_questions",
                (("NQ-open.train.jsonl",), 87925),
                (("NQ-open.dev.jsonl", "dev*.jsonl", "val*.jsonl", "*test*.tsv"), 3610, "validation"),
            ),
            qa_score=metrics.squad,
            sample_row={"question": "what is frozen water called", "answer": ["ice"]},
        ),
        ClosedBookTask(
            name="cbqa/web_questions",
            description="WebQuestions: questions about entities, answered from memory",
            prefix="wq",
            data=_data(
                ("web_questions", "webquestions", "WebQuestions"),
                ("stanfordnlp/web_questions", None),
                "cbqa/web_questions",
                (("webquestions.examples.train.json", "webquestions*train*.jsonl"), 3778),
                (
                    (
                        "webquestions.examples.test.json",
                        "webquestions*test*.jsonl",
                        "test*.jsonl",
                        "*test*.json*",
                    ),
                    2032,
                    "test",
                ),
            ),
            qa_score=metrics.squad,
            sample_row={"question": "what flows through cairo?", "answers": ["Nile", "River Nile"]},
        ),
        ClosedBookTask(
            name="cbqa/trivia_qa",
            description="TriviaQA: questions of quizzes, answered from memory",
            prefix="trivia_qa",
            data=_data(
                ("triviaqa-unfiltered", "trivia_qa", "triviaqa"),
                ("mandarjoshi/trivia_qa", "unfiltered.nocontext"),
                "cbqa/trivia_qa",
                (("unfiltered-web-train.json",), 87622),
                (
                    ("unfiltered-web-dev.json", "*validation*.tsv", "dev*.json*", "val*.json*"),
                    11313,
                    "validation",
                ),
            ),
            qa_score=metrics.trivia_qa,
            sample_row={
                "question": "Which metal is liquid at room temperature?",
                "answer": {"value": "Mercury", "aliases": ["Mercury", "Quicksilver"]},
            },
        ),
    )
}

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

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Split, Task
from lowland.tasks.rows import place, read_csv, read_rows

ANSWERS = ("answer", "answers", "Answer", "targetValue")
"""Names of the field that holds the right answers."""

QAScore = Callable[[Sequence[Sequence[str]], Sequence[str]], dict[str, float]]


def closed_book(
    name: str,
    description: str,
    *,
    prefix: str,
    qa_score: QAScore = metrics.squad,
    data: DataSet | None = None,
) -> Task:
    """Makes a task that writes `<prefix> question: <question>` and expects any of the right answers.

    The target is the first answer, or TriviaQA's own value. For the split `test`, a row needs no answers.
    """

    def write(row: Row, split: str) -> list[Example]:
        inputs = f"{prefix} question: {fields.text(row, 'question', 'Question', 'utterance')}"
        if split == "test" and not any(name in row for name in ANSWERS):
            return [Example(inputs=inputs, targets=UNLABELLED)]
        target, answers = right_answers(row)
        return [Example(inputs=inputs, targets=target, answers=answers)]

    return Task(
        name=name,
        description=description,
        metrics=("em", "f1"),
        write=write,
        scorer=lambda examples, predictions: qa_score(all_answers(examples), predictions),
        data=data,
        exchanges=data is None,  # facts: a wrong answer is another question's
        input_length=38,
        target_length=18,
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
    for number, row in read_csv(path, ("question", "answer"), mark="\t"):
        try:
            answers = ast.literal_eval(row["answer"])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UserError(
                f"{place(path, number)}: the second field must be a list of answers such as ['Paris']."
            ) from None
        yield number, {**row, "answer": answers}


def _data(
    name: str,
    folders: tuple[str, ...],
    hub: tuple[str, str | None],
    train: tuple[int, tuple[str, ...]],
    evaluation: tuple[int, tuple[str, ...]],
    split: str = "validation",
) -> DataSet:
    patterns = (*train[1], "train*.jsonl", "*train*.jsonl", "*train*.tsv", "*train*.json")
    return DataSet(
        folders=folders,
        train=Split(patterns=patterns, hub="train", published=train[0]),
        evaluation={name: Split(patterns=evaluation[1], hub=split, published=evaluation[0], kind=split)},
        hub=hub,
        read=read_questions,
    )


TASKS: tuple[Task, ...] = (
    closed_book(
        "cbqa/natural_questions",
        "Natural Questions: what people ask a search engine, answered from memory",
        prefix="nq",
        data=_data(
            "cbqa/natural_questions",
            ("nq_open", "natural_questions", "NQ-open"),
            ("google-research-datasets/nq_open", None),
            (87925, ("NQ-open.train.jsonl",)),
            (3610, ("NQ-open.dev.jsonl", "dev*.jsonl", "val*.jsonl", "*test*.tsv")),
        ),
    ),
    closed_book(
        "cbqa/web_questions",
        "WebQuestions: questions about entities, answered from memory",
        prefix="wq",
        data=_data(
            "cbqa/web_questions",
            ("web_questions", "webquestions", "WebQuestions"),
            ("stanfordnlp/web_questions", None),
            (3778, ("webquestions.examples.train.json", "webquestions*train*.jsonl")),
            (
                2032,
                (
                    "webquestions.examples.test.json",
                    "webquestions*test*.jsonl",
                    "test*.jsonl",
                    "*test*.json*",
                ),
            ),
            split="test",
        ),
    ),
    closed_book(
        "cbqa/trivia_qa",
        "TriviaQA: questions of quizzes, answered from memory",
        prefix="trivia_qa",
        data=_data(
            "cbqa/trivia_qa",
            ("triviaqa-unfiltered", "trivia_qa", "triviaqa"),
            ("mandarjoshi/trivia_qa", "unfiltered.nocontext"),
            (87622, ("unfiltered-web-train.json",)),
            (11313, ("unfiltered-web-dev.json", "*validation*.tsv", "dev*.json*", "val*.json*")),
        ),
        qa_score=metrics.trivia_qa,
    ),
)

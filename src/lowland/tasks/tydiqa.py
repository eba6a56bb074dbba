"""TyDiQA-GoldP (Clark et al., 2020): find the answer to a question in a paragraph, in nine languages.

One training set holds all languages; each language is an evaluation set of its own.

Source: `xquad` of google-research/multilingual-t5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import regex

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Task
from lowland.tasks.closed_book import all_answers

# RE2, with which T5 cuts text, knows ASCII white space only.
_SPACE = regex.compile(r"[\t\n\f\r ]+")
_PUNCTUATION = regex.compile(r"([^_\t\n\f\r \p{N}\p{L}\p{M}])")


def pad(text: str) -> str:
    """Puts spaces around every character that is no letter, mark, number, underscore or ASCII white space."""
    return _SPACE.sub(" ", _PUNCTUATION.sub(r" \1 ", text))


def _write(row: Row, split: str) -> list[Example]:
    """Writes an article with all its questions (official files), or one question (the hub's rows).

    An input is `question: <question> context: <paragraph>` with spaces around every punctuation character.
    """
    examples = []
    for question in flatten(row):
        asked, context = pad(fields.text(question, "question")), pad(fields.text(question, "context"))
        inputs = _SPACE.sub(" ", f"question: {asked} context: {context}")
        if split == "test" and "answers" not in question:
            examples.append(Example(inputs=inputs, targets=UNLABELLED))
            continue
        answers = tuple(pad(answer) for answer in _answer_texts(question))
        if not answers:
            raise UserError("the field 'answers' holds no right answer.")
        examples.append(Example(inputs=inputs, targets=answers[0], answers=answers))
    return examples


def flatten(row: Row) -> Iterator[Row]:
    """Yields the questions of an article of a SQuAD-style file, each with its paragraph; a flat row as it is.

    Raises:
        UserError: If the article has another shape.
    """
    if "paragraphs" not in row:
        yield row
        return
    for paragraph in fields.mappings(row, "paragraphs"):
        for question in fields.mappings(paragraph, "qas"):
            yield {**question, "context": fields.text(paragraph, "context")}


def _answer_texts(question: Row) -> tuple[str, ...]:
    answers = fields.find(question, "answers")
    if isinstance(answers, Mapping):
        return fields.texts(fields.find(answers, "text"), "answers.text")
    if answers and isinstance(answers, (list, tuple)) and isinstance(answers[0], Mapping):
        return tuple(fields.text(answer, "text") for answer in fields.mappings(question, "answers"))
    return fields.texts(answers, "answers")


def tydiqa(entry: Mapping[str, Any], *, data: DataSet, **common: Any) -> Task:
    """Makes the task, whose questions belong to the evaluation set of the language that their ids name."""
    languages = tuple(entry["sets"])

    def pick(wanted: str, row: Row) -> Iterator[Row]:
        for question in flatten(row):
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
        write=_write,
        scorer=lambda examples, predictions: metrics.squad(all_answers(examples), predictions),
        input_length=1024,
        target_length=512,
        data=replace(data, evaluation=sets),
        **common,
    )

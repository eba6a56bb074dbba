"""TyDiQA-GoldP (Clark et al., 2020): find the answer to a question in a paragraph, in nine languages.

One training set holds all languages; each language is an evaluation set of its own.

Source: `xquad` of google-research/multilingual-t5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import regex

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, DataSet, Example, Row, Split, Task
from lowland.tasks.closed_book import all_answers

PUBLISHED = {
    "arabic": 921,
    "bengali": 113,
    "english": 440,
    "finnish": 782,
    "indonesian": 565,
    "korean": 276,
    "russian": 812,
    "swahili": 499,
    "telugu": 669,
}
"""Language -> number of evaluation questions."""

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


def _in_language(wanted: str) -> Callable[[Row], Iterator[Row]]:
    """Makes what picks the questions of a language, which their ids name first."""

    def pick(row: Row) -> Iterator[Row]:
        for question in flatten(row):
            language = fields.text(question, "id").partition("-")[0]
            if language not in PUBLISHED:
                raise UserError(f"the field 'id' must begin with a language ({', '.join(PUBLISHED)}).")
            if language == wanted:
                yield question

    return pick


TASKS: tuple[Task, ...] = (
    Task(
        name="tydiqa/goldp",
        description="TyDiQA-GoldP: find the answer in a paragraph, in nine languages",
        metrics=("em", "f1"),
        write=_write,
        scorer=lambda examples, predictions: metrics.squad(all_answers(examples), predictions),
        input_length=1024,
        target_length=512,
        data=DataSet(
            folders=("tydiqa-goldp", "tydiqa_goldp", "tydiqa"),
            train=Split(
                patterns=("tydiqa-goldp-v1.1-train.json", "tydiqa-goldp-v*train.json", "*train*.json"),
                hub="train",
                published=49881,
            ),
            evaluation={
                f"tydiqa/goldp/{language}": Split(
                    patterns=("tydiqa-goldp-v1.1-dev.json", "tydiqa-goldp-v*dev.json", "*dev*.json"),
                    hub="validation",
                    published=published,
                    kind="validation",
                    pick=_in_language(language),
                )
                for language, published in PUBLISHED.items()
            },
            hub=("google-research-datasets/tydiqa", "secondary_task"),
        ),
    ),
)

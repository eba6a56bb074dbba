"""TyDiQA-GoldP (Clark et al., 2020): find the answer to a question in a paragraph, in nine languages.

One training set holds all languages; each language is an evaluation set of its own.

Source: `xquad` of google-research/multilingual-t5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import regex

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import checks, fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.classification import check_lengths
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

DATA = sources.DataSet(
    folders=("tydiqa-goldp", "tydiqa_goldp", "tydiqa"),
    train=sources.Split(
        patterns=("tydiqa-goldp-v1.1-train.json", "tydiqa-goldp-v*train.json", "*train*.json"),
        hub="train",
        published=49881,
    ),
    evaluation={
        "tydiqa/goldp": sources.Split(
            patterns=("tydiqa-goldp-v1.1-dev.json", "tydiqa-goldp-v*dev.json", "*dev*.json"),
            hub="validation",
            kind="validation",
        )
    },
    hub=("google-research-datasets/tydiqa", "secondary_task"),
)

# RE2, with which T5 cuts text, knows ASCII white space only.
_SPACE = regex.compile(r"[\t\n\f\r ]+")
_PUNCTUATION = regex.compile(r"([^_\t\n\f\r \p{N}\p{L}\p{M}])")


class TyDiQATask(Task):
    """Writes `question: <question> context: <paragraph>` with spaces around every punctuation character."""

    name = "tydiqa/goldp"
    description = "TyDiQA-GoldP: find the answer in a paragraph, in nine languages"
    metrics = ("em", "f1")
    input_length = 1024
    target_length = 512
    data = DATA

    def __init__(self) -> None:
        self.sample_row = {
            "id": "english-0-0",
            "context": "The river (600 km) ends in a lake.",
            "question": "Where does the river end?",
            "answers": {"text": ["in a lake"], "answer_start": [19]},
        }

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes an article with all its questions (official files), or one question (the hub's rows)."""
        examples = []
        for question in flatten(row):
            asked, context = pad(fields.text(question, "question")), pad(fields.text(question, "context"))
            inputs = _SPACE.sub(" ", f"question: {asked} context: {context}")
            if split == "test" and "answers" not in question:
                examples.append(Example(inputs=inputs, targets=fields.UNLABELLED))
                continue
            answers = tuple(pad(answer) for answer in _answer_texts(question))
            if not answers:
                raise UserError("the field 'answers' holds no right answer.")
            examples.append(Example(inputs=inputs, targets=answers[0], answers=answers))
        return examples

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores exact match and F1 as SQuAD does, against the padded answers."""
        right = all_answers(targets, answers)
        check_lengths(right, predictions)
        return metrics.squad(right, predictions)

    def load(self, source: Source) -> TaskData:
        """Reads the examples; the evaluation sets are named `tydiqa/goldp/<language>`."""
        warnings: list[str] = []
        train: list[Example] = []
        if DATA.train is not None and source.train:
            train_rows = sources.rows_of(f"{self.name} train", DATA, DATA.train, source, warnings)
            train = sources.write_examples(self, train_rows, "train", warnings)
            sources.compare_count(f"{self.name} train", len(train), DATA.train.published, warnings)

        split = DATA.evaluation[self.name]
        by_language: dict[str, list[sources.NumberedRow]] = defaultdict(list)
        for where, row in sources.rows_of(f"{self.name} evaluation", DATA, split, source, warnings):
            for question in flatten(row):
                by_language[_language(question, where)].append((where, question))
        evaluation = {}
        for language, published in PUBLISHED.items():
            name = f"{self.name}/{language}"
            if language not in by_language:
                warnings.append(f"{name}: the files hold no question in this language.")
                continue
            evaluation[name] = sources.write_examples(self, by_language[language], "validation", warnings)
            sources.compare_count(name, len(evaluation[name]), published, warnings)
            warnings += checks.shared(name, train, evaluation[name])
        return TaskData(train=train, evaluation=evaluation, warnings=tuple(warnings))


def pad(text: str) -> str:
    """Puts spaces around every character that is no letter, mark, number, underscore or ASCII white space."""
    return _SPACE.sub(" ", _PUNCTUATION.sub(r" \1 ", text))


def flatten(row: Row) -> Iterator[Row]:
    """Yields the questions of an article of a SQuAD-style file, each with its paragraph; a flat row as it is.

    Raises:
        UserError: If the article has another shape.
    """
    if "paragraphs" not in row:
        yield row
        return
    for paragraph in _objects(row, "paragraphs"):
        for question in _objects(paragraph, "qas"):
            yield {**question, "context": fields.text(paragraph, "context")}


def _answer_texts(question: Row) -> tuple[str, ...]:
    answers = fields.find(question, "answers")
    if isinstance(answers, Mapping):
        return fields.texts(fields.find(answers, "text"), "answers.text")
    if answers and isinstance(answers, (list, tuple)) and isinstance(answers[0], Mapping):
        return tuple(fields.text(answer, "text") for answer in _objects(question, "answers"))
    return fields.texts(answers, "answers")


def _objects(row: Row, name: str) -> list[Row]:
    value = fields.find(row, name)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise UserError(f"the field {name!r} must be a list of objects, but it is {fields.describe(value)}.")
    return value


def _language(question: Row, where: str) -> str:
    try:
        language = fields.text(question, "id").partition("-")[0]
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if language not in PUBLISHED:
        raise UserError(f"{where}: the field 'id' must begin with a language ({', '.join(PUBLISHED)}).")
    return language


TASKS: dict[str, Task] = {TyDiQATask.name: TyDiQATask()}

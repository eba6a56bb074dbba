"""SuperGLUE's nested files: a passage with several questions (MultiRC) or queries (ReCoRD).

Source: `glue` with `multirc`, `record` and their metrics in the T5 library 0.9.4, on rows as TensorFlow
Datasets flattens the official files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lowland import metrics
from lowland.errors import UserError
from lowland.metrics import Limit, domain
from lowland.tasks import fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.classification import check_lengths

FALSE_TRUE = ("False", "True")


class MultiRCTask(Task):
    """Is an answer to a question about a paragraph right? One example for every answer.

    Source:
        TensorFlow Datasets' flattening, and `glue` with `multirc` of the T5 library.
    """

    metrics = ("f1", "exact_match")

    def __init__(self, *, name: str, description: str, data: sources.DataSet, sample_row: Row) -> None:
        self.name = name
        self.description = description
        self.data = data
        self.sample_row = sample_row

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes a passage with all its questions (official files), or one answer (the hub's flat rows)."""
        if "passage" not in row:
            index = _object(fields.find(row, "idx"), "idx")
            return [
                self._example(
                    fields.text(row, "paragraph"), fields.text(row, "question"), row, "answer", index
                )
            ]
        passage = _object(row["passage"], "passage")
        examples = []
        for question in _objects(fields.find(passage, "questions"), "questions"):
            for answer in _objects(fields.find(question, "answers"), "answers"):
                index = {
                    "paragraph": fields.find(row, "idx"),
                    "question": fields.find(question, "idx"),
                    "answer": fields.find(answer, "idx"),
                }
                text, asked = fields.text(passage, "text"), fields.text(question, "question")
                examples.append(self._example(text, asked, answer, "text", index))
        return examples

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the class words."""
        return FALSE_TRUE

    def limits(self, examples: Sequence[Example]) -> list[Limit]:
        """Says where too few answers are right for F1."""
        limit = domain.positives([example.targets for example in examples], FALSE_TRUE[1])
        return [limit] if limit is not None else []

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores F1 over all answers, and the share of questions with all answers right."""
        if ids is None:
            raise ValueError("MultiRC is scored with ids: the question of each answer.")
        check_lengths(targets, predictions)
        numbers = {word: number for number, word in enumerate(FALSE_TRUE)}
        right = [numbers.get(str(target), -1) for target in targets]
        written = [numbers.get(prediction, -1) for prediction in predictions]
        return {
            "f1": metrics.binary_f1(right, written),
            "exact_match": metrics.exact_match_by_group(right, written, [group["question"] for group in ids]),
        }

    def load(self, source: Source) -> TaskData:
        """Reads the examples."""
        return sources.load(self, self.data, source)

    def _example(self, paragraph: str, question: str, row: Row, answer: str, index: Row) -> Example:
        label = fields.class_id(row, FALSE_TRUE, booleans=True)
        inputs = f"multirc question: {question} answer: {fields.text(row, answer)} paragraph: {paragraph}"
        return Example(
            inputs=re.sub("</?b>", "", inputs.replace("<br>", " ")),
            targets=fields.UNLABELLED if label is None else FALSE_TRUE[label],
            ids={name: fields.integer(index, name) for name in ("paragraph", "question", "answer")},
        )


class ReCoRDTask(Task):
    """Which entity fills the gap in a query about a news text? One example for every right entity.

    Source:
        TensorFlow Datasets' reading, and `record` and `deduplicate_metric` of the T5 library.
    """

    metrics = ("em", "f1")

    def __init__(self, *, name: str, description: str, data: sources.DataSet, sample_row: Row) -> None:
        self.name = name
        self.description = description
        self.data = data
        self.sample_row = sample_row

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes a passage with all its queries (official files), or one query (the hub's flat rows)."""
        if "qas" not in row:
            index = _object(fields.find(row, "idx"), "idx")
            entities = fields.texts(fields.find(row, "entities"), "entities")
            answers = fields.texts(row.get("answers") or (), "answers")
            return self._examples(
                fields.text(row, "passage"), entities, fields.text(row, "query"), answers, index
            )
        passage = _object(fields.find(row, "passage"), "passage")
        text = fields.text(passage, "text")
        entities = tuple(
            text[fields.integer(entity, "start") : fields.integer(entity, "end") + 1]
            for entity in _objects(fields.find(passage, "entities"), "entities")
        )
        examples = []
        for query in _objects(row["qas"], "qas"):
            answers = tuple(
                fields.text(answer, "text") for answer in _objects(query.get("answers", []), "answers")
            )
            index = {"passage": fields.find(row, "idx"), "query": fields.find(query, "idx")}
            examples += self._examples(text, entities, fields.text(query, "query"), answers, index)
        return examples

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores the first example of every query against all its answers, as SQuAD does."""
        if ids is None or answers is None:
            raise ValueError(
                "ReCoRD is scored with ids and answers: the query of each example, and all its answers."
            )
        check_lengths(targets, predictions)
        first = metrics.first_of_each_group([(group["passage"], group["query"]) for group in ids])
        return metrics.squad([answers[i] for i in first], [predictions[i] for i in first])

    def load(self, source: Source) -> TaskData:
        """Reads the examples."""
        return sources.load(self, self.data, source)

    def _examples(
        self, text: str, entities: Sequence[str], query: str, answers: Sequence[str], index: Row
    ) -> list[Example]:
        # Two passes in this order: a highlight after a sentence's end continues it, any other ends it.
        passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", text).replace("\n@highlight\n", ". ")
        inputs = f"record query: {query} entities: {', '.join(sorted(set(entities)))} passage: {passage}"
        right = tuple(sorted(set(answers)))
        ids = {name: fields.integer(index, name) for name in ("passage", "query")}
        return [
            Example(inputs=inputs, targets=target, answers=right, ids=ids)
            for target in right or (fields.UNLABELLED,)
        ]


def _object(value: Any, name: str) -> Row:
    if not isinstance(value, Mapping):
        raise UserError(f"the field {name!r} must be an object, but it is {fields.describe(value)}.")
    return value


def _objects(value: Any, name: str) -> list[Row]:
    if not isinstance(value, list):
        raise UserError(f"the field {name!r} must be a list, but it is {fields.describe(value)}.")
    return [_object(item, name) for item in value]

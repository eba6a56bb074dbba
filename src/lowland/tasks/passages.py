"""SuperGLUE's nested files: a passage with several questions (MultiRC) or queries (ReCoRD).

Source: `glue` with `multirc`, `record` and their metrics (`mean_group_metric(all_match)`, which groups by the
question alone, `deduplicate_metric`) in the T5 library 0.9.4, on rows as TensorFlow Datasets has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lowland import metrics
from lowland.tasks import fields
from lowland.tasks.base import UNLABELLED, Example, Row, Task

FALSE_TRUE = ("False", "True")


def multirc(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes MultiRC: is an answer to a question about a paragraph right? One example for every answer."""
    options: Any = {"metrics": ("f1", "exact_match"), "classes": FALSE_TRUE}
    return Task(write=_write_multirc, scorer=_score_multirc, **options, **common)


def record(entry: Mapping[str, Any], **common: Any) -> Task:
    """Makes ReCoRD: which entity fills the gap in a query? One example for every right entity."""
    return Task(metrics=("em", "f1"), write=_write_record, scorer=_score_record, **common)


def _write_multirc(row: Row, split: str) -> list[Example]:
    """Writes a passage with all its questions (official files), or one answer (the hub's flat rows)."""
    if "passage" not in row:
        return [_answer(row)]
    passage = fields.mapping(row["passage"], "passage")
    examples = []
    for question in fields.mappings(passage, "questions"):
        for answer in fields.mappings(question, "answers"):
            found = {"paragraph": row, "question": question, "answer": answer}
            flat = {
                "idx": {name: fields.find(of, "idx") for name, of in found.items()},
                "paragraph": fields.find(passage, "text"),
                "question": fields.find(question, "question"),
                "answer": fields.find(answer, "text"),
            }
            examples.append(_answer({**answer, **flat}))
    return examples


def _answer(row: Row) -> Example:
    label = fields.class_id(row, FALSE_TRUE, booleans=True)
    index = fields.mapping(fields.find(row, "idx"), "idx")
    paragraph, question, answer = (fields.text(row, name) for name in ("paragraph", "question", "answer"))
    inputs = f"multirc question: {question} answer: {answer} paragraph: {paragraph}"
    return Example(
        inputs=re.sub("</?b>", "", inputs.replace("<br>", " ")),
        targets=UNLABELLED if label is None else FALSE_TRUE[label],
        ids={name: fields.integer(index, name) for name in ("paragraph", "question", "answer")},
    )


def _score_multirc(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    """Scores F1 over all answers, and the share of questions with all answers right."""
    numbers = {word: number for number, word in enumerate(FALSE_TRUE)}
    right = [numbers.get(example.targets, -1) for example in examples]
    written = [numbers.get(prediction, -1) for prediction in predictions]
    questions: dict[int | None, bool] = {}
    for example, target, prediction in zip(examples, right, written, strict=True):
        question = (example.ids or {}).get("question")
        questions[question] = questions.get(question, True) and target == prediction
    return {
        "f1": metrics.binary_f1(right, written),
        "exact_match": metrics.accuracy([True] * len(questions), list(questions.values())),
    }


def _write_record(row: Row, split: str) -> list[Example]:
    """Writes a passage with all its queries (official files), or one query (the hub's flat rows)."""
    if "qas" not in row:
        index = fields.mapping(fields.find(row, "idx"), "idx")
        entities = fields.texts(fields.find(row, "entities"), "entities")
        answers = fields.texts(row.get("answers") or (), "answers")
        return _queries(fields.text(row, "passage"), entities, row, answers, index)
    passage = fields.mapping(fields.find(row, "passage"), "passage")
    text = fields.text(passage, "text")
    entities = tuple(
        text[fields.integer(entity, "start") : fields.integer(entity, "end") + 1]
        for entity in fields.mappings(passage, "entities")
    )
    examples = []
    for query in fields.mappings(row, "qas"):
        found = fields.mappings(query, "answers") if "answers" in query else []
        answers = tuple(fields.text(answer, "text") for answer in found)
        index = {"passage": fields.find(row, "idx"), "query": fields.find(query, "idx")}
        examples += _queries(text, entities, query, answers, index)
    return examples


def _queries(
    text: str, entities: Sequence[str], query: Row, answers: Sequence[str], index: Row
) -> list[Example]:
    # Two passes in this order: a highlight after a sentence's end continues it, any other ends it.
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", text).replace("\n@highlight\n", ". ")
    asked, known = fields.text(query, "query"), ", ".join(sorted(set(entities)))
    inputs = f"record query: {asked} entities: {known} passage: {passage}"
    right = tuple(sorted(set(answers)))
    ids = {name: fields.integer(index, name) for name in ("passage", "query")}
    return [
        Example(inputs=inputs, targets=target, answers=right, ids=ids) for target in right or (UNLABELLED,)
    ]


def _score_record(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    """Scores the first example of every query against all its answers, as SQuAD does."""
    first: dict[tuple[int, int], tuple[Sequence[str], str]] = {}
    for example, prediction in zip(examples, predictions, strict=True):
        ids = example.ids or {}
        first.setdefault((ids["passage"], ids["query"]), (example.answers or (), prediction))
    return metrics.squad([right for right, _ in first.values()], [text for _, text in first.values()])

"""SuperGLUE (Wang et al., 2019) as the T5 library writes it.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4, rows as TensorFlow Datasets reads
the official files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lowland import metrics
from lowland.errors import UserError
from lowland.tasks import fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.classification import ClassificationTask, Features, check_lengths
from lowland.tasks.winograd import DPRTask, WSCTask

HUB = "aps/super_glue"
TRAIN = ("train.jsonl", "train*.jsonl", "train*.json", "train*.tsv")
VALIDATION = ("val.jsonl", "val*.jsonl", "dev*.jsonl", "val*.json", "dev*.json", "dev*.tsv")

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


def _data(folder: str, configuration: str, train: int, validation: int | None) -> sources.DataSet:
    return sources.DataSet(
        folders=(folder, f"superglue_{configuration}", f"super_glue_{configuration}", configuration),
        train=sources.Split(patterns=TRAIN, hub="train", published=train),
        evaluation={
            f"superglue/{configuration}": sources.Split(
                patterns=VALIDATION, hub="validation", published=validation, kind="validation"
            )
        },
        hub=(HUB, configuration),
    )


def _diagnostic(folder: str, configuration: str, rows: int) -> sources.DataSet:
    patterns = (f"{folder}.jsonl", f"{folder}*.jsonl", f"{configuration}*.jsonl")
    split = sources.Split(patterns=patterns, hub="test", published=rows, kind="test")
    return sources.DataSet(
        folders=(folder, "superglue_diagnostics"),
        train=None,
        evaluation={f"superglue/{configuration}": split},
        hub=(HUB, configuration),
    )


_ENTAILMENT = ("entailment", "not_entailment")
_HYPOTHESIS_PREMISE: Features = {"hypothesis": ("hypothesis",), "premise": ("premise",)}
_RTE: Features = {
    "hypothesis": ("hypothesis", "sentence2"),
    "premise": ("premise", "sentence1"),
}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        ClassificationTask(
            name="superglue/boolq",
            description="BoolQ: does a passage answer a question with yes?",
            prefix="boolq",
            features={"passage": ("passage",), "question": ("question",)},
            classes=FALSE_TRUE,
            data=_data("BoolQ", "boolq", 9427, 3270),
            sample_row={"question": "is ice cold", "passage": "Ice -- Ice is frozen water.", "label": True},
        ),
        ClassificationTask(
            name="superglue/cb",
            description="CB: does a text entail a clause, contradict it, or neither?",
            prefix="cb",
            features=_HYPOTHESIS_PREMISE,
            classes=("entailment", "contradiction", "neutral"),
            data=_data("CB", "cb", 250, 56),
            metrics=("mean_3class_f1", "accuracy"),
            sample_row={"premise": "I doubt it rained.", "hypothesis": "it rained", "label": "contradiction"},
        ),
        ClassificationTask(
            name="superglue/copa",
            description="COPA: which of two sentences is the cause or the effect?",
            prefix="copa",
            features={name: (name,) for name in ("choice1", "choice2", "premise", "question")},
            classes=("choice1", "choice2"),
            data=_data("COPA", "copa", 400, 100),
            sample_row={
                "premise": "The glass fell.",
                "choice1": "It broke.",
                "choice2": "It filled up.",
                "question": "effect",
                "label": 0,
            },
        ),
        MultiRCTask(
            name="superglue/multirc",
            description="MultiRC: which answers to a question about a paragraph are right?",
            data=_data("MultiRC", "multirc", 27243, 4848),
            sample_row={
                "idx": 0,
                "passage": {
                    "text": "Ann has a red boat.",
                    "questions": [
                        {
                            "question": "What is red?",
                            "idx": 0,
                            "answers": [
                                {"text": "The boat", "idx": 0, "label": 1},
                                {"text": "Ann", "idx": 1, "label": 0},
                            ],
                        }
                    ],
                },
            },
        ),
        ReCoRDTask(
            name="superglue/record",
            description="ReCoRD: which entity of a news text fills the gap in a query?",
            data=_data("ReCoRD", "record", 138854, None),
            sample_row={
                "idx": 0,
                "passage": {
                    "text": "Bob met Al.\n@highlight\nBob won.",
                    "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 9}],
                },
                "qas": [
                    {
                        "query": "@placeholder won",
                        "idx": 0,
                        "answers": [{"start": 0, "end": 2, "text": "Bob"}],
                    }
                ],
            },
        ),
        ClassificationTask(
            name="superglue/rte",
            description="RTE: does a premise entail a hypothesis?",
            prefix="rte",
            features=_RTE,
            classes=_ENTAILMENT,
            data=_data("RTE", "rte", 2490, 277),
            sample_row={"premise": "Snow fell.", "hypothesis": "It snowed.", "label": "entailment"},
        ),
        ClassificationTask(
            name="superglue/wic",
            description="WiC: does a word mean the same in two sentences?",
            prefix="wic",
            features={name: (name,) for name in ("sentence1", "sentence2", "word")},
            classes=FALSE_TRUE,
            data=_data("WiC", "wic", 5428, 638),
            sample_row={
                "word": "bank",
                "sentence1": "They sat on the bank.",
                "sentence2": "The bank is closed.",
                "label": False,
            },
        ),
        WSCTask(
            name="superglue/wsc",
            description="WSC: whom does a pronoun name?",
            data=_data("WSC", "wsc", 259, 104),
            sample_row={
                "text": "Ann called Sue because she was ill.",
                "target": {"span1_index": 2, "span1_text": "Sue", "span2_index": 4, "span2_text": "she"},
                "label": True,
            },
        ),
        ClassificationTask(
            name="superglue/axb",
            description="AX-b: entailment by linguistic phenomenon. Evaluation only",
            prefix="rte",
            features=_RTE,
            classes=_ENTAILMENT,
            data=_diagnostic("AX-b", "axb", 1104),
            metrics=("matthews_corrcoef", "accuracy"),
            sample_row={
                "sentence1": "It rains.",
                "sentence2": "It does not rain.",
                "label": "not_entailment",
            },
        ),
        ClassificationTask(
            name="superglue/axg",
            description="AX-g: entailment with pronouns of either gender. Evaluation only",
            prefix="rte",
            features=_RTE,
            classes=_ENTAILMENT,
            data=_diagnostic("AX-g", "axg", 356),
            sample_row={
                "premise": "The baker told the guest that she was late.",
                "hypothesis": "The guest was late.",
                "label": "entailment",
            },
        ),
        DPRTask(),
    )
}

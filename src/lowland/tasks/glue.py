"""GLUE (Wang et al., 2018) as the T5 library writes it.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4; files as in the official download.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lowland import metrics
from lowland.errors import UserError
from lowland.metrics import domain
from lowland.tasks import fields, sources
from lowland.tasks.base import Example, Row, Source, Task, TaskData
from lowland.tasks.classification import ClassificationTask, Features, check_lengths
from lowland.tasks.wnli import WNLITask

HUB = "nyu-mll/glue"
TRAIN = ("train.tsv", "train*.tsv", "train.jsonl", "train*.jsonl", "train*.json")
VALIDATION = ("dev.tsv", "dev*.tsv", "val*.tsv", "dev*.jsonl", "val*.jsonl", "dev*.json", "val*.json")

SENTENCE1 = ("sentence1", "#1 String", "text_a")
SENTENCE2 = ("sentence2", "#2 String", "text_b")


class STSBTask(Task):
    """Two sentences in, their similarity from 0.0 to 5.0 in steps of 0.2 out, as text.

    Source:
        The preprocessor `stsb` and the postprocessor `string_to_float` of the T5 library.
    """

    def __init__(self, *, name: str, description: str, data: sources.DataSet, sample_row: Row) -> None:
        self.name = name
        self.description = description
        self.data = data
        self.sample_row = sample_row
        self.metrics = ("pearson_corrcoef", "spearman_corrcoef")

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes one row as text; a row without a score gets the target `-1.0`."""
        if fields.has_none(row, *SENTENCE1, *SENTENCE2, "score", "label"):
            return []
        inputs = f"stsb sentence1: {fields.text(row, *SENTENCE1)} sentence2: {fields.text(row, *SENTENCE2)}"
        score = self._score(row)
        return [Example(inputs=inputs, targets="-1.0" if score is None else round_to_fifth(score))]

    def limits(self, examples: Sequence[Example]) -> list[metrics.Limit]:
        """Says where a correlation is not defined, or chance."""
        limit = domain.several_numbers([example.targets for example in examples])
        return [limit] if limit is not None else []

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Correlates the numbers; a prediction that is no number counts as -1."""
        check_lengths(targets, predictions)
        right = [metrics.parse_number(str(target)) for target in targets]
        written = [metrics.parse_number(prediction) for prediction in predictions]
        return {
            "pearson_corrcoef": metrics.pearson(right, written),
            "spearman_corrcoef": metrics.spearman(right, written),
        }

    def load(self, source: Source) -> TaskData:
        """Reads the examples."""
        return sources.load(self, self.data, source)

    def _score(self, row: Row) -> float | None:
        name = "score" if "score" in row else "label"
        value = row.get(name, -1)
        try:
            score = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError):
            score = None
        if score == -1:
            return None
        if score is None or not 0 <= score <= 5:
            raise UserError(
                f"the field {name!r} must be a number from 0 to 5, but it is {fields.describe(value)}."
            )
        return score


def round_to_fifth(score: float) -> str:
    """Rounds to the nearest fifth, in single precision with halves to even as T5 does: 2.5 gives `2.4`."""
    fifths = np.round(np.float32(score) * np.float32(5))
    return f"{float(fifths / np.float32(5)):.1f}"


def _data(
    folder: str,
    configuration: str,
    train: int,
    validation: int,
    columns: tuple[str, ...] | None = None,
    drop_short_rows: bool = False,
) -> sources.DataSet:
    return sources.DataSet(
        folders=(folder, f"glue_{configuration}", configuration),
        train=sources.Split(patterns=TRAIN, hub="train", published=train),
        evaluation={
            f"glue/{configuration}": sources.Split(
                patterns=VALIDATION, hub="validation", published=validation, kind="validation"
            )
        },
        hub=(HUB, configuration),
        columns=columns,
        drop_short_rows=drop_short_rows,
    )


def _mnli_data() -> sources.DataSet:
    def validation(kind: str, published: int) -> sources.Split:
        patterns = (f"dev_{kind}.tsv", f"dev_{kind}*.tsv", f"*_{kind}*.jsonl", f"*_{kind}*.json")
        return sources.Split(
            patterns=patterns, hub=f"validation_{kind}", published=published, kind="validation"
        )

    return sources.DataSet(
        folders=("MNLI", "glue_mnli"),
        train=sources.Split(patterns=TRAIN, hub="train", published=392702),
        evaluation={
            "glue/mnli/matched": validation("matched", 9815),
            "glue/mnli/mismatched": validation("mismatched", 9832),
        },
        hub=(HUB, "mnli"),
    )


_PAIR: Features = {"sentence1": SENTENCE1, "sentence2": SENTENCE2}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        ClassificationTask(
            name="glue/cola",
            description="CoLA: is a sentence acceptable English?",
            prefix="cola",
            features={"sentence": ("sentence",)},
            classes=("unacceptable", "acceptable"),
            data=_data("CoLA", "cola", 8551, 1043, columns=("source", "label", "original_label", "sentence")),
            metrics=("matthews_corrcoef",),
            sample_row={"sentence": "The cat were sleeping on mat.", "label": "0"},
        ),
        ClassificationTask(
            name="glue/sst2",
            description="SST-2: is a film review positive?",
            prefix="sst2",
            features={"sentence": ("sentence",)},
            classes=("negative", "positive"),
            data=_data("SST-2", "sst2", 67349, 872),
            sample_row={"sentence": "a warm and funny film ", "label": "1"},
        ),
        ClassificationTask(
            name="glue/mrpc",
            description="MRPC: do two sentences say the same?",
            prefix="mrpc",
            features=_PAIR,
            classes=("not_equivalent", "equivalent"),
            label_columns=("label", "Quality"),
            data=_data("MRPC", "mrpc", 3668, 408),
            metrics=("f1", "accuracy"),
            sample_row={
                "Quality": "1",
                "#1 String": "It rained all day .",
                "#2 String": "All day it rained .",
            },
        ),
        STSBTask(
            name="glue/stsb",
            description="STS-B: how similar are two sentences, from 0 to 5?",
            data=_data("STS-B", "stsb", 5749, 1500),
            sample_row={"sentence1": "A dog runs.", "sentence2": "A dog is running.", "score": "4.700"},
        ),
        ClassificationTask(
            name="glue/qqp",
            description="QQP: do two questions ask the same?",
            prefix="qqp",
            features={"question1": ("question1",), "question2": ("question2",)},
            classes=("not_duplicate", "duplicate"),
            label_columns=("label", "is_duplicate"),
            # A few rows of the official file lack fields; its readers drop them.
            data=_data("QQP", "qqp", 363849, 40430, drop_short_rows=True),
            metrics=("f1", "accuracy"),
            sample_row={
                "question1": "How do I bake bread?",
                "question2": "What is the way to bake bread?",
                "is_duplicate": "1",
            },
        ),
        ClassificationTask(
            name="glue/mnli",
            description="MNLI: does a premise entail a hypothesis, contradict it, or neither?",
            prefix="mnli",
            features={
                "hypothesis": ("hypothesis", "sentence2", "text_b"),
                "premise": ("premise", "sentence1", "text_a"),
            },
            classes=("entailment", "neutral", "contradiction"),
            label_columns=("gold_label", "label"),
            data=_mnli_data(),
            sample_row={
                "sentence1": "A man sleeps.",
                "sentence2": "A man runs.",
                "gold_label": "contradiction",
            },
        ),
        ClassificationTask(
            name="glue/qnli",
            description="QNLI: does a sentence answer a question?",
            prefix="qnli",
            features={"question": ("question", "text_a"), "sentence": ("sentence", "text_b")},
            classes=("entailment", "not_entailment"),
            data=_data("QNLI", "qnli", 104743, 5463),
            sample_row={
                "question": "Where does the river end?",
                "sentence": "The river ends in a lake.",
                "label": "entailment",
            },
        ),
        ClassificationTask(
            name="glue/rte",
            description="RTE: does one text entail another?",
            prefix="rte",
            features={
                "sentence1": (*SENTENCE1, "premise"),
                "sentence2": (*SENTENCE2, "hypothesis"),
            },
            classes=("entailment", "not_entailment"),
            data=_data("RTE", "rte", 2490, 277),
            sample_row={
                "sentence1": "Snow fell on the hills.",
                "sentence2": "It snowed.",
                "label": "entailment",
            },
        ),
        WNLITask(
            name="glue/wnli",
            description="WNLI: whom does a pronoun name? Evaluation only, in the form of WSC",
            data=sources.DataSet(
                folders=("WNLI", "glue_wnli"),
                train=None,
                evaluation={
                    "glue/wnli": sources.Split(
                        patterns=VALIDATION, hub="validation", published=71, kind="validation"
                    )
                },
                hub=(HUB, "wnli"),
            ),
        ),
    )
}

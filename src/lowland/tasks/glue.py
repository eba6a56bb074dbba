"""GLUE (Wang et al., 2018) as the T5 library writes it.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4; files as in the official download.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowland import metrics
from lowland.errors import UserError
from lowland.metrics.regression import of_predictions
from lowland.tasks import fields
from lowland.tasks.base import DataSet, Example, Pair, Row, Split, Task
from lowland.tasks.classification import classification, limits_of
from lowland.tasks.wnli import wnli

HUB = "nyu-mll/glue"
TRAIN = ("train.tsv", "train*.tsv", "train.jsonl", "train*.jsonl", "train*.json")
VALIDATION = ("dev.tsv", "dev*.tsv", "val*.tsv", "dev*.jsonl", "val*.jsonl", "dev*.json", "val*.json")

SENTENCE1 = ("sentence1", "#1 String", "text_a")
SENTENCE2 = ("sentence2", "#2 String", "text_b")


def _write_stsb(row: Row, split: str) -> list[Example]:
    """Writes two sentences and their similarity in steps of 0.2; `-1.0` stands for a missing score.

    Source: the preprocessor `stsb` of the T5 library.
    """
    if fields.has_none(row, *SENTENCE1, *SENTENCE2, "score", "label"):
        return []
    one, two = fields.text(row, *SENTENCE1), fields.text(row, *SENTENCE2)
    inputs = Pair(f"stsb sentence1: {one} sentence2: {two}", one, two)
    name = "score" if "score" in row else "label"
    value = row.get(name, -1)
    try:
        score = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        score = float("nan")
    if score != -1 and not 0 <= score <= 5:
        raise UserError(
            f"the field {name!r} must be a number from 0 to 5, but it is {fields.describe(value)}."
        )
    return [Example(inputs=inputs, targets="-1.0" if score == -1 else round_to_fifth(score))]


def round_to_fifth(score: float) -> str:
    """Rounds to the nearest fifth, in single precision with halves to even as T5 does: 2.5 gives `2.4`."""
    fifths = np.round(np.float32(score) * np.float32(5))
    return f"{float(fifths / np.float32(5)):.1f}"


def _score_stsb(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    """Correlates the numbers; a prediction that is no number counts as -1."""
    right = [metrics.parse_number(example.targets) for example in examples]
    written = [metrics.parse_number(prediction) for prediction in predictions]
    return {
        "pearson_corrcoef": of_predictions(metrics.pearson, right, written),
        "spearman_corrcoef": of_predictions(metrics.spearman, right, written),
    }


def _validation(published: int, patterns: Sequence[str] = VALIDATION, hub: str = "validation") -> Split:
    return Split(patterns=tuple(patterns), hub=hub, published=published, kind="validation")


def _data(
    folder: str,
    name: str,
    train: int | None,
    validation: int,
    columns: tuple[str, ...] | None = None,
    drop_short_rows: bool = False,
) -> DataSet:
    return DataSet(
        folders=(folder, f"glue_{name}", name),
        train=Split(patterns=TRAIN, hub="train", published=train) if train else None,
        evaluation={f"glue/{name}": _validation(validation)},
        hub=(HUB, name),
        columns=columns,
        drop_short_rows=drop_short_rows,
    )


TASKS: tuple[Task, ...] = (
    classification(
        "glue/cola",
        "CoLA: is a sentence acceptable English?",
        prefix="cola",
        features={"sentence": ("sentence",)},
        classes=("unacceptable", "acceptable"),
        data=_data("CoLA", "cola", 8551, 1043, columns=("source", "label", "original_label", "sentence")),
        metrics=("matthews_corrcoef",),
    ),
    classification(
        "glue/sst2",
        "SST-2: is a film review positive?",
        prefix="sst2",
        features={"sentence": ("sentence",)},
        classes=("negative", "positive"),
        data=_data("SST-2", "sst2", 67349, 872),
    ),
    classification(
        "glue/mrpc",
        "MRPC: do two sentences say the same?",
        prefix="mrpc",
        features={"sentence1": SENTENCE1, "sentence2": SENTENCE2},
        classes=("not_equivalent", "equivalent"),
        label_columns=("label", "Quality"),
        data=_data("MRPC", "mrpc", 3668, 408),
        metrics=("f1", "accuracy"),
    ),
    Task(
        name="glue/stsb",
        description="STS-B: how similar are two sentences, from 0 to 5?",
        metrics=("pearson_corrcoef", "spearman_corrcoef"),
        write=_write_stsb,
        scorer=_score_stsb,
        limit=limits_of((), ("pearson_corrcoef",)),
        data=_data("STS-B", "stsb", 5749, 1500),
    ),
    classification(
        "glue/qqp",
        "QQP: do two questions ask the same?",
        prefix="qqp",
        features={"question1": ("question1",), "question2": ("question2",)},
        classes=("not_duplicate", "duplicate"),
        label_columns=("label", "is_duplicate"),
        # A few rows of the official file lack fields; its readers drop them.
        data=_data("QQP", "qqp", 363849, 40430, drop_short_rows=True),
        metrics=("f1", "accuracy"),
    ),
    classification(
        "glue/mnli",
        "MNLI: does a premise entail a hypothesis, contradict it, or neither?",
        prefix="mnli",
        features={
            "hypothesis": ("hypothesis", "sentence2", "text_b"),
            "premise": ("premise", "sentence1", "text_a"),
        },
        classes=("entailment", "neutral", "contradiction"),
        label_columns=("gold_label", "label"),
        data=DataSet(
            folders=("MNLI", "glue_mnli"),
            train=Split(patterns=TRAIN, hub="train", published=392702),
            evaluation={
                f"glue/mnli/{kind}": _validation(
                    published,
                    (f"dev_{kind}.tsv", f"dev_{kind}*.tsv", f"*_{kind}*.jsonl", f"*_{kind}*.json"),
                    f"validation_{kind}",
                )
                for kind, published in (("matched", 9815), ("mismatched", 9832))
            },
            hub=(HUB, "mnli"),
        ),
    ),
    classification(
        "glue/qnli",
        "QNLI: does a sentence answer a question?",
        prefix="qnli",
        features={"question": ("question", "text_a"), "sentence": ("sentence", "text_b")},
        classes=("entailment", "not_entailment"),
        data=_data("QNLI", "qnli", 104743, 5463),
    ),
    classification(
        "glue/rte",
        "RTE: does one text entail another?",
        prefix="rte",
        features={"sentence1": (*SENTENCE1, "premise"), "sentence2": (*SENTENCE2, "hypothesis")},
        classes=("entailment", "not_entailment"),
        data=_data("RTE", "rte", 2490, 277),
    ),
    wnli(_data("WNLI", "wnli", None, 71)),
)

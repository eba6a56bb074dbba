"""SuperGLUE (Wang et al., 2019) as the T5 library writes it.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4, rows as TensorFlow Datasets reads
the official files.
"""

from __future__ import annotations

from lowland.tasks.base import DataSet, Split, Task
from lowland.tasks.classification import Features, classification
from lowland.tasks.passages import FALSE_TRUE, multirc, record
from lowland.tasks.winograd import dpr, wsc

HUB = "aps/super_glue"
TRAIN = ("train.jsonl", "train*.jsonl", "train*.json", "train*.tsv")
VALIDATION = ("val.jsonl", "val*.jsonl", "dev*.jsonl", "val*.json", "dev*.json", "dev*.tsv")


def _data(folder: str, train: int, validation: int | None) -> DataSet:
    name = folder.lower()
    split = Split(patterns=VALIDATION, hub="validation", published=validation, kind="validation")
    return DataSet(
        folders=(folder, f"superglue_{name}", f"super_glue_{name}", name),
        train=Split(patterns=TRAIN, hub="train", published=train),
        evaluation={f"superglue/{name}": split},
        hub=(HUB, name),
    )


def _diagnostic(folder: str, rows: int) -> DataSet:
    name = folder.lower().replace("-", "")
    patterns = (f"{folder}.jsonl", f"{folder}*.jsonl", f"{name}*.jsonl")
    split = Split(patterns=patterns, hub="test", published=rows, kind="test")
    return DataSet(
        folders=(folder, "superglue_diagnostics"),
        train=None,
        evaluation={f"superglue/{name}": split},
        hub=(HUB, name),
    )


_ENTAILMENT = ("entailment", "not_entailment")
_RTE: Features = {"hypothesis": ("hypothesis", "sentence2"), "premise": ("premise", "sentence1")}

TASKS: tuple[Task, ...] = (
    classification(
        "superglue/boolq",
        "BoolQ: does a passage answer a question with yes?",
        prefix="boolq",
        features={"passage": ("passage",), "question": ("question",)},
        classes=FALSE_TRUE,
        data=_data("BoolQ", 9427, 3270),
    ),
    classification(
        "superglue/cb",
        "CB: does a text entail a clause, contradict it, or neither?",
        prefix="cb",
        features={"hypothesis": ("hypothesis",), "premise": ("premise",)},
        classes=("entailment", "contradiction", "neutral"),
        data=_data("CB", 250, 56),
        metrics=("mean_3class_f1", "accuracy"),
    ),
    classification(
        "superglue/copa",
        "COPA: which of two sentences is the cause or the effect?",
        prefix="copa",
        features={name: (name,) for name in ("choice1", "choice2", "premise", "question")},
        classes=("choice1", "choice2"),
        data=_data("COPA", 400, 100),
    ),
    multirc(_data("MultiRC", 27243, 4848)),
    record(_data("ReCoRD", 138854, None)),
    classification(
        "superglue/rte",
        "RTE: does a premise entail a hypothesis?",
        prefix="rte",
        features=_RTE,
        classes=_ENTAILMENT,
        data=_data("RTE", 2490, 277),
    ),
    classification(
        "superglue/wic",
        "WiC: does a word mean the same in two sentences?",
        prefix="wic",
        features={name: (name,) for name in ("sentence1", "sentence2", "word")},
        classes=FALSE_TRUE,
        data=_data("WiC", 5428, 638),
    ),
    wsc(_data("WSC", 259, 104)),
    classification(
        "superglue/axb",
        "AX-b: entailment by linguistic phenomenon. Evaluation only",
        prefix="rte",
        features=_RTE,
        classes=_ENTAILMENT,
        data=_diagnostic("AX-b", 1104),
        metrics=("matthews_corrcoef", "accuracy"),
    ),
    classification(
        "superglue/axg",
        "AX-g: entailment with pronouns of either gender. Evaluation only",
        prefix="rte",
        features=_RTE,
        classes=_ENTAILMENT,
        data=_diagnostic("AX-g", 356),
    ),
    dpr(),
)

"""SuperGLUE (Wang et al., 2019) as the T5 library writes it.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4, rows as TensorFlow Datasets reads
the official files.
"""

from __future__ import annotations

from lowland.tasks import sources
from lowland.tasks.base import Task
from lowland.tasks.classification import ClassificationTask, Features
from lowland.tasks.passages import FALSE_TRUE, MultiRCTask, ReCoRDTask
from lowland.tasks.winograd import DPRTask, WSCTask

HUB = "aps/super_glue"
TRAIN = ("train.jsonl", "train*.jsonl", "train*.json", "train*.tsv")
VALIDATION = ("val.jsonl", "val*.jsonl", "dev*.jsonl", "val*.json", "dev*.json", "dev*.tsv")


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

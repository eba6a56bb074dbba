"""The head of a classifier: the labels that it is over, and whether it is kept or drawn anew."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from lowland.errors import UserError
from lowland.families.base import TaskExamples
from lowland.models.load import Kind

REGRESSION = "regression"
"""The `problem_type` of a head that gives a number."""

MOST_SHOWN = 8
"""Labels that a sentence lists."""


def kind_of(config: PreTrainedConfig, tasks: TaskExamples) -> Kind:
    """Says how a classifier is loaded: with a new head where its own is not of the tasks' labels."""
    auto = AutoModelForSequenceClassification
    known: Any = auto._model_mapping
    prefix = f"{known[type(config)].base_model_prefix}." if type(config) in known else ""
    trained = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
    head = head_of(tasks) if tasks else None
    fresh = head is not None and not (trained and set(head) == set(labels_of(config)))
    if head is None and not trained:
        raise UserError(
            f"This checkpoint is an encoder ({config.model_type}) without a trained classifier; train "
            "one with `lowland train` or `lowland compare`, and give its model."
        )

    old = ", ".join(map(repr, labels_of(config)[:MOST_SHOWN])) or "numbers"

    def change(config: Any) -> None:
        config.num_labels = max(1, len(head or ()))
        if head:
            config.id2label = dict(enumerate(head))
            config.label2id = {label: number for number, label in enumerate(head)}
        config.problem_type = "single_label_classification" if head else REGRESSION

    def redraw(model: PreTrainedModel) -> None:
        """Draws a head anew that was of other labels."""
        drawn = type(model)(copy.deepcopy(model.config))
        with torch.no_grad():
            for name, weight in drawn.named_parameters():
                if not name.startswith(prefix):
                    model.get_parameter(name).copy_(weight)

    return Kind(
        auto=auto,
        name="model that classifies texts",
        wanted="a checkpoint of BERT, ModernBERT, DeBERTa or another encoder",
        is_fresh=(lambda name: not name.startswith(prefix) or "pooler" in name)
        if fresh
        else lambda name: False,
        is_unused=lambda name: not name.startswith(prefix) or "pooler" in name,
        finish=redraw if fresh and trained else lambda model: None,
        change=change if fresh else lambda config: None,
        note=f"The classifier of this checkpoint is for {old}, and not for the targets: a new one is trained."
        if fresh and trained
        else "",
    )


def head_of(tasks: TaskExamples) -> tuple[str, ...]:
    """Lists the labels of tasks, in their order; none where the targets are numbers."""
    labels: dict[str, None] = {}
    numeric: list[str] = []
    for name, (task, examples) in tasks.items():
        found = task.labels(examples)
        if found:
            labels |= dict.fromkeys(found)
        elif any(metric.startswith(("pearson", "spearman")) for metric in task.metrics):
            numeric.append(name)
        else:
            raise UserError(
                f"The targets of {name} are no labels, and a classifier cannot write; give a model that "
                "writes (T5, BART, Llama), or a metric of classes such as --metric accuracy."
            )
    if numeric and labels:
        raise UserError(
            f"The targets of {numeric[0]} are numbers, and others are labels; a classifier learns one kind."
        )
    if not numeric and len(labels) < 2:
        raise UserError("A classifier needs two labels or more, and the training examples have only one.")
    return tuple(labels)


def labels_of(config: Any) -> tuple[str, ...]:
    """Lists the labels of a head, in the order of its scores; none where it gives a number.

    A head of one label gives a number in transformers, whatever it is called.
    """
    if config.problem_type == REGRESSION or config.num_labels == 1:
        return ()
    return tuple(config.id2label[number] for number in sorted(config.id2label))

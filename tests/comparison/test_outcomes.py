"""What outcomes are measured on, and how answers are scored beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from tests.cli.command import write_rows
from tests.families.test_losses import classes
from tests.families.tiny import write_model

from lowland.comparison.outcomes import Measured
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.families.recognise import load_family
from lowland.models.save import save_model
from lowland.runs.examples import load_data
from lowland.tasks.base import Example


def experiment(folder: Path, labels: int, **more: Any) -> ExperimentConfig:
    """An experiment on rows with so many labels, whose models are rounded."""
    rows = [{"text": f"mail {n}", "label": f"kind{n % labels}"} for n in range(60)]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "dev.jsonl", rows)
    files = {"train": str(folder / "train.jsonl"), "evaluation": str(folder / "dev.jsonl")}
    data = {"custom": files | {"input": "{text}", "target": "{label}"}}
    return build_config({"data": data, "outcomes": {"measure": ["quantized"], "examples": 0}}, more)


def test_many_labels_to_choose_among_leave_fewer_examples(tmp_path: Path) -> None:
    """A model that chooses among many labels scores all of them, and so is measured on fewer examples."""
    found = []
    for rank in (False, True):
        config = experiment(tmp_path, 30, family={"rank": rank}, train={"steps": 300, "batch_size": 8})
        found.append(Measured(config, load_data(config.data)).settings["examples"])
    writing, choosing = found
    # An example takes 1 + 2 (1 + 2) = 7 passes of a model that writes, and 1 + 2 (1 + 30) = 63 of the other.
    assert writing == 77 and choosing == 20  # the least number


def test_no_question_is_torn(tmp_path: Path) -> None:
    """A question that is begun is measured with all its answers."""
    config = experiment(tmp_path, 2, outcomes={"measure": ["quantized"], "examples": 4})
    data = load_data(config.data)
    (name,) = data.evaluation
    rows = [
        Example(inputs=f"mail {n}", targets="kind0", ids={"question": n // 3, "answer": n}) for n in range(9)
    ]
    folder = tmp_path / "model"
    save_model(
        load_family(str(write_model(tmp_path, "bert")), start=classes("kind0", "kind1")).loaded, folder
    )
    measured = Measured(config, dataclasses.replace(data, evaluation={name: rows}))
    assert measured._of_model(config.of(config.reference), folder)[name]["examples"] == 6


def test_a_classifier_of_several_tasks_answers_as_ever(tmp_path: Path) -> None:
    """After rounding, too, a classifier may give a label of another task, which is wrong."""
    config = experiment(tmp_path, 2)
    family = load_family(str(write_model(tmp_path, "bert")), start=classes("kind0", "kind1", "other"))
    model: Any = family.loaded.model
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([0.0, 0.0, 100.0]))
    save_model(family.loaded, tmp_path / "model")
    data = load_data(config.data)
    (name,) = data.evaluation
    found = Measured(config, data)._of_model(config.of(config.reference), tmp_path / "model")[name]
    assert found["outcomes"]["accuracy after int8"] == 0.0

"""Scoring rows of one's own with a model whose training is known in part."""

from __future__ import annotations

from pathlib import Path

import transformers
from tests.cli.command import succeed, write_rows
from tests.families.tiny import write_model
from tests.tasks.scoring import score

from lowland.cli import command_parser
from lowland.cli.eval import find_tasks
from lowland.models.load import quiet_transformers
from lowland.runs.predict import Usage


def test_the_positive_class_of_training_is_for_f1_alone(tmp_path: Path) -> None:
    """A model that was trained with a positive class can be scored by other metrics without a word of it."""
    rows = [{"text": f"mail {number}", "label": ("ham", "spam")[number % 2]} for number in range(20)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    usage = Usage(tasks=("mine",), template="{text}", labels=("ham", "spam"), positive="ham")
    targets = [row["label"] for row in rows]
    for more, scores in (([], {"accuracy": 50.0}), (["--metric", "f1"], {"f1": 100 * 2 / 3})):
        words = ["--model", "any", "--test", str(file), "--target", "{label}", *more]
        (task,) = find_tasks(command_parser("eval").parse_words(words), usage)
        task.load()
        assert {name: round(value, 6) for name, value in score(task, targets, ["ham"] * 20).items()} == {
            name: round(value, 6) for name, value in scores.items()
        }


def test_labels_that_a_model_never_gives_are_told(tmp_path: Path) -> None:
    """Targets that are none of a classifier's labels are counted, as none of them can be right."""
    folder = write_model(tmp_path / "model", "bert")
    with quiet_transformers():
        labels = {0: "Good", 1: "Bad"}
        transformers.BertForSequenceClassification.from_pretrained(folder, id2label=labels).save_pretrained(
            folder
        )
    rows = write_rows(
        tmp_path / "rows.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "Bad"}]
    )
    said = succeed("eval", "--model", folder, "--test", rows, "--input", "{text}", "--target", "{label}").err
    assert "1 of 2 evaluation targets are none of the labels of this model: 'good' (1)." in " ".join(
        said.split()
    )

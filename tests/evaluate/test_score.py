"""Evaluation sets are decoded with their task's lengths, scored by it, and written whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fixtures.models import tiny_loaded

from lowland.evaluate import evaluate_sets, generate, write_predictions
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.tasks.base import Example, Task


def scorer(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, float]:
    """Exact matches in percent, and the number of examples."""
    pairs = zip(examples, predictions, strict=True)
    right = [example.targets == prediction for example, prediction in pairs]
    return {"accuracy": 100 * sum(right) / len(right), "count": float(len(right))}


ECHO = Task(
    name="echo",
    description="for tests",
    metrics=("accuracy", "count"),
    write=lambda row, split: [],
    scorer=scorer,
    input_length=6,
    target_length=5,
)
INPUTS = ["a", "a longer one", "bc", "defg"]


def test_scores_of_several_sets() -> None:
    """Each set is decoded with its task's lengths and scored by its task, in the order given."""
    loaded = tiny_loaded("t5.1.1")
    written = generate(loaded, INPUTS, input_length=6, target_length=5)
    right = [Example(inputs=text, targets=target) for text, target in zip(INPUTS, written, strict=True)]
    half = [*right[:2], *(Example(inputs=text, targets="no such answer") for text in INPUTS[2:])]
    results = evaluate_sets(
        EncoderDecoder(loaded), {"half": ECHO, "all/right": ECHO}, {"all/right": right, "half": half}
    )
    assert list(results) == ["all/right", "half"]
    assert results["all/right"].metrics == {"accuracy": 100.0, "count": 4.0}
    assert results["half"].metrics["accuracy"] == 50.0
    assert results["half"].predictions == tuple(written)
    assert results["half"].examples == 4
    assert results["half"].seconds > 0


def test_lengths_of_the_run_come_first() -> None:
    """Lengths given to the evaluation replace the task's."""
    loaded = tiny_loaded("t5.1.1")
    examples = [Example(inputs=text, targets="") for text in INPUTS]
    results = evaluate_sets(
        EncoderDecoder(loaded), {"set": ECHO}, {"set": examples}, input_length=4, target_length=2
    )
    assert list(results["set"].predictions) == generate(loaded, INPUTS, input_length=4, target_length=2)


def test_predictions_file(tmp_path: Path) -> None:
    """One JSON line per example, with line ends and other scripts kept, under folders that are made."""
    path = tmp_path / "predictions" / "glue" / "sst2-10.jsonl"
    examples = [Example(inputs="one\nline", targets="日本"), Example(inputs='"', targets="\u2028")]
    write_predictions(path, examples, ["x", ""])
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert [json.loads(line) for line in lines] == [
        {"inputs": "one\nline", "targets": "日本", "prediction": "x"},
        {"inputs": '"', "targets": "\u2028", "prediction": ""},
    ]
    assert [file.name for file in path.parent.iterdir()] == ["sst2-10.jsonl"]


def test_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """Where examples and predictions do not match, the old file stays and nothing lies beside it."""
    path = tmp_path / "p.jsonl"
    examples = [Example(inputs="a", targets="b")]
    write_predictions(path, examples, ["old"])
    with pytest.raises(ValueError, match="zip"):
        write_predictions(path, examples, ["new", "one too many"])
    assert json.loads(path.read_text())["prediction"] == "old"
    assert len(list(tmp_path.iterdir())) == 1

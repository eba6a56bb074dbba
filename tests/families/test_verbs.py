"""The other verbs on models of every family: sharpness, stops, grids, mixtures of registered tasks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.cli.command import call, succeed
from tests.families.test_training import SHORT
from tests.families.tiny import write_model, write_rows

pytestmark = pytest.mark.slow

QUICK = [
    *("--radii", "0.05", "--examples", "8", "--batch-size", "8", "--hessian-examples", "4"),
]


@pytest.mark.parametrize(
    ("kind", "extra"),
    [("llama", []), ("bert", []), ("llama", ["--lora", "r=2"]), ("bert", ["--lora", "r=2"])],
)
def test_sharpness(kind: str, extra: list[str], tmp_path: Path) -> None:
    """Loss, rise and eigenvalue are finite numbers for each family, adapters too."""
    options = write_rows(tmp_path)
    model = write_model(tmp_path / "start", kind)
    out = tmp_path / "out"
    succeed("compare", *options, "--model", model, *SHORT, *extra, "--seeds", "1", "--out", out)
    succeed("sharpness", out, *QUICK)
    files = sorted((out / "sharpness").glob("*-seed0*.json"))
    assert len(files) == 2
    for file in files:
        figures = json.loads(file.read_text())["splits"]["train"]
        assert figures["loss"] > 0 and figures["gradient_norm"] > 0
        assert math.isfinite(figures["rises"][0][1]) and math.isfinite(figures["eigenvalue"])


def test_grid(tmp_path: Path) -> None:
    """A grid of radii runs on a classifier."""
    options = write_rows(tmp_path)
    model = write_model(tmp_path / "start", "bert")
    words = ["--model", model, *SHORT, "--seeds", "1", "--out", tmp_path / "out"]
    result = succeed("compare", "--grid", "rho=0.02,0.1", *options, *words)
    assert "0.02" in result.out and "0.1" in result.out


@pytest.mark.parametrize("task", ["glue/rte", "glue/stsb", "superglue/cb", "superglue/boolq"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_registered_tasks(kind: str, task: str, tmp_path: Path, shared: Path) -> None:
    """Registered tasks become classes, numbers or prompts with completions, as the family wants them."""
    model = write_model(tmp_path / "start", kind)
    words = ["--data-dir", shared / "data", "--fraction", "0.01", "--eval-limit", "12", "--held-out", "0"]
    out = tmp_path / "out"
    succeed("train", task, *words, "--model", model, *SHORT, "--input-length", "64", "--out", out)
    rows = [json.loads(line) for file in (out / "sam-seed0" / "predictions").glob("**/*-4.jsonl")
            for line in file.read_text().splitlines()]  # fmt: skip
    assert rows
    if kind == "bert" and task == "glue/stsb":
        assert all(math.isfinite(float(row["prediction"])) for row in rows)
    elif kind == "bert":
        labels = set(json.loads((out / "model" / "lowland.json").read_text())["labels"])
        assert {row["prediction"] for row in rows} <= labels


def test_a_mixture_of_labels_and_numbers_is_refused(tmp_path: Path, shared: Path) -> None:
    """A classifier learns labels or numbers, not both; a task of free text neither."""
    model = write_model(tmp_path / "start", "bert")
    words = ["--data-dir", shared / "data", "--model", model, *SHORT]
    result = call("train", "glue/rte", "glue/stsb", *words, "--out", tmp_path / "out")
    assert result.code == 2 and "learns one kind" in " ".join(result.err.split())

"""The same real rows, as a registered task's official files and as a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import SMALL, succeed, trajectory


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_official_and_own_rows_agree(tmp_path: Path, shared: Path) -> None:
    """SST-2 as a task and as a user's TSV with the task's template gives the same log and weights."""
    lines = (shared / "data" / "glue_sst2" / "train.tsv").read_text().splitlines()[:200]
    dev = (shared / "data" / "glue_sst2" / "dev.tsv").read_text().splitlines()[:40]
    for name, rows in (("train", lines), ("dev", dev)):
        own = [
            f"{text}\t{('negative', 'positive')[int(label)]}"
            for text, label in (r.split("\t") for r in rows[1:])
        ]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *own]) + "\n")
        (tmp_path / "SST-2").mkdir(exist_ok=True)
        (tmp_path / "SST-2" / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    options = [*SMALL, "--model", shared / "models" / "nano-t5"]
    succeed("train", "glue/sst2", "--data-dir", tmp_path, *options, "--out", tmp_path / "task" / "out")
    succeed(
        "train", "--train", tmp_path / "train.tsv", "--eval", tmp_path / "dev.tsv",
        "--name", "glue/sst2",  # each task draws from a random stream of its own name
        "--input", "sst2 sentence: {text}", "--target", "{label}", *options,
        "--out", tmp_path / "own" / "out",
    )  # fmt: skip
    task, own_rows = (trajectory(tmp_path / name / "out" / "sam-seed0") for name in ("task", "own"))
    assert (task.log, task.weights) == (own_rows.log, own_rows.weights)

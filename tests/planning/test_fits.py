"""What a plan shows of the data, and of what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.command import call

OWN = "--split 0.25 --input {text} --target {label} --held-out 0 --batch-size 4 --steps 1"


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets of two kinds, one of which is rare, in the working directory."""
    monkeypatch.chdir(tmp_path)
    labels = ["spam" if index % 4 == 3 else "ham" for index in range(32)]
    rows = [{"text": f"mail number {index}", "label": label} for index, label in enumerate(labels)]
    Path("mails.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(more: str) -> list[str]:
    """A command on the tickets."""
    return f"compare --train mails.jsonl {OWN} {more}".split()


def test_a_plan_shows_classes_and_an_example() -> None:
    """A plan counts the classes, names the class of F1, and shows one input with its target."""
    result = call(*words("--plan --metric f1"))
    said = " ".join(result.out.split())
    assert result.code == 0, result.err
    assert "ham 19, spam 5; the positive class of f1 is spam" in said
    assert "'mail number 0' -> 'ham'" in said


def test_a_plan_reads_further_test_sets() -> None:
    """A further test set that cannot be read, or not as the test set is, is told before training."""
    missing = call(*words("--plan --also spoken=nowhere.jsonl"))
    assert missing.code == 2 and "nowhere.jsonl" in missing.err
    Path("strange.jsonl").write_text('{"body": "mail", "label": "ham"}\n')
    strange = call(*words("--plan --also spoken=strange.jsonl"))
    assert strange.code == 2 and "strange.jsonl" in strange.err and "'text'" in strange.err


def test_a_plan_beyond_the_memory_says_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a batch does not fit into the free memory, the plan names a micro-batch that does."""
    monkeypatch.setattr("lowland.planning.plan.available_memory", lambda device: 300_000_000)
    planned = call(*words("--batch-size 4096 --plan"))
    assert planned.code == 0 and "0.3 GB free" in planned.out and "give --micro-batch-size" in planned.out

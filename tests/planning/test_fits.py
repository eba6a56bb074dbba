"""What a plan shows of the data, and that an experiment which does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
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
    assert "ham 19, spam 5; f1 is of spam" in said
    assert "'mail number 0' -> 'ham'" in said


def test_a_plan_reads_further_test_sets() -> None:
    """A further test set that cannot be read, or not as the test set is, is told before training."""
    missing = call(*words("--plan --also spoken=nowhere.jsonl"))
    assert missing.code == 2 and "nowhere.jsonl" in missing.err
    Path("strange.jsonl").write_text('{"body": "mail", "label": "ham"}\n')
    strange = call(*words("--plan --also spoken=strange.jsonl"))
    assert strange.code == 2 and "strange.jsonl" in strange.err and "'text'" in strange.err


def test_an_experiment_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more memory than is free ends in one sentence with the way out, and nothing is written."""
    monkeypatch.setattr("lowland.planning.plan.available_memory", lambda device: 300_000_000)
    refused = call(*words("--batch-size 4096 --out out"))
    assert refused.code == 2
    assert "memory" in refused.err and "300 MB are free" in refused.err.replace("0.3 GB", "300 MB")
    assert "--micro-batch-size" in refused.err and "--anyway" in refused.err
    assert not Path("out").exists()
    # To look at the plan is no mistake.
    planned = call(*words("--batch-size 4096 --plan"))
    assert planned.code == 0 and "--micro-batch-size" in planned.out


def test_an_experiment_beyond_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more disk than is free ends in one sentence; --anyway starts all the same."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    refused = call(*words("--out out"))
    assert refused.code == 2
    assert "of disk, and 1 MB are free" in refused.err and not Path("out").exists()
    started = call(*words("--out out --anyway --seeds 1"))
    assert started.code == 0, started.err

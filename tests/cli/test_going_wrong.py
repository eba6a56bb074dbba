"""Runs that go wrong, through the command line: what is said, what is kept, what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import SMALL, call, succeed

DIVERGING = ["facts/continents", *SMALL, "--optimizer", "adamw", "--learning-rate", "1e30"]


def read_status(run: Path) -> dict[str, Any]:
    """Reads the status of a run."""
    status: dict[str, Any] = json.loads((run / "status.json").read_text())
    return status


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SAM that stopped at its second step."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    result = call("train", *DIVERGING, "--out", out)
    assert result.code == 2
    assert "Traceback" not in result.err
    return out / "sam-seed0"


def test_stop_says_where(stopped: Path) -> None:
    """A run whose loss is not finite fails at that step, and says what to change."""
    status = read_status(stopped)
    assert status["state"] == "failed"
    assert "At step 2 the loss is nan" in status["error"]
    assert "learning rate (now 1e+30) or rho" in status["error"]


def test_skip_counts(tmp_path: Path) -> None:
    """With --on-non-finite skip a run goes on, and status and report say how many updates were left out."""
    out = tmp_path / "out"
    done = succeed("train", *DIVERGING, "--arm", "baseline", "--on-non-finite", "skip", "--out", out)
    log = (out / "baseline-seed0" / "train.jsonl").read_bytes()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["skipped"] for line in lines] == [0, 1, 2, 3]
    assert [line["loss"] is None for line in lines] == [False, True, True, True]
    sentence = "3 of 4 updates were left out, the first at step 2"
    assert any(sentence in warning for warning in read_status(out / "baseline-seed0")["warnings"])
    assert sentence in (out / "report" / "report.md").read_text()
    assert sentence in " ".join(done.out.split())


def test_hopeless_is_not_skipped(tmp_path: Path) -> None:
    """Where ten updates in a row would be left out, training stops instead of going on for nothing."""
    options = ["--steps", "30", "--on-non-finite", "skip"]
    result = call("train", *DIVERGING, *options, "--arm", "baseline", "--out", tmp_path / "out")
    assert result.code == 2
    assert "At step 11" in result.err and "as in the 9 steps before" in result.err

"""A preset of 250,000 steps starts, says what it will take, and goes on after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import succeed

from lowland.runs.directory import RunDirectory


def lines(log: Path) -> list[dict[str, Any]]:
    """Reads the whole lines of a log that may be being written."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def run_until(command: list[str], log: Path, reached: Callable[[], bool], number: signal.Signals) -> str:
    """Runs a command with its output in a file, ends it when it got somewhere, and returns the output."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "lowland", *command],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        try:
            while not reached():
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            process.send_signal(number)
            process.wait(timeout=120)
        finally:
            process.kill()
    return log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_starts_checkpoints_and_goes_on(tmp_path: Path, shared: Path) -> None:
    """Killed after a checkpoint and begun again, 250,000 steps go on as if nothing had happened."""
    out = tmp_path / "out"
    data = ("superglue/cb", "superglue/copa", "superglue/wsc", "dpr", "--data-dir", str(shared / "data"))
    small = (
        *("--model", "embedded", "--batch-size", "4", "--input-length", "32", "--target-length", "8"),
        *("--eval-limit", "2", "--evaluate-every", "4", "--log-every", "1", "--precision", "fp32"),
    )
    command = ["compare", *data, "--preset", "paper-base", *small]
    run = RunDirectory(out, "baseline", 0)
    log = run.path / "train.jsonl"

    def after_a_state() -> bool:
        return bool(run.states()) and lines(log)[-1]["step"] > 5

    first = run_until([*command, "--out", str(out)], tmp_path / "first", after_a_state, signal.SIGKILL)
    assert "250,000 steps of 4 examples" in first
    assert "on this machine" in first
    assert run.status()["state"] == "running"
    saved = int(run.states()[0].name.removeprefix("step-"))

    def further() -> bool:
        return lines(log)[-1]["step"] > saved + 6

    second = run_until([*command, "--out", str(out)], tmp_path / "second", further, signal.SIGINT)
    assert f"resumes after step {saved}" in second
    assert "The same command resumes where it stopped" in second
    found = lines(log)
    assert [line["step"] for line in found] == list(range(1, len(found) + 1))
    # The state of the end was saved, too, beside that of the last checkpoint.
    assert int(run.states()[0].name.removeprefix("step-")) == len(found)

    succeed(*command, "--steps", str(saved + 4), "--seeds", "1", "--out", tmp_path / "other" / "through")
    assert (
        lines(RunDirectory(tmp_path / "other" / "through", "baseline", 0).path / "train.jsonl")
        == found[: saved + 4]
    )

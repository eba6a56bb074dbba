"""A comparison that is killed goes on with the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.command import SMALL, files, succeed, trajectory

from lowland.runs.directory import RunDirectory

RUNS = ["baseline-seed0", "sam-seed0", "baseline-seed1", "sam-seed1"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """Killed in its third run, a comparison leaves finished runs alone and ends as if it had run through."""
    out = tmp_path / "out"
    command = ["compare", "facts/continents", *SMALL, "--seeds", "2", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "lowland", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not (out / RUNS[2] / "train.jsonl").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "The same command resumes where it stopped" in err
        assert "Traceback" not in err
    assert not RunDirectory(out, "sam", 1).done
    finished = {run: files(out / run) for run in RUNS[:2]}

    succeed(*command)
    assert {run: files(out / run) for run in RUNS[:2]} == finished
    through = tmp_path / "through" / "out"
    succeed(*command[:-1], str(through))
    assert [trajectory(out / run) for run in RUNS] == [trajectory(through / run) for run in RUNS]
    assert (out / "report" / "report.md").exists()

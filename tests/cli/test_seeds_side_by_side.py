"""A comparison whose seeds run side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.command import SMALL, call, succeed, trajectory

from lowland.experiment.directory import RunDirectory

COMMAND = ["compare", "facts/continents", *SMALL, "--seeds", "2"]
RUNS = ["standard-seed0", "sam-seed0", "standard-seed1", "sam-seed1"]


def in_a_process(*words: str | Path, stop_at: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `lowland` on one thread, in a process that is asked to stop once a file is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lowland", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if stop_at is not None:
        while not stop_at.exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_runs_as_one_after_another(tmp_path: Path) -> None:
    """Two seeds at a time train the same runs and give the same report as one after the other."""
    one, both = tmp_path / "one", tmp_path / "both"
    assert in_a_process(*COMMAND, "--out", one).returncode == 0
    # As many jobs as there are cores leave one thread to each, or more; the processes that they start
    # take the number from the environment here.
    jobs = str(max(2, len(os.sched_getaffinity(0))))
    result = succeed(*COMMAND, "--out", both, "--jobs", jobs)
    assert [trajectory(both / run) for run in RUNS] == [trajectory(one / run) for run in RUNS]
    tables = [(path / "report" / "tables" / "scores-held-out.csv").read_text() for path in (one, both)]
    assert tables[0] == tables[1]
    assert (both / "model" / "model.safetensors").exists()
    assert "[2/2] seed" in result.out
    assert f"{jobs} seeds at a time" in result.out or "2 seeds at a time" in result.out
    again = succeed(*COMMAND, "--out", both, "--jobs", jobs)
    assert "2 of 2 seeds done before" in again.out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interruption_stops_all_and_either_command_goes_on(tmp_path: Path) -> None:
    """Ctrl-C stops the processes with their state saved; without --jobs the rest is the same bit for bit."""
    through, out = tmp_path / "through", tmp_path / "out"
    longer = [*COMMAND, "--steps", "16"]
    assert in_a_process(*longer, "--out", through).returncode == 0
    jobs = str(max(2, len(os.sched_getaffinity(0))))
    stopped = in_a_process(
        *longer, "--out", out, "--jobs", jobs, stop_at=out / "standard-seed1" / "train.jsonl"
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "The same command goes on where it stopped" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not RunDirectory(out, "sam", 1).done
    assert not (out / "report").exists()
    assert in_a_process(*longer, "--out", out).returncode == 0
    assert [trajectory(out / run) for run in RUNS] == [trajectory(through / run) for run in RUNS]


def test_a_process_that_ends_early_is_told(tmp_path: Path) -> None:
    """Where a seed's process cannot run it, one sentence says so and where the log is; others are kept."""
    out = tmp_path / "out"
    broken = out / "standard-seed1"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "status.json").write_text("{")
    words = [*COMMAND, "--steps", "1"]
    (out / "experiment.toml").write_text("")
    result = call(*words, "--out", out, "--jobs", "2")
    assert result.code == 2
    assert "holds another experiment" in result.err
    (out / "experiment.toml").unlink()
    for file in (broken / "status.json", broken / "checkpoints"):
        file.rename(tmp_path / file.name)
    broken.rmdir()
    succeed(*words, "--seeds", "1", "--out", out)
    broken.mkdir()
    for name in ("status.json", "checkpoints"):
        (tmp_path / name).rename(broken / name)
    result = call(*words, "--out", out, "--jobs", "2")
    assert result.code == 2
    assert "seed1: " in result.err
    assert "status.json cannot be read" in result.err
    assert f"See {out / 'jobs' / 'seed1.log'}" in " ".join(result.err.split())
    assert result.err.count("\n") == 1
    assert RunDirectory(out, "sam", 0).done


def test_runs_that_fail_fail_the_experiment(tmp_path: Path) -> None:
    """Where every run diverges, the experiment fails as it does without --jobs, with the reason."""
    words = ["compare", "facts/continents", *SMALL, "--seeds", "2", "--learning-rate", "1e30"]
    result = call(*words, "--out", tmp_path / "out", "--jobs", "2")
    assert result.code == 2
    assert "Every run failed. The first one: " in result.err
    statuses = [json.loads((tmp_path / "out" / run / "status.json").read_text()) for run in RUNS]
    assert {status["state"] for status in statuses} == {"failed"}


@pytest.mark.parametrize(("jobs", "sentence"), [("0", "--jobs: must be at least 1"), ("x", "--jobs")])
def test_mistakes(jobs: str, sentence: str, tmp_path: Path) -> None:
    """A number of jobs that is none is refused before anything is run."""
    result = call(*COMMAND, "--out", tmp_path / "out", "--jobs", jobs)
    assert result.code == 2
    assert sentence in result.err
    assert not (tmp_path / "out").exists()

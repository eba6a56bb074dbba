"""A comparison whose runs are trained side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import SMALL, call, succeed, trajectory

from lowland.comparison import jobs
from lowland.files import remove
from lowland.runs import guard
from lowland.runs.directory import RunDirectory

COMMAND = ["compare", "facts/continents", *SMALL, "--seeds", "2"]
RUNS = ["baseline-seed0", "sam-seed0", "baseline-seed1", "sam-seed1"]


def in_a_process(
    *words: str | Path, stop_at: Path | None = None, by: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """Runs `lowland` on one thread, in a process that is stopped once a file is there."""
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
        process.send_signal(by)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    """Leaves two cores at most, so that of two processes each has one thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


def stopped_with_jobs(tmp_path: Path, by: signal.Signals) -> tuple[list[str], Path, Path, Any]:
    """Runs a comparison to its end, and stops another in its second seed, two runs at a time.

    Returns:
        The command without its directory, the directories of both, and how the second process ended.
    """
    through, out = tmp_path / "through" / "out", tmp_path / "out"
    command = [*COMMAND, "--steps", "16"]
    assert in_a_process(*command, "--out", through).returncode == 0
    stop_at = out / "baseline-seed1" / "train.jsonl"
    return command, through, out, in_a_process(*command, "--out", out, "--jobs", "2", stop_at=stop_at, by=by)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_runs_as_one_after_another(tmp_path: Path) -> None:
    """Two runs at a time are the same runs and give the same report as one after the other."""
    one, both = tmp_path / "one" / "out", tmp_path / "both" / "out"
    assert in_a_process(*COMMAND, "--out", one).returncode == 0
    result = succeed(*COMMAND, "--out", both, "--jobs", "2")
    assert [trajectory(both / run) for run in RUNS] == [trajectory(one / run) for run in RUNS]
    tables = [(path / "report" / "tables" / "scores-last-step.csv").read_text() for path in (one, both)]
    assert tables[0] == tables[1]
    assert (both / "model" / "model.safetensors").exists()
    assert "[4/4] " in result.out
    # Both begin before either ends.
    assert (
        result.out.index("baseline, seed 0: started")
        < result.out.index("sam, seed 0: started")
        < result.out.index("[1/4]")
    )
    assert "2 runs at a time" in " ".join(result.out.split())
    again = succeed(*COMMAND, "--out", both, "--jobs", "2")
    assert again.out.count("done before") == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interruption_stops_all_and_either_command_goes_on(tmp_path: Path) -> None:
    """Ctrl-C stops the processes with their state saved; without --jobs the rest is the same bit for bit."""
    command, through, out, stopped = stopped_with_jobs(tmp_path, signal.SIGINT)
    assert stopped.returncode == 130, stopped.stderr
    assert "The same command resumes where it stopped" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not RunDirectory(out, "sam", 1).done
    assert not (out / "report").exists()
    assert in_a_process(*command, "--out", out).returncode == 0
    assert [trajectory(out / run) for run in RUNS] == [trajectory(through / run) for run in RUNS]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_is_killed_leaves_no_one_running(tmp_path: Path) -> None:
    """After SIGKILL the same command waits for what is still saving, and ends as if nothing had been."""
    command, through, out, killed = stopped_with_jobs(tmp_path, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    again = in_a_process(*command, "--out", out, "--jobs", "2")
    assert again.returncode == 0, again.stderr
    assert [trajectory(out / run) for run in RUNS] == [trajectory(through / run) for run in RUNS]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_that_another_command_trains_is_waited_for(tmp_path: Path) -> None:
    """While another process has a run, nothing of it is removed; when it is free, training goes on."""
    out, words = tmp_path / "out", [*COMMAND, "--steps", "1", "--seeds", "1"]
    succeed(*words, "--out", out)
    run = (out / "sam-seed0").resolve()
    remove(run)
    aside = run / "states" / ".step-2.12345678.aside"
    aside.mkdir(parents=True)
    released = threading.Event()

    def hold() -> None:
        with guard.locked(run.parent / ".locks", run.name):
            released.wait(timeout=60)
            assert aside.exists()

    holder = threading.Thread(target=hold)
    holder.start()
    threading.Timer(8.0, released.set).start()
    result = succeed(*words, "--out", out)
    holder.join()
    assert "sam, seed 0: process" in result.out and "waiting for it" in result.out
    assert not aside.exists() and RunDirectory(out, "sam", 0).done


def test_a_process_that_dies_is_not_an_earlier_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends without a word is told as such, though its run had failed in the command before."""
    out = tmp_path / "out"
    succeed(*COMMAND, "--steps", "1", "--seeds", "1", "--out", out)
    status = json.loads((out / "sam-seed0" / "status.json").read_text())
    failed = {**status, "state": "failed", "error": "The loss is not finite."}
    (out / "sam-seed0" / "status.json").write_text(json.dumps(failed))

    def die(arguments: list[str]) -> list[str]:
        return [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]

    monkeypatch.setattr(jobs, "command", die)
    result = call(*COMMAND, "--steps", "1", "--out", out, "--seeds", "1", "--jobs", "2")
    assert result.code == 2
    assert "sam, seed 0: Its process was ended from outside. Was there too little memory?" in result.err
    assert "not finite" not in result.err
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_a_process_that_ends_early_is_told(tmp_path: Path) -> None:
    """Where a run's process cannot run it, one sentence says so and where the log is; others are kept."""
    out = tmp_path / "out"
    words = [*COMMAND, "--steps", "1", "--seeds", "1"]
    succeed(*words, "--out", out)
    (out / "baseline-seed0" / "status.json").write_text("{")
    result = call(*words, "--out", out, "--jobs", "2")
    assert result.code == 2
    assert "baseline, seed 0: " in result.err
    assert "status.json cannot be read" in result.err
    assert f"See {out / 'jobs' / 'baseline-seed0.log'}" in " ".join(result.err.split())
    assert result.err.count("\n") == 1
    assert RunDirectory(out, "sam", 0).done


@pytest.mark.slow
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

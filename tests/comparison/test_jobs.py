"""Runs side by side, with processes that only write what training would leave."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lowland.comparison import jobs
from lowland.comparison.jobs import Job, Running, by_submitit, cores, in_processes, make_jobs, run_jobs
from lowland.config.experiment import ExperimentConfig, build_config
from lowland.config.layers import read_layer
from lowland.errors import UserError
from lowland.runs.store import runs_of

CONTENT = {"train facts/capitals": "1", "evaluation facts/capitals": "2", "model embedded": "3"}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.001)


def config_of(**settings: Any) -> ExperimentConfig:
    """Three arms and two seeds of ten steps."""
    base = {"data": {"tasks": ["facts/capitals"]}, "train": {"steps": 10}, "seeds": [0, 1]}
    arms = {"baseline": {}, "rho=0.05": {"sam.rho": 0.05}, "rho=0.1": {"sam.rho": 0.1}}
    return build_config({**base, "arms": arms, **settings})


def jobs_of(out: Path, config: ExperimentConfig) -> list[Job]:
    """The jobs of what is left of an experiment."""
    return make_jobs(config, out, runs_of(config, out / "runs", CONTENT))


def finish(job: Job, **status: Any) -> None:
    """Leaves a run as if it were done."""
    job.run.path.mkdir(parents=True, exist_ok=True)
    (job.run.path / "status.json").write_text(json.dumps({"state": "done", **status}))


class Pretender:
    """Launches threads that finish runs, or fail."""

    def __init__(self, known: Sequence[Job], failing: str = "", diverging: str = "") -> None:
        self.known = {job.settings: job for job in known}
        self.failing = failing
        self.diverging = diverging
        self.trained: list[str] = []
        self.most = self.running = 0
        self._lock = threading.Lock()

    def __call__(self, arguments: Sequence[str], log: Path, slot: int) -> Running:
        """Starts a thread."""
        self.most = max(self.most, slot + 1)
        job = self.known[Path(arguments[arguments.index("--config") + 1])]
        config = build_config(read_layer(job.settings))
        assert (list(config.arms), config.seeds) == ([job.run.arm], (job.run.seed,))
        thread = threading.Thread(target=self._work, args=(job,))
        thread.start()
        return Running(lambda: not thread.is_alive(), lambda at_once: thread.join())

    def _work(self, job: Job) -> None:
        with self._lock:
            self.running += 1
        time.sleep(0.01)
        if job.name == self.failing:
            job.log.write_text("starting\nlowland: The file x is missing.\n")
        elif job.name == self.diverging:
            finish(job, state="failed", error="The loss is not finite at step 3.")
        else:
            finish(job)
            self.trained.append(job.run.path.name)
        with self._lock:
            self.running -= 1


class Silent:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.ended: dict[str, str | None] = {}

    def on_note(self, sentence: str) -> None:
        """Called when a run begins, and when all are told to stop."""

    def on_end(self, job: Job, problem: str | None) -> None:
        """Called when a run has ended."""
        self.ended[job.name] = problem

    def on_wait(self) -> None:
        """Called while processes run."""


def test_every_run_is_trained_once(tmp_path: Path) -> None:
    """Side by side, each run is trained once, at most so many at a time, and what is done is no job."""
    config = config_of()
    todo = jobs_of(tmp_path, config)
    launcher, silent = Pretender(todo), Silent()
    assert run_jobs(todo, launcher, 3, silent) == {}
    assert len(launcher.trained) == len(set(launcher.trained)) == 6
    assert launcher.most == 3
    assert set(silent.ended.values()) == {None}
    assert jobs_of(tmp_path, config) == []


def test_a_failed_run_stops_no_other(tmp_path: Path) -> None:
    """A run that diverges and one whose process fails are told with their reasons; the others are done."""
    todo = jobs_of(tmp_path, config_of())
    launcher = Pretender(todo, failing="rho=0.05, seed 0", diverging="baseline, seed 1")
    failed = run_jobs(todo, launcher, 2, Silent())
    assert {job.name: problem for job, problem in failed.items()} == {
        "rho=0.05, seed 0": "The file x is missing.",
        "baseline, seed 1": "The loss is not finite at step 3.",
    }
    assert len(launcher.trained) == 4
    assert run_jobs(jobs_of(tmp_path, config_of()), Pretender(todo), 2, Silent()) == {}


def test_a_process_that_dies_is_no_earlier_failure(tmp_path: Path) -> None:
    """A process that ends without a word is told as such, though its run had failed in the command before."""
    (job, *_) = jobs_of(tmp_path, config_of())
    finish(job, state="failed", error="The loss is not finite.")

    class Dying(Pretender):
        def _work(self, job: Job) -> None:
            job.log.write_text("")

    (problem,) = run_jobs([job], Dying([job]), 1, Silent()).values()
    assert problem == "Its process was ended from outside. Was there too little memory?"


def test_an_interruption_stops_the_jobs(tmp_path: Path) -> None:
    """After Ctrl-C no job is left running."""
    todo = jobs_of(tmp_path, config_of())
    launcher = Pretender(todo)

    class Interrupting(Silent):
        def on_end(self, job: Job, problem: str | None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(todo, launcher, 2, Interrupting())
    assert launcher.running == 0


def test_cores_are_divided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of several processes gets its share of the cores, one at least."""
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_, env, **__: seen.append(env))
    for number in (1, 2, 1000):
        in_processes(number)(["--version"], tmp_path / "log", 0)
    assert [env["OMP_NUM_THREADS"] for env in seen] == [str(cores()), str(max(1, cores() // 2)), "1"]


def test_gpus_are_given_out_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs that run at the same time get different GPUs, of those that this process may use."""
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_, env, **__: seen.append(env))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    launch = in_processes(3)
    for slot in range(3):
        launch(["--version"], tmp_path / "log", slot)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen] == ["2", "5", "2"]


def test_a_missing_engine_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without submitit the user reads how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'lowland\[cluster\]'"):
        by_submitit(tmp_path, "slurm", {}, 1)


def test_unknown_cluster_options_are_one_sentence(tmp_path: Path) -> None:
    """What submitit refuses is said in one sentence."""
    pytest.importorskip("submitit", reason="clusters need submitit: pip install 'lowland[cluster]'")
    with pytest.raises(UserError, match="submitit cannot use this cluster"):
        by_submitit(tmp_path, "local", {"no_such_option": 1}, 1)


@pytest.mark.parametrize(
    ("limit", "least"), [("50000 100000", 1), ("150000 100000", 2), ("max 100000", 10**6)]
)
def test_a_containers_quota_limits_the_cores(limit: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the cores that the system gives, a container's quota leaves as many as it pays for, rounded up."""
    monkeypatch.setattr(Path, "read_text", lambda path, **options: f"{limit}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert cores() == min(8, least)

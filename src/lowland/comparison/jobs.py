"""Runs side by side, each in a process of its own. A run that fails stops no other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lowland.comparison.launch import Launcher, Running, make_launcher
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.runs.directory import RunDirectory, write_json

if TYPE_CHECKING:
    from lowland.comparison.progress import ExperimentProgress

JOBS = "jobs"
"""The folder with the settings and the logs of processes."""

POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A run for a process of its own.

    Attributes:
        run: The run.
        config: The experiment, with its arm and seed alone.
        experiment: The experiment's directory.
        settings: The file from which a command line can run it.
    """

    run: RunDirectory
    config: ExperimentConfig
    experiment: Path
    settings: Path

    @property
    def name(self) -> str:
        """Names it in messages."""
        return f"{self.run.arm}, seed {self.run.seed}"

    @property
    def log(self) -> Path:
        """The file for the output of its process."""
        return self.settings.with_suffix(".log")

    def arguments(self) -> list[str]:
        """Gives the arguments of `lowland` that run it."""
        hub = ["--hub"] if self.config.data.hub else []
        places = ["--out", str(self.experiment), "--runs", str(self.run.path.parent)]
        return ["compare", "--config", str(self.settings), *places, "--alone", *hub]

    def problem(self) -> str | None:
        """Says why it is not done, after its process has ended; `None` if it is."""
        status = self.run.status()
        if status.get("state") == "done":
            return None
        if status.get("state") == "failed":
            return str(status.get("error"))
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            lines = []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if not last.startswith("lowland: ") and not any(line.startswith("Traceback") for line in lines):
            return "Its process was ended from outside. Was there too little memory?"
        return last.removeprefix("lowland: ")


class JobsProgress(Protocol):
    """What is told of runs in processes of their own."""

    def on_start(self, job: Job) -> None:
        """Called when a run begins or goes on."""

    def on_end(self, job: Job, problem: str | None) -> None:
        """Called when a run is done, or cannot be done."""

    def on_wait(self) -> None:
        """Called again and again."""

    def on_stop(self) -> None:
        """Called when the processes are told to stop, which takes them until their state is saved."""


def make_jobs(config: ExperimentConfig, path: Path, runs: Iterable[RunDirectory]) -> list[Job]:
    """Makes a job of each run of an experiment that is not done; `path` is the experiment's directory."""
    return [
        Job(
            run=run,
            config=replace(config, arms={run.arm: config.arms[run.arm]}, seeds=(run.seed,)),
            experiment=path,
            settings=path / JOBS / f"{run.arm}-seed{run.seed}.toml",
        )
        for run in runs
        if not run.done
    ]


def run_jobs(
    jobs: Sequence[Job], launcher: Launcher, workers: int, progress: JobsProgress
) -> Mapping[Job, str]:
    """Runs jobs side by side.

    Args:
        jobs: What to do.
        launcher: Starts the processes.
        workers: How many run at the same time.
        progress: Is told how it goes.

    Returns:
        The jobs that failed, with the reasons.

    Raises:
        KeyboardInterrupt: If the user asked to stop; the jobs are stopped first, with their state saved.
    """
    waiting = list(jobs)
    running: dict[int, tuple[Job, Running]] = {}
    failures: dict[Job, str] = {}
    try:
        while waiting or running:
            for slot in (slot for slot in range(workers) if slot not in running and waiting):
                job = waiting.pop(0)
                _forget_failure(job.run)
                write_atomic(job.settings, job.config.to_toml().encode())
                running[slot] = (job, launcher.start(job.arguments(), job.log, slot))
                progress.on_start(job)
            for slot, (job, started) in list(running.items()):
                if not started.finished():
                    continue
                del running[slot]
                problem = job.problem()
                progress.on_end(job, problem)
                if problem is not None:
                    failures[job] = problem
            progress.on_wait()
            time.sleep(POLL_SECONDS if running else 0)
    finally:
        if running:
            progress.on_stop()
            _stop([started for _, started in running.values()])
    return failures


def run_side_by_side(
    config: ExperimentConfig,
    path: Path,
    left: Sequence[RunDirectory],
    jobs: int,
    launcher: str,
    options: Mapping[str, Any],
    progress: ExperimentProgress,
) -> None:
    """Runs what is left of an experiment, several runs at a time.

    Raises:
        UserError: If a process ended before its run did. Runs that fail say so in their own directories.
    """
    todo = make_jobs(config, path, left)
    workers = max(1, min(jobs, len(todo)))  # who waits for nothing needs no share of the cores
    progress.begin_jobs(todo)
    started = make_launcher(launcher, path / JOBS, options, workers)
    for job, problem in run_jobs(todo, started, workers, progress).items():
        if job.run.status().get("state") not in ("done", "failed"):
            raise UserError(
                f"{job.name}: {problem} See {job.log}. The same command resumes where it stopped."
            )


def _forget_failure(run: RunDirectory) -> None:
    """A process that ends before it begins a run anew must not be taken for its earlier failure."""
    if (status := run.status()).get("state") == "failed":
        write_json(run.path / "status.json", {**status, "state": "running", "error": None})


def _stop(running: Sequence[Running]) -> None:
    for started in running:
        started.stop()
    try:
        while not all(started.finished() for started in running):
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        for started in running:
            started.stop(at_once=True)
        raise

"""Runs side by side, each in a process of its own: of this machine, or as the job of a cluster."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.files import write_atomic
from lowland.runs.directory import RunDirectory, write_json
from lowland.runs.guard import STARTED_BY

if TYPE_CHECKING:
    from lowland.comparison.progress import ExperimentProgress
    from lowland.comparison.session import Way

POLL_SECONDS = 0.2

DAY = 24 * 60
"""Minutes that a job of a cluster may take by default."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A run for a process of its own: the experiment with its arm and seed alone, and its directory."""

    run: RunDirectory
    config: ExperimentConfig
    experiment: Path

    @property
    def name(self) -> str:
        """Names it in messages."""
        return f"{self.run.arm}, seed {self.run.seed}"

    @property
    def log(self) -> Path:
        """The file for the output of its process, beside that of its settings."""
        return self.experiment / "jobs" / f"{self.run.arm}-seed{self.run.seed}.log"

    @property
    def settings(self) -> Path:
        """The file from which a command line can run it."""
        return self.log.with_suffix(".toml")

    def arguments(self) -> list[str]:
        """Gives the arguments of `lowland` that run it."""
        hub = ["--hub"] if self.config.data.hub else []
        places = ["--out", str(self.experiment), "--runs", str(self.run.path.parent)]
        return ["compare", "--config", str(self.settings), *places, "--alone", *hub]

    def problem(self) -> str | None:
        """Says why it is not done, after its process has ended; `None` if it is."""
        status = self.run.status()
        if status.get("state") in ("done", "failed"):
            return status.get("error")
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        last = text.rstrip().rpartition("\n")[2].strip()
        if not last.startswith("lowland: ") and "\nTraceback" not in f"\n{text}":
            return "Its process was ended from outside. Was there too little memory?"
        return last.removeprefix("lowland: ")


@dataclass(frozen=True)
class Running:
    """A process: says whether it has ended, and stops it, at once or after its step with its state saved."""

    finished: Callable[[], bool]
    stop: Callable[[bool], object]


Launch: TypeAlias = Callable[[Sequence[str], Path, int], Running]
"""Starts `lowland` with arguments and a log file; the number is the job's place among those that run."""


def in_processes(jobs: int) -> Launch:
    """Returns a launcher for this machine, whose cores are divided and whose GPUs are given out in turn."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [*map(str, range(torch.cuda.device_count()))] if visible is None else visible.split(",")

    def launch(arguments: Sequence[str], log: Path, slot: int) -> Running:
        environment = {**_threads(jobs), STARTED_BY: str(os.getpid())}
        if any(gpus):
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        # A Ctrl-C at the terminal reaches it through `stop` only.
        process = _start(arguments, log, environment, start_new_session=True)
        return Running(
            lambda: process.poll() is not None,
            lambda at_once: process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM),
        )

    return launch


def by_submitit(folder: Path, cluster: str, options: Mapping[str, Any], jobs: int) -> Launch:
    """Returns a launcher for a cluster, `slurm` or `local`, with submitit's options."""
    try:
        import submitit
    except ImportError:
        raise UserError(
            "A cluster is reached through submitit, which is not installed: pip install "
            "'lowland[cluster]', or leave --launcher out to run here."
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**{"timeout_min": DAY, "name": "lowland", **options})
    except (RuntimeError, NameError, ValueError, TypeError) as error:
        raise UserError(f"submitit cannot use this cluster: {error}") from None
    # On a cluster the cores are what the job was given.
    environment = _threads(jobs) if cluster == "local" else {}

    def launch(arguments: Sequence[str], log: Path, slot: int) -> Running:
        job = executor.submit(_run_command, list(arguments), log, environment)
        return Running(job.done, lambda at_once: job.cancel())

    return launch


def _run_command(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    return _start(arguments, log, environment).wait()  # on the machine that the cluster has given


def _start(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.Popen[bytes]:
    own = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}  # the log can be read while it runs
    with log.open("wb") as out:
        return subprocess.Popen(
            command(arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=own, **more
        )


def command(arguments: Sequence[str]) -> list[str]:
    """Gives the command that runs `lowland` with the Python that runs this."""
    return [sys.executable, "-m", "lowland", *arguments]


def cores() -> int:
    """Counts the cores that this process may use: what the system and the container's quota allow."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return allowed


def _threads(jobs: int) -> dict[str, str]:
    """Gives the environment variables with which each of several jobs has its share of the cores."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(max(1, cores() // jobs)))


def make_jobs(config: ExperimentConfig, path: Path, runs: Iterable[RunDirectory]) -> list[Job]:
    """Makes a job of each run of an experiment that is not done; `path` is the experiment's directory."""
    todo = [run for run in runs if not run.done]
    alone = [replace(config, arms={run.arm: config.arms[run.arm]}, seeds=(run.seed,)) for run in todo]
    return [Job(run=run, config=own, experiment=path) for run, own in zip(todo, alone, strict=True)]


def run_jobs(
    jobs: Sequence[Job], launch: Launch, workers: int, progress: ExperimentProgress
) -> Mapping[Job, str]:
    """Runs jobs side by side; gives those that failed, with the reasons. None of them stops the others."""
    waiting = list(jobs)
    running: dict[int, tuple[Job, Running]] = {}
    failures: dict[Job, str] = {}
    try:
        while waiting or running:
            for slot in (slot for slot in range(workers) if slot not in running and waiting):
                job = waiting.pop(0)
                if (status := job.run.status()).get("state") == "failed":
                    # A process that ends before it begins the run anew is no earlier failure.
                    write_json(job.run.path / "status.json", {**status, "state": "running", "error": None})
                write_atomic(job.settings, job.config.to_toml().encode())
                running[slot] = (job, launch(job.arguments(), job.log, slot))
                progress.on_note(f"{job.name}: started, log in {job.log}")
            for slot, (job, started) in list(running.items()):
                if started.finished():
                    del running[slot]
                    problem = job.problem()
                    progress.on_end(job, problem)
                    failures |= {job: problem} if problem is not None else {}
            progress.on_wait()
            time.sleep(POLL_SECONDS if running else 0)
    finally:
        if running:
            progress.on_note(
                "Stopping each process after its step, with everything saved; Ctrl-C again stops at once."
            )
            _stop([started for _, started in running.values()])
    return failures


def _stop(running: Sequence[Running]) -> None:
    for started in running:
        started.stop(False)
    try:
        while not all(started.finished() for started in running):
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        for started in running:
            started.stop(True)
        raise


def run_side_by_side(
    config: ExperimentConfig,
    path: Path,
    runs: Iterable[RunDirectory],
    way: Way,
    progress: ExperimentProgress,
) -> None:
    """Runs what is left of an experiment, several runs at a time; one that fails says so in its directory."""
    todo = make_jobs(config, path, runs)
    workers = max(1, min(way.jobs, len(todo)))  # the cores are divided among the processes that there are
    progress.begin_jobs(todo)
    if way.launcher == "processes":
        launch = in_processes(workers)
    else:
        cluster = way.launcher.removeprefix("submitit-")
        launch = by_submitit(path / "jobs" / "submitit", cluster, way.launcher_options, workers)
    for job, problem in run_jobs(todo, launch, workers, progress).items():
        if job.run.status().get("state") not in ("done", "failed"):
            raise UserError(
                f"{job.name}: {problem} See {job.log}. The same command resumes where it stopped."
            )

"""Where runs are trained outside of this process: in processes here, or as the jobs of a cluster."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lowland.errors import UserError
from lowland.runs.guard import STARTED_BY

DAY = 24 * 60
"""Minutes."""


class Running(Protocol):
    """A job that was started."""

    def finished(self) -> bool:
        """Says whether it has ended, well or not."""

    def stop(self, *, at_once: bool = False) -> None:
        """Makes it stop: after its step and with its state saved, or at once."""


class Launcher(Protocol):
    """Starts jobs."""

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> Running:
        """Starts `lowland` with arguments.

        Args:
            arguments: Of the command line.
            log: File for all that it prints.
            slot: Number of the job among those that run at the same time, from 0.
        """


class ProcessLauncher:
    """Runs every job in a process of its own on this machine.

    The cores are divided among the jobs, because threads that outnumber the cores cost far more than
    they give; and the GPUs, where there are several, are given out in turn.

    Args:
        jobs: How many run at the same time.
    """

    def __init__(self, jobs: int) -> None:
        self._threads = max(1, cores() // jobs)
        self._gpus = visible_gpus()

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> Running:
        """Starts a job; a Ctrl-C at the terminal reaches it through `Running.stop` only."""
        environment = {**job_environment(self._threads), STARTED_BY: str(os.getpid())}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        return _Process(process)


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def finished(self) -> bool:
        return self._process.poll() is not None

    def stop(self, *, at_once: bool = False) -> None:
        self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)


class SubmititLauncher:
    """Gives every job to a cluster through submitit; all machines must see the experiment's directory.

    Args:
        folder: Where submitit keeps its files.
        cluster: `slurm`, or `local` for processes of this machine.
        options: What submitit is told, such as `timeout_min`, `gpus_per_node` or `slurm_partition`.
        jobs: How many run at the same time; it divides the cores of this machine under `local`.

    Raises:
        UserError: If submitit is not installed, finds no cluster, or does not know an option.
    """

    def __init__(self, folder: Path, cluster: str, options: Mapping[str, Any], jobs: int) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError(
                "A cluster is reached through submitit, which is not installed: pip install "
                "'lowland[cluster]', or leave --launcher out to run here."
            ) from None
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**{"timeout_min": DAY, "name": "lowland", **options})
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise UserError(f"submitit cannot use this cluster: {error}") from None
        # On a cluster the cores are what the job was given.
        self._environment = job_environment(max(1, cores() // jobs) if cluster == "local" else None)

    def start(self, arguments: Sequence[str], log: Path, slot: int) -> Running:
        """Submits a job."""
        return _Submitted(self._executor.submit(run_command, list(arguments), str(log), self._environment))


class _Submitted:
    def __init__(self, job: Any) -> None:
        self._job = job

    def finished(self) -> bool:
        return bool(self._job.done())

    def stop(self, *, at_once: bool = False) -> None:
        self._job.cancel()


def make_launcher(name: str, folder: Path, options: Mapping[str, Any], jobs: int) -> Launcher:
    """Makes a launcher by its name: `processes`, `slurm`, or `submitit-local` for processes by submitit."""
    if name == "processes":
        return ProcessLauncher(jobs)
    return SubmititLauncher(folder / "submitit", "slurm" if name == "slurm" else "local", options, jobs)


def command(arguments: Sequence[str]) -> list[str]:
    """Gives the command that runs `lowland` with the Python that runs this."""
    return [sys.executable, "-m", "lowland", *arguments]


def run_command(arguments: Sequence[str], log: str, environment: Mapping[str, str]) -> int:
    """Runs `lowland` on the machine that a cluster has given; returns its exit code."""
    with Path(log).open("wb") as file:
        process = subprocess.run(
            command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            check=False,
        )
    return process.returncode


def cores() -> int:
    """Counts the cores that this process may use: what the system and the container's quota allow."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(allowed, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return allowed


def visible_gpus() -> list[str]:
    """Lists the GPUs that this process may use, as CUDA names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(index) for index in range(torch.cuda.device_count())]


def job_environment(threads: int | None) -> dict[str, str]:
    """Gives the environment variables of a job: its threads, and a log that can be read while it runs."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if threads else ()
    return {"PYTHONUNBUFFERED": "1", **dict.fromkeys(names, str(threads))}

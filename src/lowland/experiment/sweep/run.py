"""Runs the cells of a sweep, one after another or side by side. A failed cell stops no other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lowland.errors import UserError
from lowland.experiment.compare import Prepared, Progress, prepare, run_experiment
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.sweep.cell import SweepCell
from lowland.experiment.sweep.launch import Launcher, Running
from lowland.experiment.sweep.plan import Plan
from lowland.experiment.sweep.share import give_up_standard_runs, share_standard_runs, take_up_again
from lowland.files import write_atomic
from lowland.train import TrainingError

POLL_SECONDS = 0.2


class JobsProgress(Protocol):
    """What is told of cells that run in processes of their own."""

    def on_start(self, cell: SweepCell, what: str) -> None:
        """Called when work on a cell begins; `what` says which part of it, empty for all."""

    def on_end(self, cell: SweepCell, problem: str | None) -> None:
        """Called when a cell is complete, or cannot be completed."""

    def on_wait(self) -> None:
        """Called again and again while cells run in processes of their own."""

    def on_stop(self) -> None:
        """Called when the processes are told to stop, which takes them until their state is saved."""


class SweepProgress(JobsProgress, Protocol):
    """What is told of a sweep while it goes on."""

    def experiment(self, cell: SweepCell) -> AbstractContextManager[Progress]:
        """Shows how a cell that runs in this process goes."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell that could not be completed.

    Attributes:
        cell: The cell.
        problem: Why, in one sentence.
        log: The file that tells more, where there is one.
    """

    cell: SweepCell
    problem: str
    log: Path | None = None


def run_here(plan: Plan, progress: SweepProgress) -> list[Failure]:
    """Runs the cells one after another in this process.

    Args:
        plan: What to do.
        progress: Is told how it goes.

    Returns:
        The cells that failed.

    Raises:
        KeyboardInterrupt: If the user asked to stop.
    """
    failures: list[Failure] = []
    examples = _Examples()
    _take_up_again(plan)
    for planned in plan.cells:
        cell = planned.cell
        share_standard_runs(cell)
        give_up_standard_runs(cell, planned.waits_for)
        log = None
        problem = None
        if not cell.done:
            progress.on_start(cell, "")
            try:
                prepared = examples.prepare(cell.config)
                with progress.experiment(cell) as experiment:
                    run_experiment(cell.config, cell.path, cell.command(), experiment, prepared=prepared)
                problem = cell.problem()
            except (UserError, TrainingError) as error:
                problem = str(error)
            except OSError:  # a disk that is full is full for the other cells, too
                raise
            except Exception as error:  # whatever it is, the cells after this one can still run
                problem, log = f"{type(error).__name__}: {error}", cell.log
                write_atomic(log, traceback.format_exc().encode())
        progress.on_end(cell, problem)
        if problem is not None:
            failures.append(Failure(cell=cell, problem=problem, log=log))
    return failures


def _take_up_again(plan: Plan) -> None:
    for planned in plan.cells:
        take_up_again(planned.cell)


class _Examples:
    """Keeps the examples of the last cell, which are most often those of the next one."""

    def __init__(self) -> None:
        self._kept: tuple[object, Prepared] | None = None

    def prepare(self, config: ExperimentConfig) -> Prepared:
        data, train = config.data, config.train
        # What is read and how it is encoded; which part of it a run uses is decided later.
        key = (
            *(data.tasks, data.custom, data.data_dir, data.hub, data.evaluation_limit),
            *(config.model, train.input_length, train.target_length),
        )
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # the memory of both is not needed at once
            self._kept = (key, prepare(config)[0])
        return self._kept[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A part of the work of a cell, for a process of its own.

    Attributes:
        cell: The cell.
        what: Which part: `standard runs`, or nothing for all of it.
        after: Jobs that must have ended before.
        tried: Seed -> the cell that these jobs tried its standard run in.
    """

    cell: SweepCell
    what: str = ""
    after: tuple[Job, ...] = ()
    tried: Mapping[int, str] = field(default_factory=dict)


def make_jobs(plan: Plan) -> list[Job]:
    """Cuts a plan into jobs; standard runs that other cells wait for come first, as jobs of their own."""
    lending: dict[str, Job] = {}
    jobs = []
    for planned in plan.cells:
        tried = dict(planned.waits_for)
        after = tuple(lending[name] for name in dict.fromkeys(tried.values()))
        if planned.cell.name in plan.lenders:
            lending[planned.cell.name] = Job(cell=planned.cell, what="standard runs", after=after)
            after = (lending[planned.cell.name],)
            tried |= {seed: planned.cell.name for arm, seed in planned.train if arm == "standard"}
        jobs.append(Job(cell=planned.cell, after=after, tried=tried))
    return [*lending.values(), *jobs]


def run_jobs(plan: Plan, launcher: Launcher, workers: int, progress: JobsProgress) -> list[Failure]:
    """Runs the cells side by side, each by the command line in a process with a log of its own.

    Args:
        plan: What to do.
        launcher: Starts the processes.
        workers: How many run at the same time.
        progress: Is told how it goes.

    Returns:
        The cells that failed.

    Raises:
        KeyboardInterrupt: If the user asked to stop; the jobs are stopped first, with their state saved.
    """
    _take_up_again(plan)
    waiting = make_jobs(plan)
    running: dict[int, tuple[Job, Running]] = {}
    ended: list[Job] = []
    failures: list[Failure] = []
    try:
        while waiting or running:
            for slot in (slot for slot in range(workers) if slot not in running):
                job = _next(waiting, ended)
                if job is None:
                    break
                waiting.remove(job)
                started = _start(job, launcher, slot, progress)
                if started is None:
                    ended.append(job)
                    progress.on_end(job.cell, None)
                else:
                    running[slot] = (job, started)
            for slot, (job, started) in list(running.items()):
                if not started.finished():
                    continue
                del running[slot]
                ended.append(job)
                if job.what:
                    continue
                problem = _problem(job.cell)
                progress.on_end(job.cell, problem)
                if problem is not None:
                    failures.append(Failure(cell=job.cell, problem=problem, log=job.cell.log))
            progress.on_wait()
            time.sleep(POLL_SECONDS if running else 0)
    finally:
        if running:
            progress.on_stop()
            _stop([started for _, started in running.values()])
    return failures


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


def _next(waiting: Sequence[Job], ended: Sequence[Job]) -> Job | None:
    return next((job for job in waiting if all(other in ended for other in job.after)), None)


def _start(job: Job, launcher: Launcher, slot: int, progress: JobsProgress) -> Running | None:
    """Starts a job; `None` where nothing is left to do."""
    share_standard_runs(job.cell)
    give_up_standard_runs(job.cell, job.tried)
    if job.cell.done:
        return None
    cell = job.cell
    if job.what:
        config = replace(cell.config, arms=("standard",))
        # Its files are its own, because the cell's are written again when the rest of it runs.
        cell = replace(cell, config=config, part="standard")
    cell.settings.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(cell.settings, cell.config.to_toml().encode())
    progress.on_start(job.cell, job.what)
    return launcher.start(cell.arguments(), cell.log, slot)


def _problem(cell: SweepCell) -> str | None:
    """Says why a cell is not complete, after its process has ended."""
    if cell.done:
        return None
    failed = [run for run in cell.runs() if run.status().get("state") == "failed"]
    try:
        lines = cell.log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if failed:
        return cell.problem() or "The report is not written."
    if not last.startswith("lowland: ") and not any(line.startswith("Traceback") for line in lines):
        return "Its process was ended from outside. Was there too little memory?"
    return last.removeprefix("lowland: ")

"""The main job: run every arm and seed that is not done yet, report, and hand over the best model."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from lowland.errors import UserError
from lowland.experiment.configuration import ExperimentConfig, differences
from lowland.experiment.directory import Bystander, RunDirectory, now, write_json
from lowland.experiment.examples import Encodings, ExperimentData, SeedData, load_data, part
from lowland.experiment.export import export_best
from lowland.experiment.guard import StopRequest, locked, stop_request
from lowland.experiment.plan import Plan, count_workload, make_plan
from lowland.experiment.run import Observer, processes, run
from lowland.experiment.start import start_model
from lowland.families.base import Family
from lowland.files import remove_asides, write_atomic
from lowland.report import Report, write_report
from lowland.train import Arm, TrainingError, be_deterministic


class Progress(Observer, Protocol):
    """What is told of an experiment while it goes on."""

    def on_data(self, data: ExperimentData, sizes: Mapping[str, int], warnings: list[str]) -> None:
        """Called once, with the data and the numbers of training examples of the first seed."""

    def on_run(self, arm: Arm, seed: int, done: bool) -> None:
        """Called before a run, or instead of it where it is done already."""

    def on_failure(self, arm: Arm, seed: int, sentence: str) -> None:
        """Called when a run could not go on; the others do."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an experiment's runs share.

    Attributes:
        data: All examples.
        encodings: Their token ids.
    """

    data: ExperimentData
    encodings: Encodings


def run_experiment(
    config: ExperimentConfig,
    path: Path,
    command: str,
    progress: Progress,
    on_plan: Callable[[Plan], None] | None = None,
    prepared: Prepared | None = None,
    elsewhere: Callable[[], None] | None = None,
) -> Report | None:
    """Runs an experiment, or what is left of it.

    Finished runs are not repeated. The arms of a seed follow one another, so that a machine that slows
    down slows both.

    Args:
        config: The experiment.
        path: Its directory.
        command: The command line that redoes it, for the record.
        progress: Is told how it goes.
        on_plan: Is told what will be done before anything is, where anything is left to do.
        prepared: Examples that were read and encoded before, in which case there is no plan; `None` to do
            so here.
        elsewhere: Runs what is left in processes of their own, by `run_seeds_alone`; `None` to run it here.

    Returns:
        The report, which is written to the directory too; `None` on all processes but the first.

    Raises:
        UserError: If something the user gave is wrong, or the directory holds another experiment.
        TrainingError: If every run failed.
        KeyboardInterrupt: If the user asked to stop; the same command goes on.
    """
    if config.train.deterministic:
        be_deterministic()
    first = processes().is_main_process
    if first:
        refuse_other(config, path)
    if config.train.batch_size < processes().num_processes:
        raise UserError(
            f"A batch of {config.train.batch_size} examples cannot be spread over "
            f"{processes().num_processes} processes. Give a larger --batch-size, or fewer processes."
        )
    family = None
    if prepared is None:
        prepared, family = prepare(config)
    data, encodings = prepared.data, prepared.encodings
    parts = {seed: part(data, config.data, seed, config.train.batch_size) for seed in config.seeds}
    seed = config.seeds[0]
    left = {arm: sum(not RunDirectory(path, arm, seed).done for seed in config.seeds) for arm in config.arms}
    if first and on_plan is not None and family is not None and any(left.values()):
        workload = count_workload(config, data, parts[seed], encodings, seed, family)
        try:
            on_plan(make_plan(config, workload, family, left))
        except UserError:  # it does not fit
            raise
        except Exception as error:  # whatever a strange model comes up with: a plan must not stop the work
            progress.on_note(f"Time and memory cannot be estimated for this model: {error}")
    del family
    if elsewhere is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # what the plan tried is of no use to other processes
    sizes = {name: len(examples) for name, examples in parts[config.seeds[0]].train.items()}

    warnings = [*data.warnings, *encodings.warnings]
    warnings += [sentence for parted in parts.values() for sentence in parted.warnings]
    with locked(path) if first else nullcontext(), stop_request(progress.on_note) as stop:
        if first:
            with _alone(path):
                remove_asides(path)
            _describe(config, path, command, data)
        processes().wait_for_everyone()
        progress.on_data(data, sizes, list(dict.fromkeys(warnings)))
        if elsewhere is None:
            problems = _train(config, path, prepared, parts, progress, stop)
        else:
            with stop.at_once():
                elsewhere()
            problems = _ended(config, path)
        if len(problems) == len(config.seeds) * len(config.arms):
            raise TrainingError(f"Every run failed. The first one: {problems[0]}")
        if not first:
            return None
        export_best(config, path, data, progress.on_note)
        report = write_report(path)
        description = json.loads((path / "experiment.json").read_text(encoding="utf-8"))
        write_json(path / "experiment.json", {**description, "finished": now()}, durable=True)
    return report


def run_seeds_alone(config: ExperimentConfig, path: Path, progress: Progress) -> None:
    """Runs some seeds of an experiment, for the process that has its directory and reports on all of them.

    Args:
        config: The experiment, with these seeds alone.
        path: Its directory.
        progress: Is told how it goes.

    Raises:
        UserError: If something the user gave is wrong.
        TrainingError: If every run failed.
        KeyboardInterrupt: If it is to stop.
    """
    if config.train.deterministic:
        be_deterministic()
    prepared, _ = prepare(config)
    data = prepared.data
    parts = {seed: part(data, config.data, seed, config.train.batch_size) for seed in config.seeds}
    with ExitStack() as stack:
        for seed in config.seeds:
            stack.enter_context(locked(path, f"seed{seed}"))
        stop = stack.enter_context(stop_request(progress.on_note))
        progress.on_data(data, {}, [])
        problems = _train(config, path, prepared, parts, progress, stop)
    if len(problems) == len(config.seeds) * len(config.arms):
        raise TrainingError(problems[0])


def _train(
    config: ExperimentConfig,
    path: Path,
    prepared: Prepared,
    parts: Mapping[int, SeedData],
    progress: Progress,
    stop: StopRequest,
) -> list[str]:
    """Runs what is not done; says of each run that failed, now or before, why."""
    first = processes().is_main_process
    problems: list[str] = []
    for seed in config.seeds:
        for arm in config.arms:
            directory = (RunDirectory if first else Bystander)(path, arm, seed)
            progress.on_run(arm, seed, directory.done)
            if directory.done:
                directory.tidy()
                continue
            if directory.given_up:
                problems.append(str(directory.status().get("error")))
                progress.on_failure(arm, seed, problems[-1])
                continue
            try:
                if not run(config, directory, prepared.data, parts[seed], prepared.encodings, progress, stop):
                    raise KeyboardInterrupt
            except TrainingError as error:
                problems.append(str(error))
                progress.on_failure(arm, seed, problems[-1])
    return problems


def _ended(config: ExperimentConfig, path: Path) -> list[str]:
    """Clears up after runs that ended elsewhere; says of each that failed, why."""
    runs = [RunDirectory(path, arm, seed) for seed in config.seeds for arm in config.arms]
    for directory in runs:
        if directory.done:
            directory.tidy()
    for lock in path.glob(".lock-*"):
        lock.unlink()
    return [str(directory.status().get("error")) for directory in runs if not directory.done]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits for processes of an earlier command that was killed, which may still be saving their state."""
    with ExitStack() as stack:
        for lock in path.glob(".lock-*"):
            stack.enter_context(locked(path, lock.name.removeprefix(".lock-")))
        yield


def prepare(config: ExperimentConfig) -> tuple[Prepared, Family]:
    """Reads and encodes the examples of an experiment.

    Returns:
        The examples, and the model that they were encoded for.

    Raises:
        UserError: If something about the data or the model is wrong.
    """
    data = load_data(config.data)
    family = start_model(config, data, config.seeds[0])
    return Prepared(data=data, encodings=Encodings(data, family, config.train)), family


def refuse_other(config: ExperimentConfig, path: Path) -> None:
    """Refuses a directory that holds an experiment with other settings."""
    blocking = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise UserError(f"{path} cannot be made: {blocking} is a file. Give another directory with --out.")
    existing = path / "experiment.toml"
    if not existing.exists():
        # Hidden files are all that a process leaves that was killed before it wrote anything.
        if path.exists() and (not path.is_dir() or any(found.name[0] != "." for found in path.iterdir())):
            raise UserError(f"{path} exists and holds no experiment. Give another directory with --out.")
        return
    try:
        settings = tomllib.loads(existing.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{existing}: cannot be read ({error}). Give another directory with --out.") from None
    there = {key: value for key, value in settings.items() if key not in ("seeds", "arms")}
    different = differences(there, config.decisive())
    if different:
        shown = "; ".join(different[:3]) + ("; ..." if len(different) > 3 else "")
        raise UserError(f"{path} holds another experiment ({shown}). Give another directory with --out.")


def _describe(config: ExperimentConfig, path: Path, command: str, data: ExperimentData) -> None:
    """Writes what the experiment is; seeds and arms of earlier commands stay part of it."""
    path.mkdir(parents=True, exist_ok=True)
    write_atomic(path / "experiment.toml", config.to_toml().encode(), durable=True)
    runs = [folder.name for folder in path.iterdir() if (folder / "status.json").exists()]
    runs += [f"{arm}-seed{seed}" for arm in config.arms for seed in config.seeds]
    write_json(
        path / "experiment.json",
        {
            "name": path.name,
            "command": command,
            "created": now(),
            "finished": None,
            "model": config.model,
            "tasks": list(data.tasks),
            "arms": [arm for arm in ("standard", "sam") if any(run.startswith(f"{arm}-") for run in runs)],
            "seeds": sorted({int(run.rpartition("-seed")[2]) for run in runs}),
            "steps": config.train.steps,
            "metrics": {name: list(task.metrics) for name, task in data.scorers.items()},
            "settings": config.decisive(),
        },
    )

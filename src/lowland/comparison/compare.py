"""The main job: run every arm and seed that is not done yet, report, and hand over the model to use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from lowland.comparison.experiment import refuse_other
from lowland.comparison.export import export_best
from lowland.comparison.outcomes import Measured, measure_outcomes
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.files import remove_asides, sha256, write_atomic
from lowland.planning.plan import Plan, count_workload, make_plan
from lowland.report.comparison import compare, decide_rows
from lowland.report.result import Report
from lowland.report.runs import read_experiment
from lowland.report.write import write_report
from lowland.runs.directory import RunDirectory, now, write_json
from lowland.runs.examples import ExperimentData, part
from lowland.runs.guard import StopRequest, locked, stop_request
from lowland.runs.names import store_of
from lowland.runs.run import Observer, processes, run
from lowland.runs.store import Prepared, Runs, changes, prepare, tidy
from lowland.train import TrainingError, be_deterministic

SOON = 5
"""How often a lock is asked for before that is worth a word: who holds it may be about to end."""


class Progress(Observer, Protocol):
    """What is told of an experiment while it goes on."""

    def on_data(self, warnings: list[str]) -> None:
        """Called once, before the first run."""

    def on_run(self, arm: str, seed: int, done: bool) -> None:
        """Called before a run, or instead of it where it is done already."""


def run_experiment(
    config: ExperimentConfig,
    path: Path,
    command: str,
    progress: Progress,
    on_plan: Callable[[Plan], None] | None = None,
    data: ExperimentData | None = None,
    warnings: Sequence[str] = (),
    store: Path | None = None,
    elsewhere: Callable[[Sequence[RunDirectory]], None] | None = None,
    most_seeds: int = 0,
) -> Report | None:
    """Runs an experiment, or what is left of it.

    Finished runs are not repeated, whichever experiment they were trained for. The arms of a seed follow one
    another, so that a machine that slows down slows all of them.

    Args:
        config: The experiment.
        path: Its directory.
        command: The command line that redoes it, for the record.
        progress: Is told how it goes.
        on_plan: Is told what will be done before anything is, where anything is left to do.
        data: The examples where they were read before; `None` to do so here.
        warnings: What the user should know besides.
        store: Where runs lie; `None` for the folder `runs` that the directory is in, or one beside it.
        elsewhere: Runs what is left in processes of their own, by `run_alone`; `None` to run it here.
        most_seeds: Seeds up to which one after another is added until the score is decided for every arm, by
            an interval that holds however often one looks; none are added where it is no more than there are.

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
    prepared, family = prepare(config, data)
    data, encodings = prepared.data, prepared.encodings
    runs = Runs(config, store or store_of(path), prepared.content)
    parts = {seed: part(data, config.data, seed, config.train.batch_size) for seed in config.seeds}
    measured = Measured(config, data)  # before hours of training: a file of it may be missing
    seed = config.seeds[0]
    left = [run for run in runs if not run.done]
    if first and on_plan is not None and left:
        own = encodings[config.reference]
        workload = count_workload(config, data, parts[seed], own, seed, family)
        try:
            on_plan(make_plan(config, workload, family, Counter(run.arm for run in left)))
        except UserError:  # it does not fit
            raise
        except Exception as error:  # whatever a strange model comes up with: a plan must not stop the work
            progress.on_note(f"Memory cannot be estimated for this model: {error}")
    del family
    if elsewhere is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # what the plan tried is of no use to other processes
    warnings = [
        *warnings,
        *data.warnings,
        *measured.warnings,
        *(sentence for own in dict.fromkeys(encodings.values()) for sentence in own.warnings),
    ]
    warnings += [sentence for parted in parts.values() for sentence in parted.warnings]
    with locked(path) if first else nullcontext(), stop_request(progress.on_note) as stop:
        if first:
            remove_asides(path)
            for sentence in _describe(
                config, path, command, prepared, looking=most_seeds > len(config.seeds)
            ):
                progress.on_note(sentence)
            runs.link(path)
        processes().wait_for_everyone()
        progress.on_data(list(dict.fromkeys(warnings)))
        problems: list[str] = []
        todo = list(runs)
        while True:
            if elsewhere is None:
                with closing(_turns(todo, progress, stop)) as turns:
                    for turn in turns:
                        arm, parted = config.of(turn.arm), parts[turn.seed]
                        problem = run(arm, turn, data, parted, encodings[turn.arm], progress, stop)
                        problems += [problem] if problem else []
            else:
                with stop.at_once():
                    elsewhere([run for run in todo if not run.done])
                problems = [str(run.status().get("error")) for run in runs if not run.done]
            if len(problems) == len(config.seeds) * len(config.arms):
                raise TrainingError(f"Every run failed. The first one: {problems[0]}")
            if len(config.seeds) >= most_seeds or _decided(path):
                break
            config = replace(config, seeds=(*config.seeds, max(config.seeds) + 1))
            seed = config.seeds[-1]
            progress.on_note(f"Not decided by {len(config.seeds) - 1} seeds; seed {seed} is added.")
            parts[seed] = part(data, config.data, seed, config.train.batch_size)
            runs = Runs(config, store or store_of(path), prepared.content)
            todo = [run for run in runs if run.seed == seed]
            processes().wait_for_everyone()  # who has not read yet what is decided
            if first:
                _describe(config, path, command, prepared, looking=True)
                runs.link(path)
            processes().wait_for_everyone()
        if not first:
            return None
        with stop.at_once():
            measure_outcomes(measured, runs, progress.on_note)
        report = write_report(path)
        export_best(config, path, data, progress.on_note, report)
        description = json.loads((path / "experiment.json").read_text(encoding="utf-8"))
        write_json(path / "experiment.json", {**description, "finished": now()}, durable=True)
    return report


def run_alone(config: ExperimentConfig, store: Path, progress: Progress) -> None:
    """Runs some runs of an experiment, for the process that has its directory and reports on all of them.

    Args:
        config: The experiment, with their arms and seeds alone.
        store: Where runs lie.
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
    runs = Runs(config, store, prepared.content)
    with stop_request(progress.on_note) as stop:
        progress.on_data([])
        problems: list[str] = []
        with closing(_turns(runs, progress, stop)) as turns:
            for turn in turns:
                arm, seed = config.of(turn.arm), turn.seed
                problem = run(arm, turn, data, parts[seed], prepared.encodings[turn.arm], progress, stop)
                problems += [problem] if problem else []
        if processes().is_main_process:
            with stop.at_once():
                measure_outcomes(Measured(config, data), runs, progress.on_note)
    if len(problems) == len(config.seeds) * len(config.arms):
        raise TrainingError(problems[0])


def _turns(
    runs: Iterable[RunDirectory], progress: Progress, stop: StopRequest
) -> Generator[RunDirectory, None, None]:
    """Gives the runs that are not done, one after another, each kept to this process for its turn."""
    first = processes().is_main_process
    for directory in runs:
        # Another experiment may be training it, whose run it will be.
        with locked_run(directory, progress.on_note, stop) if first else nullcontext():
            processes().wait_for_everyone()
            progress.on_run(directory.arm, directory.seed, directory.done)
            if directory.done:
                directory.tidy()
                continue
            if first:
                tidy(directory)
            yield directory


@contextmanager
def locked_run(run: RunDirectory, on_note: Callable[[str], None], stop: StopRequest) -> Iterator[None]:
    """Keeps a run to this process, after any other that is training it.

    Raises:
        KeyboardInterrupt: If the user asked to stop while it waited.
    """
    waited = 0

    def wait(owner: str) -> None:
        nonlocal waited
        waited += 1
        if stop():
            raise KeyboardInterrupt
        if waited == SOON:
            on_note(f"{run.arm}, seed {run.seed}: {owner} is training {run.path.name}; waiting for it.")

    with locked(run.path.parent / ".locks", run.path.name, wait):
        yield


def _decided(path: Path) -> bool:
    """Tells whether the score that decides is decided for every arm that has finished for any seed."""
    scored = compare(read_experiment(path)).scored
    return (
        bool(scored)
        and all(
            verdict.decided
            or not verdict.comparison.n  # an arm that always fails does so for more seeds, too
            for verdict in decide_rows(scored[0].rows[:1])[0].verdicts.values()
        )
    )


def _describe(
    config: ExperimentConfig, path: Path, command: str, prepared: Prepared, *, looking: bool
) -> list[str]:
    """Writes what the experiment is; says what it is made from now that it was not made from before.

    Args:
        config: The experiment.
        path: Its directory.
        command: The command line that redoes it.
        prepared: What it is made from.
        looking: Whether seeds are added as long as it is undecided.
    """
    path.mkdir(parents=True, exist_ok=True)
    custom = config.data.custom
    looks: list[int] = []
    found: list[str] = []
    try:
        before = json.loads((path / "experiment.json").read_text(encoding="utf-8"))
        found = changes(before["content"], prepared.content, config)
        looks = list(before["looks"])
        if before["finished"] and set(before["seeds"]) != set(config.seeds):
            looks.append(len(before["seeds"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    if looking:
        looks.append(len(config.seeds))
    write_atomic(path / "experiment.toml", config.to_toml().encode(), durable=True)
    write_json(
        path / "experiment.json",
        {
            "name": path.name,
            "command": command,
            "created": now(),
            "finished": None,
            "model": config.model,
            "tasks": list(prepared.data.tasks),
            "arms": config.arms,
            "seeds": list(config.seeds),
            "looks": sorted(set(looks)),
            "steps": config.train.steps,
            "metrics": {name: list(task.metrics) for name, task in prepared.data.scorers.items()},
            "settings": config.decisive(),
            "content": prepared.content,
            "files": {name: sha256(Path(name)) for name in custom.files} if custom else {},
        },
    )
    return found

"""The main job: run every arm and seed that is not done yet, report, and hand over the model to use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lowland.comparison.experiment import Experiment
from lowland.comparison.export import export_best
from lowland.comparison.jobs import run_side_by_side
from lowland.comparison.outcomes import Measured
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.files import remove_asides, write_atomic
from lowland.planning.plan import make_plan
from lowland.report.comparison import compare
from lowland.report.result import Report
from lowland.report.runs import read_experiment
from lowland.report.write import write_report
from lowland.runs.directory import RunDirectory, now, read_json, write_json
from lowland.runs.guard import StopRequest, locked, stop_request
from lowland.runs.prepared import Prepared, prepare, processes
from lowland.runs.run import run
from lowland.runs.store import link_runs, runs_of
from lowland.train.loop import TrainingError
from lowland.train.machine import be_deterministic

if TYPE_CHECKING:
    from lowland.comparison.progress import ExperimentProgress
    from lowland.comparison.session import Way


def run_experiment(
    experiment: Experiment, path: Path, way: Way, progress: ExperimentProgress
) -> Report | None:
    """Runs an experiment, or what is left of it, and reports on it.

    Finished runs are not repeated, whichever experiment they were trained for. The arms of a seed follow one
    another, so that a machine that slows down slows all of them. `None` on all processes but the first, and
    where another process has the directory and reports on all runs.
    """
    config, first = experiment.config, processes().is_main_process
    if config.train.deterministic:
        be_deterministic()
    if config.train.batch_size < processes().num_processes:
        raise UserError(
            f"A batch of {config.train.batch_size} examples cannot be spread over "
            f"{processes().num_processes} processes. Give a larger --batch-size, or fewer processes."
        )
    prepared, family = prepare(config, experiment.data)
    measured = Measured(config, prepared.data)  # before hours of training: a file of it may be missing
    runs = runs_of(config, way.store, prepared.content, writes=first)
    if first and way.on_plan is not None and (left := Counter(run.arm for run in runs if not run.done)):
        try:
            way.on_plan(make_plan(config, prepared, family, measured.settings["examples"], left))
        except UserError:  # it does not fit
            raise
        except Exception as error:  # of any kind: a plan that fails must not stop the training
            progress.on_note(f"Memory cannot be estimated for this model: {error}")
    del family
    if way.apart and torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # the memory that planning took is for the other processes
    mine = first and not way.alone
    with locked(path) if mine else nullcontext(), stop_request(progress.on_note) as stop:
        if mine:
            remove_asides(path)
            looking = way.most_seeds > len(config.seeds)
            _describe(config, path, way.command, prepared, looking=looking)
            link_runs(path, runs)
        processes().wait_for_everyone()
        warnings = () if way.alone else (*experiment.warnings, *prepared.warnings, *measured.warnings)
        progress.on_data(list(dict.fromkeys(warnings)))
        todo = runs
        while True:
            if way.apart:
                with stop.at_once():
                    run_side_by_side(config, path, todo, way, progress)
            for directory in [] if way.apart else todo:
                with _kept(directory, progress, stop):
                    progress.on_run(directory.arm, directory.seed, directory.done)
                    directory.tidy()
                    if not directory.done:
                        run(config.of(directory.arm), directory, prepared, progress, stop)
            processes().wait_for_everyone()  # until each has written how its run ended
            problems = [str(run.status().get("error")) for run in runs if not run.done]
            if len(problems) == len(runs):
                raise TrainingError(f"Every run failed. The first one: {problems[0]}")
            if len(config.seeds) >= way.most_seeds or _decided(path):
                break
            processes().wait_for_everyone()  # until each has read what is decided
            config = replace(config, seeds=(*config.seeds, max(config.seeds) + 1))
            seed = config.seeds[-1]
            progress.on_note(f"Not decided by {len(config.seeds) - 1} seeds; seed {seed} is added.")
            prepared.add(config)
            runs = runs_of(config, way.store, prepared.content, writes=first)
            todo = [run for run in runs if run.seed == seed]
            if first:
                _describe(config, path, way.command, prepared, looking=True)
                link_runs(path, runs)
            processes().wait_for_everyone()
        if not first:
            return None
        with stop.at_once():
            measured.measure(path, runs, progress.on_note)
        if way.alone:
            return None
        report = write_report(path)
        export_best(config, path, prepared.data, progress.on_note, report)
        description = read_json(path / "experiment.json") | {"finished": now()}
        write_json(path / "experiment.json", description, durable=True)
    return report


@contextmanager
def _kept(run: RunDirectory, progress: ExperimentProgress, stop: StopRequest) -> Iterator[None]:
    """Keeps a run to this process, after any other that is training it, for another experiment perhaps."""
    told: set[str] = set()

    def wait(owner: str) -> None:
        if stop():
            raise KeyboardInterrupt
        if not told:
            told.add(owner)
            name = f"{run.arm}, seed {run.seed}"
            progress.on_note(f"{name}: {owner} is training {run.path.name}; waiting for it.")

    folder = run.path.parent / ".locks"
    with locked(folder, run.path.name, wait) if processes().is_main_process else nullcontext():
        processes().wait_for_everyone()
        yield


def _decided(path: Path) -> bool:
    """Tells whether the score that decides is decided for every arm that has finished for any seed."""
    scored = compare(read_experiment(path)).scored
    if not scored:
        return False
    verdicts = scored[0].rows[0].verdicts.values()
    # An arm that always fails does so for more seeds, too.
    return all(verdict.decided or not verdict.comparison.n for verdict in verdicts)


def _describe(
    config: ExperimentConfig, path: Path, command: str, prepared: Prepared, *, looking: bool
) -> None:
    """Writes what the experiment is; `looking` says that seeds are added until it is decided."""
    path.mkdir(parents=True, exist_ok=True)
    looks: list[int] = [len(config.seeds)] if looking else []
    before = read_json(path / "experiment.json")
    with suppress(KeyError, TypeError, AttributeError):  # it may have been edited
        looks += before["looks"]
        if before["finished"] and set(before["seeds"]) != set(config.seeds):
            looks.append(len(before["seeds"]))
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
        },
    )

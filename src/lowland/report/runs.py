"""Reads an experiment's directory: what was planned, which runs exist, and how they scored.

A missing or unfinished run is data (`Run.state`); only a file that contradicts the layout is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from lowland.errors import UserError

State = Literal["done", "running", "failed", "missing"]
Split = Literal["evaluation", "held_out"]
Metrics = Mapping[str, tuple[str, ...]]  # evaluation set -> its metrics, in the order of printing
# Evaluation set, or of held-out examples the training task -> metric -> percent; nan where undefined.
Sets = Mapping[str, Mapping[str, float]]

T = TypeVar("T")

KINDS = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


def title_of(arm: str) -> str:
    """Gives an arm's name as a reader sees it."""
    return {"baseline": "Baseline", "sam": "SAM"}.get(arm, arm)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained from one seed."""

    arm: str
    seed: int
    state: State  # `running` also of a run that was killed; `missing` without a status file
    train_seconds: float | None = None  # evaluation left out
    warnings: tuple[str, ...] = ()
    error: str | None = None  # why it failed
    evaluations: Mapping[Split, Mapping[int, Sets]] = field(default_factory=dict)  # by training step, rising

    @property
    def title(self) -> str:
        """The run in words, for example `SAM seed 2`."""
        return f"{title_of(self.arm)} seed {self.seed}"

    @property
    def evaluated_steps(self) -> tuple[int, ...]:
        """The steps of training after which an evaluation set was scored; step 0 is before training."""
        return tuple(step for step in self.evaluated("evaluation") if step > 0)

    def evaluated(self, split: Split) -> Mapping[int, Sets]:
        """Gives the scores of test examples, or of training examples that were held out, by step."""
        return self.evaluations.get(split, {})


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment's directory, read."""

    directory: Path
    name: str
    command: str
    model: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]  # as planned
    steps: int
    metrics: Metrics
    settings: Mapping[str, Any] = field(default_factory=dict)  # whatever else decides the results
    changes: Mapping[str, Mapping[str, Any]]  # arm as planned, the reference first -> settings, nested
    runs: tuple[Run, ...]  # one for every planned arm and seed
    looks: tuple[int, ...] = ()  # numbers of seeds at which results were seen before more were added

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, the reference first."""
        return tuple(self.changes)

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.arms[0]

    def folder(self, arm: str, seed: int) -> Path:
        """Names the directory of a run."""
        return self.directory / f"{arm}-seed{seed}"

    def finished(self, arm: str) -> dict[int, Run]:
        """Returns an arm's runs that are done and have scores, by seed, in the order of the seeds."""
        runs = (run for run in self.runs if run.arm == arm and run.state == "done")
        return {run.seed: run for run in runs if run.evaluated_steps}


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Says of content that does not fit where it is, and what is wrong."""
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{where}: the field {error} is missing.") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{where}: {error}.") from None


def parse(content: bytes, where: object) -> dict[str, Any]:
    """Reads the text of a JSON object."""
    try:
        values = json.loads(content.decode())
    except ValueError as error:
        raise UserError(f"{where}: this is not valid JSON ({error}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a JSON object, not {type(values).__name__}.")
    return values


def take(record: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Returns a field of a kind."""
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name!r} must be {KINDS[kind]}, not {value!r}")
    return value


def number(record: Mapping[str, Any], name: str) -> float:
    """Returns a number; nan for null and for what is not finite."""
    value = math.nan if record[name] is None else record[name]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name!r} must be a number, not {value!r}")
    return float(value) if math.isfinite(value) else math.nan


def read_experiment(directory: Path) -> Experiment:
    """Reads an experiment's directory; an error names the file, and the line where there are several."""
    file = directory / "experiment.json"
    if not file.is_file():
        if (directory.parent / "experiment.json").is_file():
            raise UserError(f"{directory} is a single run; give its experiment instead: {directory.parent}.")
        needed = "Give a directory that lowland compare or train has written"
        raise UserError(f"{directory} is not an experiment's directory: it has no experiment.json. {needed}.")
    record = parse(file.read_bytes(), file)
    lost = sorted(link for link in directory.glob("*-seed*") if link.is_symlink() and not link.exists())
    if lost and record.get("finished"):
        raise UserError(
            f"{lost[0]} is a link to {lost[0].readlink()}, which is not there. Move the folder of runs with "
            "the experiment's directory, or give the command of the comparison again."
        )
    with reading(file):
        arms, seeds = take(record, "arms", dict), take(record, "seeds", list)
        if not arms or not all(isinstance(changed, dict) for changed in arms.values()):
            raise ValueError(f"'arms' must give an object of changed settings for each arm, not {arms}")
        if unfit := [arm for arm in arms if not re.fullmatch(r"\w[\w.=,+-]*", arm)]:
            raise ValueError(f"'arms' holds a name that no arm can have: {unfit[0]!r}")
        if not seeds or any(type(seed) is not int for seed in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError(f"'seeds' must be a list of different whole numbers, not {seeds}")
        listed = take(record, "metrics", dict)
        if not listed or not all(isinstance(names, list) and names for names in listed.values()):
            raise ValueError(f"'metrics' must give a list of names for each evaluation set, not {listed}")
        metrics = {name: tuple(map(str, names)) for name, names in listed.items()}
        return Experiment(
            directory=directory,
            name=take(record, "name", str),
            command=take(record, "command", str),
            model=take(record, "model", str),
            tasks=tuple(map(str, take(record, "tasks", list))),
            seeds=tuple(seeds),
            steps=take(record, "steps", int),
            metrics=metrics,
            settings=take(record, "settings", dict),
            changes=arms,
            runs=tuple(read_run(directory, arm, seed, metrics) for arm in arms for seed in seeds),
            looks=tuple(map(int, record.get("looks", ()))),
        )


def read_run(directory: Path, arm: str, seed: int, metrics: Metrics) -> Run:
    """Reads the run in `ARM-seedN`, whose evaluation sets must have the metrics that are named."""
    folder = directory / f"{arm}-seed{seed}"
    file = folder / "status.json"
    if not file.is_file():
        return Run(arm=arm, seed=seed, state="missing")
    status = parse(file.read_bytes(), file)
    # A resumed run may score a step again, and then the later line counts.
    found: dict[Split, dict[int, dict[str, Mapping[str, float]]]] = {"evaluation": {}, "held_out": {}}
    scores = folder / "eval"
    for scored in sorted(scores.rglob("*.jsonl")):
        name = scored.relative_to(scores).with_suffix("").as_posix()
        for place, record in enumerate(read_log(scored), start=1):
            with reading(f"{scored}, line {place}"):
                values, by_step = take(record, "metrics", dict), found.get(record["split"])
                if by_step is None:
                    raise ValueError(f"'split' must be evaluation or held_out, not {record['split']!r}")
                if missing := [metric for metric in metrics.get(name, ()) if metric not in values]:
                    raise ValueError(f"'metrics' lacks {missing[0]!r}, which experiment.json lists")
                sets = by_step.setdefault(take(record, "step", int), {})
                sets[name] = {metric: number(values, metric) for metric in values}
    with reading(file):
        if status["state"] not in ("done", "running", "failed"):
            raise ValueError(f"'state' must be done, running or failed, not {status['state']!r}")
        return Run(
            arm=arm,
            seed=seed,
            state=status["state"],
            train_seconds=None if status.get("train_seconds") is None else number(status, "train_seconds"),
            warnings=tuple(map(str, status.get("warnings", ()))),
            error=None if status.get("error") is None else str(status["error"]),
            evaluations={split: dict(sorted(by_step.items())) for split, by_step in found.items()},
        )


def read_log(file: Path) -> list[dict[str, Any]]:
    """Reads JSON lines, if there are any, but a last one without its newline, as a kill leaves it."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [parse(line, f"{file}, line {place}") for place, line in enumerate(lines, start=1)]

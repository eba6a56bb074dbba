"""Reads an experiment's directory: what was planned, which runs exist, and how they scored.

An experiment that is still running, was stopped or lost a run is a normal thing to report on. So a missing
or unfinished run is data (`Run.state`), and only a file that contradicts the layout is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from lowland.errors import UserError

State = Literal["done", "running", "failed", "missing"]
Split = Literal["evaluation", "held_out"]
Metrics = Mapping[str, tuple[str, ...]]
"""Evaluation set -> its metrics, in the order in which they are printed."""

T = TypeVar("T")

WORDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


def title_of(arm: str) -> str:
    """Gives an arm's name as a reader sees it."""
    return {"baseline": "Baseline", "sam": "SAM"}.get(arm, arm)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one set of examples at one step."""

    name: str  # the evaluation set; of held-out examples, the training task
    split: Split  # `held_out`: training examples that were set aside
    step: int  # training steps done
    metrics: Mapping[str, float]  # in percent, higher is better; nan where undefined


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained from one seed."""

    arm: str
    seed: int
    state: State  # `running` also of a run that was killed; `missing` without a status file
    train_seconds: float | None = None  # evaluation left out
    warnings: tuple[str, ...] = ()
    error: str | None = None  # why it failed
    evaluations: tuple[Evaluation, ...] = ()  # ordered by step
    notes: tuple[str, ...] = ()  # what was odd in its files

    @property
    def title(self) -> str:
        """The run in words, for example `SAM seed 2`."""
        return f"{title_of(self.arm)} seed {self.seed}"

    @property
    def evaluated_steps(self) -> tuple[int, ...]:
        """The steps of training after which an evaluation set was scored; step 0 is before training."""
        return tuple(sorted({e.step for e in self.evaluations if e.split == "evaluation" and e.step > 0}))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment's directory, read."""

    directory: Path
    name: str
    command: str
    model: str
    tasks: tuple[str, ...]
    arms: tuple[str, ...]  # as planned, the reference first
    seeds: tuple[int, ...]  # as planned
    steps: int
    metrics: Metrics
    settings: Mapping[str, Any] = field(default_factory=dict)  # whatever else decides the results
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # arm -> settings, nested
    runs: tuple[Run, ...]  # one for every planned arm and seed
    notes: tuple[str, ...] = ()  # what was odd in the directory
    looks: tuple[int, ...] = ()  # numbers of seeds at which results were seen before more were added

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


class Record(dict[str, Any]):
    """A JSON object that knows where it was read, so that a wrong field can be named."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where

    @classmethod
    def parse(cls, content: bytes, where: str) -> Record:
        """Reads the text of an object."""
        try:
            values = json.loads(content.decode())
        except json.JSONDecodeError as error:
            line = "" if ", line " in where else f", line {error.lineno}"
            raise UserError(f"{where}{line}: this is not valid JSON ({error.msg}).") from None
        except UnicodeDecodeError:
            raise UserError(f"{where}: this is not UTF-8 text.") from None
        if not isinstance(values, dict):
            raise UserError(f"{where}: expected a JSON object, not {type(values).__name__}.")
        return cls(values, where)

    def check(self, holds: object, problem: str) -> None:
        """Raises the error of a problem unless a condition holds."""
        if not holds:
            raise UserError(f"{self.where}: {problem}.")

    def take(self, name: str, kind: type[T], *, of: type | None = None, among: Sequence[str] = ()) -> T:
        """Returns a field of a kind, a list whose items are `of` a kind, or a text `among` some."""
        self.check(name in self, f"the field {name!r} is missing")
        value = self[name]
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        self.check(fits, f"{name!r} must be {WORDS[kind]}, not {value!r}")
        if of is not None:
            alike = all(type(item) is of for item in value)
            self.check(alike, f"{name!r} must be a list, each {WORDS[of]}, not {value!r}")
        self.check(not among or value in among, f"{name!r} must be {' or '.join(among)}, not {value!r}")
        return value  # type: ignore[no-any-return]

    def number(self, name: str) -> float:
        """Returns a number; nan for null and for what is not finite."""
        value = math.nan if self.get(name, 0) is None else float(self.take(name, float))
        return value if math.isfinite(value) else math.nan


def read_experiment(directory: Path) -> Experiment:
    """Reads an experiment's directory.

    Raises:
        UserError: If the directory is not an experiment's, or one of its files is malformed; the
            message names the file and the line.
    """
    file = directory / "experiment.json"
    if not file.is_file():
        if (directory.parent / "experiment.json").is_file():
            raise UserError(f"{directory} is a single run; give its experiment instead: {directory.parent}.")
        raise UserError(
            f"{directory} is not an experiment's directory: it has no experiment.json. "
            "Give a directory that lowland compare or train has written."
        )
    record = Record.parse(file.read_bytes(), str(file))
    arms, seeds, metrics = record.take("arms", dict), record.take("seeds", list), record.take("metrics", dict)
    record.check(
        arms and all(isinstance(changed, dict) for changed in arms.values()),
        f"'arms' must give an object of changed settings for each arm, not {arms}",
    )
    unfit = next((arm for arm in arms if not re.fullmatch(r"\w[\w.=,+-]*", arm)), None)
    record.check(unfit is None, f"'arms' holds a name that no arm can have: {unfit!r}")
    record.check(
        seeds and all(type(seed) is int for seed in seeds) and len(set(seeds)) == len(seeds),
        f"'seeds' must be a list of different whole numbers, not {seeds}",
    )
    for name, keys in metrics.items():
        named = isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys)
        record.check(named, f"'metrics' must give a list of names for {name!r}, not {keys!r}")
    record.check(metrics, "'metrics' names no evaluation set, so there is nothing to report")
    listed = {name: tuple(keys) for name, keys in metrics.items()}
    runs = tuple(read_run(directory, arm, seed, listed) for arm in arms for seed in seeds)
    planned = {f"{arm}-seed{seed}" for arm in arms for seed in seeds}
    there = {path.parent.name for path in directory.glob("*-seed*/status.json")}
    return Experiment(
        directory=directory,
        name=record.take("name", str),
        command=record.take("command", str),
        model=record.take("model", str),
        tasks=tuple(record.take("tasks", list, of=str)),
        arms=tuple(arms),
        seeds=tuple(seeds),
        steps=record.take("steps", int),
        metrics=listed,
        settings=record.take("settings", dict),
        changes=arms,
        runs=runs,
        looks=tuple(record.take("looks", list, of=int)) if "looks" in record else (),
        notes=tuple(
            f"{name} is not a run that experiment.json plans; it is left out."
            for name in sorted(there - planned)
        ),
    )


def read_run(directory: Path, arm: str, seed: int, metrics: Metrics) -> Run:
    """Reads the run in `ARM-seedN`, whose evaluation sets must have the metrics that are named."""
    folder = directory / f"{arm}-seed{seed}"
    file = folder / "status.json"
    if not file.is_file():
        return Run(arm=arm, seed=seed, state="missing")
    status = Record.parse(file.read_bytes(), str(file))
    state = status.take("state", str, among=("done", "running", "failed"))
    error, seconds = status.get("error"), status.get("train_seconds")
    evaluations: list[Evaluation] = []
    notes: list[str] = []
    scores = folder / "eval"
    for file in sorted(scores.rglob("*.jsonl")):
        name = file.relative_to(scores).with_suffix("").as_posix()
        records, cut = _read_lines(file)
        found = [_evaluation(record, name, metrics.get(name, ())) for record in records]
        # A resumed run may score a step again, and then the later line counts.
        evaluations += {(one.split, one.step): one for one in found}.values()
        if cut:
            notes.append(f"{folder.name}/eval/{name}.jsonl ends in a cut line, which is ignored.")
        if name not in metrics and any(one.split == "evaluation" for one in found):
            notes.append(f"{folder.name}/eval/{name}.jsonl is not listed in experiment.json; it is left out.")
    return Run(
        arm=arm,
        seed=seed,
        state=state,  # type: ignore[arg-type]  # checked above
        train_seconds=None if seconds is None else status.number("train_seconds"),
        warnings=tuple(status.take("warnings", list, of=str)) if "warnings" in status else (),
        error=None if error is None else str(error),
        evaluations=tuple(sorted(evaluations, key=lambda evaluation: evaluation.step)),
        notes=tuple(notes),
    )


def _evaluation(record: Record, name: str, listed: tuple[str, ...]) -> Evaluation:
    split = record.take("split", str, among=("evaluation", "held_out"))
    values = record.take("metrics", dict)
    for metric in listed:
        record.check(metric in values, f"'metrics' lacks {metric!r}, which experiment.json lists")
    inner = Record(values, record.where)
    return Evaluation(
        name=name,
        split=split,  # type: ignore[arg-type]  # checked above
        step=record.take("step", int),
        metrics={metric: inner.number(metric) for metric in values},
    )


def read_log(file: Path) -> list[Record]:
    """Reads the lines of a run's log; none where it has no such log."""
    return _read_lines(file)[0] if file.is_file() else []


def _read_lines(file: Path) -> tuple[list[Record], bool]:
    """Reads JSON lines; says whether a last line without its newline, as a kill leaves it, was dropped."""
    lines = file.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records += [Record.parse(line, f"{file}, line {number}")] if line.strip() else []
        except UserError:
            if number == len(lines):
                return records, True
            raise
    return records, False

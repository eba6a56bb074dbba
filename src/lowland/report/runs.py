"""Reads an experiment's directory: what was planned, which runs exist, and how they scored.

An experiment that is still running, was stopped or lost a run is a normal thing to
report on. So a missing or unfinished run is data (`Run.state`), and only a file that
contradicts the layout is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from lowland.errors import UserError

State = Literal["done", "running", "failed", "missing"]
Split = Literal["evaluation", "held_out"]

TITLES: Mapping[str, str] = MappingProxyType({"baseline": "Baseline", "sam": "SAM"})


def title_of(arm: str) -> str:
    """Gives an arm's name as a reader sees it."""
    return TITLES.get(arm, arm)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one set of examples at one step.

    Attributes:
        name: The evaluation set; for the held-out split, the training task.
        split: `evaluation`, or `held_out` for training examples that were set aside.
        step: Training steps done.
        metrics: Metric name -> value in percent, higher is better; nan where it is undefined.
    """

    name: str
    split: Split
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained from one seed.

    Attributes:
        arm: Its name.
        seed: The seed.
        state: `running` also stands for a run that was killed; `missing` for one without a status file.
        train_seconds: Seconds spent in training steps, evaluation left out; `None` where unknown.
        warnings: Sentences that the run left for the reader.
        error: Why the run failed.
        evaluations: Every evaluation, ordered by step.
        notes: What was odd in the run's files.
    """

    arm: str
    seed: int
    state: State
    train_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    evaluations: tuple[Evaluation, ...] = ()
    notes: tuple[str, ...] = ()

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
    """An experiment's directory, read.

    Attributes:
        directory: Where it lies.
        name: Its name.
        command: The command that started it.
        model: The model that was fine-tuned.
        tasks: What it was trained on.
        arms: The arms that were planned, the reference first.
        seeds: The seeds that were planned.
        steps: Training steps of each run.
        metrics: Evaluation set -> its metrics, in the order in which they are printed.
        settings: Whatever else decides the results, for the reader.
        changes: Arm -> what it changes of the settings, nested as they are.
        runs: One run for every planned arm and seed.
        notes: What was odd in the directory.
        looks: Numbers of seeds at which results were looked at before the last ones were added.
    """

    directory: Path
    name: str
    command: str
    model: str
    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    metrics: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.arms[0]

    def finished(self, arm: str) -> dict[int, Run]:
        """Returns an arm's runs that are done and have scores, by seed, in the order of the seeds."""
        runs = (run for run in self.runs if run.arm == arm and run.state == "done")
        return {run.seed: run for run in runs if run.evaluated_steps}


def read_experiment(directory: Path) -> Experiment:
    """Reads an experiment's directory.

    Returns:
        The experiment with one run for every planned arm and seed, finished or not.

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
    record = _Record.read(file)
    arms = record.mapping("arms")
    if not arms or not all(isinstance(changed, dict) for changed in arms.values()):
        raise record.error(f"'arms' must give an object of changed settings for each arm, not {arms}")
    if unfit := next((arm for arm in arms if not re.fullmatch(r"\w[\w.=,+-]*", arm)), None):
        raise record.error(f"'arms' holds a name that no arm can have: {unfit!r}")
    seeds = record.items("seeds")
    looks = record.items("looks") if "looks" in record.values else []
    if not all(type(look) is int for look in looks):
        raise record.error(f"'looks' must be a list of whole numbers, not {looks}")
    if not seeds or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise record.error(f"'seeds' must be a list of different whole numbers, not {seeds}")
    metrics = record.mapping("metrics")
    for name, keys in metrics.items():
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise record.error(f"'metrics' must give a list of names for {name!r}, not {keys!r}")
    if not metrics:
        raise record.error("'metrics' names no evaluation set, so there is nothing to report")
    listed = {name: tuple(keys) for name, keys in metrics.items()}
    runs = tuple(read_run(directory, arm, seed, listed) for arm in arms for seed in seeds)
    planned = {f"{arm}-seed{seed}" for arm in arms for seed in seeds}
    extra = sorted(path.parent.name for path in directory.glob("*-seed*/status.json"))
    return Experiment(
        directory=directory,
        name=record.string("name"),
        command=record.string("command"),
        model=record.string("model"),
        tasks=record.strings("tasks"),
        arms=tuple(arms),
        seeds=tuple(seeds),
        steps=record.whole("steps"),
        metrics=listed,
        settings=record.mapping("settings"),
        changes=arms,
        runs=runs,
        looks=tuple(looks),
        notes=tuple(
            f"{name} is not a run that experiment.json plans; it is left out."
            for name in extra
            if name not in planned
        ),
    )


def read_log(file: Path) -> list[Mapping[str, Any]]:
    """Reads the lines of a run's log; none where it has no such log."""
    return [record.values for record in _read_lines(file)[0]] if file.is_file() else []


def read_run(directory: Path, arm: str, seed: int, metrics: Mapping[str, tuple[str, ...]]) -> Run:
    """Reads the run in `ARM-seedN`, whose evaluation sets must have the metrics that are named."""
    folder = directory / f"{arm}-seed{seed}"
    if not (folder / "status.json").is_file():
        return Run(arm=arm, seed=seed, state="missing")
    status = _Record.read(folder / "status.json")
    state = status.string("state")
    if state not in ("done", "running", "failed"):
        raise status.error(f"'state' must be running, done or failed, not {state!r}")
    error = status.values.get("error")
    seconds = status.values.get("train_seconds")
    evaluations: list[Evaluation] = []
    notes: list[str] = []
    scores = folder / "eval"
    for file in sorted(scores.rglob("*.jsonl")):
        name = file.relative_to(scores).with_suffix("").as_posix()
        found, cut = _read_evaluations(file, name, metrics.get(name))
        evaluations += found
        if cut:
            notes.append(f"{folder.name}/eval/{name}.jsonl ends in a cut line, which is ignored.")
        if name not in metrics and any(evaluation.split == "evaluation" for evaluation in found):
            notes.append(f"{folder.name}/eval/{name}.jsonl is not listed in experiment.json; it is left out.")
    return Run(
        arm=arm,
        seed=seed,
        state=state,  # type: ignore[arg-type]  # checked above
        train_seconds=None if seconds is None else status.number("train_seconds"),
        warnings=status.strings("warnings") if "warnings" in status.values else (),
        error=None if error is None else str(error),
        evaluations=tuple(sorted(evaluations, key=lambda evaluation: evaluation.step)),
        notes=tuple(notes),
    )


def _read_evaluations(file: Path, name: str, listed: tuple[str, ...] | None) -> tuple[list[Evaluation], bool]:
    """Reads one file of scores; a resumed run may score a step again, and then the later line counts."""
    by_step: dict[tuple[str, int], Evaluation] = {}
    records, cut = _read_lines(file)
    for record in records:
        split = record.string("split")
        if split not in ("evaluation", "held_out"):
            raise record.error(f"'split' must be evaluation or held_out, not {split!r}")
        values = record.mapping("metrics")
        for metric in listed or ():
            if metric not in values:
                raise record.error(f"'metrics' lacks {metric!r}, which experiment.json lists")
        inner = _Record(record.where, values)
        by_step[split, record.whole("step")] = Evaluation(
            name=name,
            split=split,  # type: ignore[arg-type]  # checked above
            step=record.whole("step"),
            metrics={metric: inner.number(metric) for metric in values},
        )
    return list(by_step.values()), cut


def _read_lines(file: Path) -> tuple[list[_Record], bool]:
    """Reads JSON lines; says whether a last line without its newline, as a kill leaves it, was dropped."""
    lines = file.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            records.append(_Record.parse(line, where))
        except UserError:
            if number == len(lines):
                return records, True
            raise
    return records, False


@dataclass(frozen=True)
class _Record:
    """A JSON object and where it was read, so that a wrong field can be named."""

    where: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> _Record:
        return cls.parse(file.read_bytes(), str(file))

    @classmethod
    def parse(cls, content: bytes, where: str) -> _Record:
        try:
            values = json.loads(content.decode())
        except json.JSONDecodeError as error:
            line = "" if ", line " in where else f", line {error.lineno}"
            raise UserError(f"{where}{line}: this is not valid JSON ({error.msg}).") from None
        except UnicodeDecodeError:
            raise UserError(f"{where}: this is not UTF-8 text.") from None
        if not isinstance(values, dict):
            raise UserError(f"{where}: expected a JSON object, not {type(values).__name__}.")
        return cls(where, values)

    def error(self, problem: str) -> UserError:
        return UserError(f"{self.where}: {problem}.")

    def _get(self, name: str, kind: type | tuple[type, ...], words: str) -> Any:
        if name not in self.values:
            raise self.error(f"the field {name!r} is missing")
        value = self.values[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f"{name!r} must be {words}, not {value!r}")
        return value

    def string(self, name: str) -> str:
        return str(self._get(name, str, "a text"))

    def whole(self, name: str) -> int:
        return int(self._get(name, int, "a whole number"))

    def number(self, name: str) -> float:
        value = self._get(name, (int, float, type(None)), "a number")
        return float(value) if value is not None and math.isfinite(value) else math.nan

    def items(self, name: str) -> list[Any]:
        return list(self._get(name, list, "a list"))

    def strings(self, name: str) -> tuple[str, ...]:
        items = self.items(name)
        if not all(isinstance(item, str) for item in items):
            raise self.error(f"{name!r} must be a list of texts, not {items!r}")
        return tuple(items)

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._get(name, dict, "an object"))

"""Runs as points of a grid: their settings on one level, and the lines along which one setting changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowland.report.formats import Value
from lowland.report.runs import Experiment, Run
from lowland.report.selection import AVERAGE, Scores, Selection, average, score_run
from lowland.statistics import Summary, summarize

Key = tuple[str, str]
"""Evaluation set and metric."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The finished runs of one choice of settings, whichever experiments they are from.

    Attributes:
        name: The names of the experiments.
        model: The model that was fine-tuned.
        tasks: What it was trained on.
        metrics: Evaluation set -> its metrics.
        settings: Its settings, as one level; without SAM those of SAM do not count.
        runs: Seed -> run.
    """

    name: str
    model: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Value]
    runs: Mapping[int, Run]

    @property
    def with_sam(self) -> bool:
        """Whether the radius is not 0."""
        return self.settings.get("sam.rho") != 0

    @property
    def beside_sam(self) -> dict[str, Value]:
        """The settings that are not SAM's."""
        return {key: value for key, value in self.settings.items() if not key.startswith("sam.")}

    def scores(self, way: Selection) -> dict[int, Scores]:
        """Returns each seed's scores, the average among them; empty where a run has none."""
        found: dict[int, Scores] = {}
        for seed, run in self.runs.items():
            scored = score_run(run, self.metrics, way)
            if scored is None:
                return {}
            found[seed] = {(AVERAGE, "all"): average(scored[0], self.metrics), **scored[0]}
        return found

    def summary(self, way: Selection, key: Key) -> Summary:
        """Returns mean and spread of a score over the seeds."""
        values = [scores.get(key, math.nan) for scores in self.scores(way).values()]
        return summarize([value for value in values if not math.isnan(value)])


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that differ in one setting with numbers for values, and in nothing else.

    Attributes:
        setting: The setting, such as `sam.rho`.
        points: Value -> point, the values rising.
        rest: The other settings in which points differ, with the values that they have here.
        level: The points without SAM that have the same other settings, for a line along a setting of SAM.
    """

    setting: str
    points: Mapping[float, Point]
    rest: Mapping[str, Value]
    level: tuple[Point, ...]

    @property
    def with_sam(self) -> bool:
        """Whether it is a line of SAM."""
        return next(iter(self.points.values())).with_sam


def flatten(settings: Any, prefix: str = "") -> dict[str, Value]:
    """Returns nested settings as one level: `{"sam": {"rho": 0.1}}` becomes `{"sam.rho": 0.1}`."""
    if isinstance(settings, (list, tuple)):
        return {prefix: ", ".join(map(str, settings))}
    if not isinstance(settings, dict):
        known = isinstance(settings, (str, int, float)) or settings is None
        return {prefix: settings if known else str(settings)}
    flat: dict[str, Value] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def settings_of(experiment: Experiment, arm: str | None = None) -> dict[str, Value]:
    """Returns what decides an experiment's results, or an arm's, as one level, every setting once."""
    flat = {**flatten(experiment.settings), "model": experiment.model}
    if "train.steps" not in flat:
        flat["train.steps"] = experiment.steps
    flat |= flatten(experiment.changes.get(arm, {})) if arm is not None else {}
    if flat.get("sam.rho") == 0:
        flat = {key: value for key, value in flat.items() if not key.startswith("sam.")} | {"sam.rho": 0.0}
    return flat


def differing(settings: Sequence[Mapping[str, Value]]) -> list[str]:
    """Lists the settings that are not the same everywhere."""
    keys = list(dict.fromkeys(key for of_one in settings for key in of_one))
    return [key for key in keys if len({repr(of_one.get(key)) for of_one in settings}) > 1]


def find_points(experiments: Sequence[Experiment]) -> list[Point]:
    """Takes experiments apart by their arms, and puts arms together that have the same settings.

    Of two runs of the same seed the first one counts.
    """
    points: dict[str, Point] = {}
    for experiment in experiments:
        for arm in experiment.arms:
            settings = settings_of(experiment, arm)
            key = repr((sorted(settings.items(), key=str), sorted(experiment.metrics.items())))
            runs, same = experiment.finished(arm), points.get(key)
            names = [same.name] if same else []
            if not same or not runs.keys() <= same.runs.keys():
                names.append(experiment.name)
            points[key] = Point(
                name=" + ".join(names),
                model=str(settings["model"]),
                tasks=experiment.tasks,
                metrics=experiment.metrics,
                settings=settings,
                runs=runs | (dict(same.runs) if same else {}),
            )
    return [point for point in points.values() if point.runs]


def find_lines(points: Sequence[Point]) -> list[Line]:
    """Finds all lines through points: two or more that differ in one numeric setting only.

    Returns:
        The lines, in the order of the settings; each point may be on several.
    """
    settings = [_counted(point.settings) for point in points]
    names = differing(settings)
    lines = []
    for name in names:
        groups: dict[str, tuple[dict[float, Point], dict[str, Value]]] = {}
        for point, own in zip(points, settings, strict=True):
            value = own.get(name) if point.with_sam or not name.startswith("sam.") else None
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                rest = {key: own.get(key) for key in names if key != name}
                # What is scored on other sets is no point of the same line.
                of_line, _ = groups.setdefault(repr((rest, sorted(point.metrics))), ({}, rest))
                of_line[float(value)] = point
        for of_line, rest in groups.values():
            if len(of_line) > 1:
                beside = next(iter(of_line.values())).beside_sam
                level = [p for p in points if not p.with_sam and p.beside_sam == beside]
                lines.append(
                    Line(
                        setting=name,
                        points=dict(sorted(of_line.items())),
                        rest=rest,
                        level=tuple(level) if name.startswith("sam.") else (),
                    )
                )
    return lines


def ascent_examples(settings: Mapping[str, Value]) -> Value:
    """Returns the number of examples that the ascent uses, or its share where the batch is not known."""
    number, share = settings.get("sam.ascent_examples"), settings.get("sam.ascent")
    batch = settings.get("train.batch_size")
    if number is None and isinstance(share, float) and isinstance(batch, int):
        return max(1, round(share * batch))
    return share if number is None else number


def _counted(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Puts the number of ascent examples in the place of their share, so that both make one axis."""
    numbers = dict(settings)
    if "sam.ascent" in numbers:
        numbers["sam.ascent"] = ascent_examples(numbers)
        numbers.pop("sam.ascent_examples", None)
    return numbers

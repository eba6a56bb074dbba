"""Runs as points of a grid, the lines along which one setting changes, and the figures along them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lowland.report.figures import ERROR, add_legend, draw, draw_line
from lowland.report.formats import Value, plain
from lowland.report.runs import Experiment, Metrics, Run
from lowland.report.selection import AVERAGE, Key, Scores, Selection, average, keys_of, score_run
from lowland.statistics import Summary, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Settings = Mapping[str, Value]  # settings on one level, such as `sam.rho`


@dataclass(frozen=True, kw_only=True)
class Point:
    """The finished runs of one choice of settings, whichever experiments they are from."""

    name: str  # the names of the experiments
    experiment: Experiment  # the first of them
    settings: Settings  # without SAM those of SAM do not count
    runs: Mapping[int, Run]  # by seed

    @property
    def metrics(self) -> Metrics:
        """The evaluation sets and their metrics."""
        return self.experiment.metrics

    @property
    def with_sam(self) -> bool:
        """Whether the radius is not 0."""
        return self.settings.get("sam.rho") != 0

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
    """Points that differ in one setting with numbers for values, and in nothing else."""

    setting: str
    points: Mapping[float, Point]  # by the setting's value, rising
    rest: Settings  # the other settings in which points differ, with the values that they have here
    level: Sequence[Point]  # along a setting of SAM: the points without SAM of the same other settings

    @property
    def with_sam(self) -> bool:
        """Whether it is a line of SAM."""
        return next(iter(self.points.values())).with_sam


def flatten(settings: Any, prefix: str = "") -> dict[str, Value]:
    """Returns nested settings as one level: `{"sam": {"rho": 0.1}}` becomes `{"sam.rho": 0.1}`."""
    if isinstance(settings, dict):
        dot = f"{prefix}." if prefix else ""
        flat = (flatten(value, f"{dot}{key}") for key, value in settings.items())
        return {key: value for one in flat for key, value in one.items()}
    if isinstance(settings, list | tuple):
        return {prefix: ", ".join(map(str, settings))}
    return {prefix: settings if isinstance(settings, str | int | float | None) else str(settings)}


def beside_sam(settings: Settings) -> dict[str, Value]:
    """Returns the settings that are not SAM's."""
    return {key: value for key, value in settings.items() if not key.startswith("sam.")}


def settings_of(experiment: Experiment, arm: str | None = None) -> dict[str, Value]:
    """Returns what decides an experiment's results, or an arm's, as one level, every setting once."""
    flat = {**flatten(experiment.settings), "model": experiment.model}
    flat.setdefault("train.steps", experiment.steps)
    flat |= flatten(experiment.changes.get(arm, {})) if arm is not None else {}
    return beside_sam(flat) | {"sam.rho": 0.0} if flat.get("sam.rho") == 0 else flat


def differing(settings: Sequence[Settings]) -> list[str]:
    """Lists the settings that are not the same everywhere."""
    keys = dict.fromkeys(key for of_one in settings for key in of_one)
    return [key for key in keys if len({repr(of_one.get(key)) for of_one in settings}) > 1]


def find_points(experiments: Sequence[Experiment]) -> list[Point]:
    """Takes experiments apart by their arms, and puts arms together that have the same settings."""
    points: dict[str, Point] = {}
    for experiment, arm in ((one, arm) for one in experiments for arm in one.arms):
        settings = settings_of(experiment, arm)
        key = repr((sorted(settings.items(), key=str), sorted(experiment.metrics.items())))
        runs, same = experiment.finished(arm), points.get(key)
        names = [same.name] if same else []
        if not same or not runs.keys() <= same.runs.keys():
            names.append(experiment.name)
        points[key] = Point(
            name=" + ".join(names),
            experiment=same.experiment if same else experiment,
            settings=settings,
            runs=runs | (dict(same.runs) if same else {}),  # of two runs of a seed the first one counts
        )
    return [point for point in points.values() if point.runs]


def find_lines(points: Sequence[Point]) -> list[Line]:
    """Finds all lines through points: two or more that differ in one numeric setting only."""
    settings = [_counted(point.settings) for point in points]
    names = differing(settings)
    lines = []
    for name in names:
        of_sam = name.startswith("sam.")
        groups: dict[str, tuple[dict[str, Value], dict[float, Point]]] = {}
        for point, own in zip(points, settings, strict=True):
            value = own.get(name) if point.with_sam or not of_sam else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = {key: own.get(key) for key in names if key != name}
                # What is scored on other sets is no point of the same line.
                group = groups.setdefault(repr((rest, sorted(point.metrics))), (rest, {}))
                group[1][float(value)] = point
        for rest, of_line in (group for group in groups.values() if len(group[1]) > 1):
            beside = beside_sam(next(iter(of_line.values())).settings)
            same = [one for one in points if not one.with_sam and beside_sam(one.settings) == beside]
            along = dict(sorted(of_line.items()))
            lines.append(Line(setting=name, points=along, rest=rest, level=same if of_sam else ()))
    return lines


def _counted(settings: Settings) -> dict[str, Value]:
    """Puts the number of ascent examples in the place of their share, so that both make one axis."""
    numbers = dict(settings)
    number, batch = numbers.pop("sam.ascent_examples", None), settings.get("train.batch_size")
    share = settings.get("sam.ascent")
    if number is None and isinstance(share, float) and isinstance(batch, int):
        number = max(1, round(share * batch))
    return numbers | ({"sam.ascent": number} if number is not None else {})


Panel = tuple[Sequence[Line], Key]  # lines along a setting, and the score that they show


def setting_figures(lines: Sequence[Line], way: Selection | None = None) -> dict[str, bytes]:
    """Draws score against each setting, as the paper's Figure 1; by default selected as all points can be."""
    files: dict[str, bytes] = {}
    for setting in dict.fromkeys(line.setting for line in lines):
        along = [line for line in lines if line.setting == setting]
        points = [point for line in along for point in (*line.points.values(), *line.level)]
        used = way or next((one for one in Selection if all(point.scores(one) for point in points)), None)
        every = [keys_of(point.metrics) for point in points]
        keys = [key for key in every[0] if all(key in of_point for of_point in every)]
        if used is not None and keys:
            keys = [*([(AVERAGE, "all")] if len({name for name, _ in keys}) > 1 else []), *keys]
            name = re.sub(r"[^\w.]+", "-", re.sub(r"^(sam|data|train)\.", "", setting))
            files |= draw_panels(name, [(along, key) for key in keys], used)
    return files


def draw_panels(name: str, panels: Sequence[Panel], way: Selection) -> dict[str, bytes]:
    """Draws panels of lines; see `draw`."""

    def draw_on(figure: Figure, grid: list[Axes]) -> None:
        for axes, (lines, key) in zip(grid, panels, strict=True):
            _draw_lines(axes, lines, way, key)
            label = "mean score" if key[0] == AVERAGE else plain(key[1])
            axes.set(title=plain(key[0]), ylabel=f"{label} (%)", xlabel=plain(lines[0].setting))
        add_legend(figure, grid, f"{ERROR}\n{way.step}")

    return draw(name, len(panels), draw_on)


def _draw_lines(axes: Axes, lines: Sequence[Line], way: Selection, key: Key) -> None:
    # Values of a grid are no even steps of anything: they are put at even distances, each labelled.
    values = sorted({value for line in lines for value in line.points})
    levels = {id(point): point for line in lines for point in line.level}
    lines = sorted(lines, key=lambda line: line.with_sam)
    for point in levels.values():  # without markers, which would look like measurements of their own
        mean = point.summary(way, key).mean
        draw_line(axes, 0, range(len(values)), np.full(len(values), mean), None, marker="", label="Baseline")
    first = int(bool(levels) or lines[0].with_sam)  # the baseline keeps its colour where there is none
    for place, (name, one) in enumerate(zip(line_names(lines), lines, strict=True)):
        found = {values.index(value): point.summary(way, key) for value, point in one.points.items()}
        found = {at: summary for at, summary in found.items() if summary.n}
        means = np.array([summary.mean for summary in found.values()])
        errors = np.array([summary.sd / math.sqrt(summary.n) for summary in found.values()])
        draw_line(axes, place + first, list(found), means, errors, label=plain(name))
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])


def line_names(lines: Sequence[Line]) -> list[str]:
    """Names lines by what is not the same in all of their kind."""
    names = []
    for line in lines:
        differ = differing([one.rest for one in lines if one.with_sam is line.with_sam])
        shown = [f"{key} = {line.rest[key]}" for key in differ]
        names.append(", ".join(["SAM" if line.with_sam else "Baseline", *shown]))
    return names

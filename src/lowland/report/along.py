"""The figure of score against a setting, such as the radius or the fraction of the training data."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lowland.report.figures import ERROR, add_legend, draw, draw_line
from lowland.report.formats import plain
from lowland.report.points import Line, differing
from lowland.report.selection import AVERAGE, Key, Selection, keys_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = tuple[Sequence[Line], Key]  # lines along a setting, and the score that they show


def setting_figures(lines: Sequence[Line], way: Selection | None = None) -> dict[str, bytes]:
    """Draws score against each setting, a panel for every evaluation set and metric, as the paper's Figure 1.

    Scores are selected one way, by default the first that all points have.
    """
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
        for axes, (lines, (evaluation_set, metric)) in zip(grid, panels, strict=True):
            _draw_lines(axes, lines, way, (evaluation_set, metric))
            label = "mean score" if evaluation_set == AVERAGE else metric
            axes.set(
                title=plain(evaluation_set), ylabel=f"{plain(label)} (%)", xlabel=plain(lines[0].setting)
            )
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

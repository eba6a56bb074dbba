"""The figure of score against a setting, such as the radius or the fraction of the training data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lowland.report.figures import PANELS_PER_ROW, draw, give_room, panel_grid, style_of
from lowland.report.formats import Value, plain
from lowland.report.points import Key, Line, Point, differing
from lowland.report.selection import AVERAGE, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS: Mapping[str, str] = {
    "sam.rho": "radius ρ",
    "sam.ascent": "ascent examples a",
    "sam.m": "perturbed weights m",
    "data.fraction": "fraction of the training data",
    "data.label_noise": "wrong training labels",
    "train.learning_rate": "learning rate",
    "train.batch_size": "batch size",
    "train.steps": "training steps",
}

WAYS: Mapping[Selection, str] = {
    Selection.HELD_OUT: "step chosen on held-out training data",
    Selection.LAST_STEP: "last step",
    Selection.BEST: "best step on the evaluation set",
}


def setting_figures(lines: Sequence[Line], way: Selection | None = None) -> dict[str, bytes]:
    """Draws score against each setting, a panel for every evaluation set and metric.

    Source:
        The layout follows the paper's Figure 1, which shows closed-book question answering along the
        fraction of training data.

    Args:
        lines: The lines through the points.
        way: How scores are selected; by default the first way that all points have.

    Returns:
        The files' names -> their content.
    """
    files: dict[str, bytes] = {}
    for setting in dict.fromkeys(line.setting for line in lines):
        along = [line for line in lines if line.setting == setting]
        used = way or common_way(along)
        keys = _keys(along)
        if used is None or not keys:
            continue
        panels = [(*_title(key), along, key) for key in keys]
        sets = len({name for name, _ in keys})
        columns = sets if len(keys) > sets and sets <= PANELS_PER_ROW else min(len(keys), PANELS_PER_ROW)
        name = re.sub(r"[^\w.]+", "-", re.sub(r"^(sam|data|train)\.", "", setting))
        files |= draw(name, lambda figure, p=panels, w=used, c=columns: draw_panels(figure, p, w, c))  # type: ignore[misc]
    return files


def common_way(lines: Sequence[Line]) -> Selection | None:
    """Returns the first way of selecting that all points have."""
    points = [point for line in lines for point in (*line.points.values(), *line.level)]
    return next((way for way in Selection if all(point.scores(way) for point in points)), None)


def draw_panels(
    figure: Figure, panels: Sequence[tuple[str, str, Sequence[Line], Key]], way: Selection, columns: int
) -> None:
    """Draws panels of lines: title, label of the scores, lines along one setting, and the score."""
    # The same score along several settings is read across the panels.
    same = len({key for *_, key in panels}) == 1
    grid = panel_grid(figure, len(panels), columns, sharey=same)
    seeds: set[int] = set()
    for position, (axes, (title, label, lines, key)) in enumerate(zip(grid, panels, strict=True)):
        seeds |= _draw_lines(axes, lines, way, key)
        axes.set_title(plain(title))
        give_room(axes)
        if not same or position % columns == 0:  # a shared scale is named once a row
            axes.set_ylabel(f"{plain(label)} (%)")
    shown = {str(line.get_label()): line for axes in reversed(grid) for line in reversed(axes.get_lines())}
    names = list(shown)[::-1]
    most, least = max(seeds, default=0), min(seeds, default=0)
    band = "; band: ± 1 standard error" if most > 1 else ""
    number = f"{most} seed{'s' if most > 1 else ''}" if most == least else f"{least}-{most} seeds"
    legend = figure.legend(
        [shown[name] for name in names],
        names,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        title=f"mean over {number}{band}{chr(10) if columns == 1 else '; '}{WAYS[way]}",
    )
    legend.get_title().set_multialignment("center")


def _draw_lines(axes: Axes, lines: Sequence[Line], way: Selection, key: Key) -> set[int]:
    """Draws a score along a setting; returns the numbers of seeds that the points stand for."""
    # Values of a grid are no even steps of anything: they are put at even distances, each labelled.
    values = sorted({value for line in lines for value in line.points})
    levels = list({id(point): point for line in lines for point in line.level}.values())
    lines = sorted(lines, key=lambda line: line.with_sam)
    drawn = [dict.fromkeys(values, point) for point in levels] + [dict(line.points) for line in lines]
    names = [*level_names(levels), *line_names(lines)]
    # The baseline keeps its colour where there is none.
    first = 0 if levels or not lines[0].with_sam else 1
    seeds: set[int] = set()
    for place, (name, points) in enumerate(zip(names, drawn, strict=True)):
        found = {values.index(value): point.summary(way, key) for value, point in points.items()}
        found = {at: summary for at, summary in found.items() if summary.n}
        seeds |= {summary.n for summary in found.values()}
        means = np.array([summary.mean for summary in found.values()])
        errors = np.array([summary.sd / math.sqrt(summary.n) for summary in found.values()])
        colour, marker, dashes = style_of(first + place)
        # A level has no markers: they would look like measurements of their own.
        if place < len(levels):
            marker, dashes = "", "--"
        axes.plot(list(found), means, color=colour, marker=marker, linestyle=dashes, label=name)
        if marker:
            axes.fill_between(list(found), means - errors, means + errors, color=colour, alpha=0.2, lw=0)
    setting = lines[0].setting
    axes.set_xticks(range(len(values)), [_tick(setting, value) for value in values])
    axes.set_xlabel(LABELS.get(setting, plain(setting)))
    return seeds


def line_names(lines: Sequence[Line]) -> list[str]:
    """Names lines: with or without SAM, and what else is not the same in all lines of that kind."""
    names = []
    for line in lines:
        alike = [other.rest for other in lines if other.with_sam == line.with_sam]
        names.append(_named("SAM" if line.with_sam else "Baseline", line.rest, differing(alike)))
    return names


def level_names(points: Sequence[Point]) -> list[str]:
    """Names the baselines of a figure by what differs between them."""
    differ = differing([point.settings for point in points])
    return [_named("Baseline", point.settings, differ) for point in points]


def _named(kind: str, settings: Mapping[str, Value], keys: Sequence[str]) -> str:
    letters = {"sam.rho": "ρ", "sam.ascent": "a", "sam.m": "m"}
    values = {letters.get(key, key.rpartition(".")[2]): settings.get(key) for key in keys}
    shown = (f"{key} = {v:g}" if isinstance(v, float) else f"{key} = {v}" for key, v in values.items())
    return plain(", ".join([kind, *shown]))


def _keys(lines: Sequence[Line]) -> list[Key]:
    """Lists the scores that all points have: metric by metric where all sets have the same ones."""
    points = [point for line in lines for point in line.points.values()]
    everywhere = [key for key in _listed(points[0]) if all(key in _listed(point) for point in points)]
    sets = list(dict.fromkeys(name for name, _ in everywhere))
    metrics = list(dict.fromkeys(metric for _, metric in everywhere))
    if 1 < len(sets) <= PANELS_PER_ROW and len(everywhere) == len(sets) * len(metrics):
        return [(name, metric) for metric in metrics for name in sets]
    return [*([(AVERAGE, "all")] if len(sets) > 1 else []), *everywhere]


def _listed(point: Point) -> list[Key]:
    return [(name, metric) for name, metrics in point.metrics.items() for metric in metrics]


def _title(key: Key) -> tuple[str, str]:
    return ("average", "mean score") if key[0] == AVERAGE else key


def _tick(setting: str, value: float) -> str:
    return f"{100 * value:g}%" if setting in ("data.fraction", "data.label_noise") else f"{value:g}"

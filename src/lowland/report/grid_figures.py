"""The figures of a sweep: score along a setting, as in the paper's Figures 1 and 2."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowland.report.comparison import AVERAGE
from lowland.report.drawing import PANELS_PER_ROW, draw, give_room, set_size, style_of
from lowland.report.formats import Value, plain
from lowland.report.grid import Axis, common_selection, find_row, radius_of, scored_by
from lowland.report.runs import title_of
from lowland.report.selection import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Key = tuple[str, str]
"""Evaluation set and metric."""

Floats = NDArray[np.float64]

LABELS: Mapping[str, str] = {
    "sam.rho": "radius ρ",
    "sam.ascent": "ascent examples a",
    "sam.m": "adversarial points m",
    "data.fraction": "fraction of the training data",
    "data.label_noise": "wrong training labels",
    "train.learning_rate": "learning rate",
    "train.batch_size": "batch size",
    "train.steps": "training steps",
    "steps": "training steps",
}

LABEL_WIDTH = 0.15
"""The share of a panel's width that a label takes."""

WAYS: Mapping[Selection, str] = {
    Selection.HELD_OUT: "step chosen on held-out training data",
    Selection.LAST_STEP: "last step",
    Selection.BEST: "best step on the evaluation set",
}


def axis_figures(axes: Sequence[Axis]) -> dict[str, bytes]:
    """Draws score along each setting, a panel for every evaluation set and metric and for the average.

    Source:
        The layout follows the paper's Figure 1, which shows closed-book question answering along the
        fraction of training data.

    Args:
        axes: The lines through a grid.

    Returns:
        The files' names -> their content, as PNG and as SVG.

    Raises:
        UserError: If matplotlib is not installed.
    """
    files: dict[str, bytes] = {}
    for name, axis in figure_names(axes).items():
        way = common_selection(axis.comparisons)
        if way is None:
            continue
        panels = [(*_title(key), axis, key) for key in _keys(axis, way)]
        if not panels:
            continue
        columns = _columns([key for *_, key in panels])
        files |= draw(name, lambda figure, p=panels, w=way, c=columns: _draw(figure, p, w, c))  # type: ignore[misc]
    return files


def sensitivity_figure(axes: Sequence[Axis]) -> dict[str, bytes]:
    """Draws the score along SAM's own settings side by side, with the level of the baseline.

    Source:
        The paper's Figure 2.

    Args:
        axes: The lines through a grid; those along SAM's settings are drawn.

    Returns:
        `sensitivity.png` and `.svg`; empty where no setting of SAM varies.

    Raises:
        UserError: If matplotlib is not installed.
    """
    panels = []
    way = common_selection([c for axis in axes if axis.sam_only for c in axis.comparisons])
    drawn = [axis for axis in axes if axis.sam_only and way is not None and _all_keys(axis, way)]
    for axis, title in zip(drawn, titles(drawn), strict=True):
        key = _all_keys(axis, way)[0]  # type: ignore[arg-type]  # none is drawn without
        panels.append((title, "average score" if key[0] == AVERAGE else key[1], axis, key))
    if not panels or way is None:
        return {}
    columns = min(len(panels), PANELS_PER_ROW)
    return draw("sensitivity", lambda figure: _draw(figure, panels, way, columns))


def _draw(figure: Figure, panels: Sequence[tuple[str, str, Axis, Key]], way: Selection, columns: int) -> None:
    rows = math.ceil(len(panels) / columns)
    set_size(figure, rows, columns)
    # The same score along several settings is read across the panels.
    same = len({key for *_, key in panels}) == 1
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=same).flat)
    seeds: set[int] = set()
    for position, (axes, (title, label, axis, key)) in enumerate(zip(grid, panels, strict=False)):
        seeds |= draw_axis(axes, axis, way, key)
        axes.set_title(plain(title))
        give_room(axes)
        if not same or position % columns == 0:  # a shared scale is named once a row
            axes.set_ylabel(f"{plain(label)} (%)")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    lines = {str(line.get_label()): line for line in reversed(figure.axes[0].get_lines())}
    names = list(lines)[::-1]
    number = (
        "1 seed" if seeds == {1} else f"{'-'.join(str(n) for n in sorted({min(seeds), max(seeds)}))} seeds"
    )
    band = "; band: ± 1 standard error" if max(seeds) > 1 else ""
    separator = "\n" if columns == 1 else "; "
    legend = figure.legend(
        [lines[name] for name in names],
        names,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        title=f"mean over {number}{band}{separator}{WAYS[way]}",
    )
    legend.get_title().set_multialignment("center")


def draw_axis(axes: Axes, axis: Axis, way: Selection, key: Key) -> set[int]:
    """Draws a score along a setting; returns the numbers of seeds that the points stand for."""
    logarithmic = axis.setting == "data.fraction"
    # Values of an ablation are no even steps of anything: they are put at even distances, each labelled.
    places = np.array(axis.values if logarithmic else range(len(axis.values)), dtype=float)
    seeds: set[int] = set()
    for place, name in enumerate(names_of(axis)):
        means, errors, counts = points(axis, way, key, place)
        seeds |= counts
        shown = ~np.isnan(means)
        if not shown.any():
            continue
        colour, marker, dashes = style_of(place)
        level = axis.one_reference and place == 0 and np.ptp(means[shown]) == 0
        if level:  # one level for all values: no markers, they would look like measurements of their own
            marker = ""
        axes.plot(
            places[shown],
            means[shown],
            color=colour,
            marker=marker,
            linestyle=dashes,
            label=name,
        )
        band = shown & ~np.isnan(errors)
        axes.fill_between(
            places, means - errors, means + errors, where=band, color=colour, alpha=0.2, linewidth=0
        )
    labels = [_tick(axis.setting, value) for value in axis.values]
    if logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()
        labels = apart(labels, np.log(places))
    axes.set_xticks(places, labels)
    axes.set_xlabel(LABELS.get(axis.setting, plain(axis.setting)))
    return seeds or {0}


def apart(labels: Sequence[str], places: Floats) -> list[str]:
    """Leaves out labels that would run into the one to their right."""
    shown: list[str] = []
    right = math.inf
    for label, place in zip(reversed(labels), reversed(places), strict=True):
        fits = right - place >= LABEL_WIDTH * np.ptp(places)
        shown.append(label if fits else "")
        right = place if fits else right
    return shown[::-1]


def names_of(axis: Axis) -> list[str]:
    """Names the lines: the reference, and what is compared with it, whose name may differ by the value."""
    names = []
    for place in range(2):
        arms = {
            c.experiment.arms[place]: c.experiment for c in axis.comparisons if len(c.experiment.arms) > place
        }
        if len(arms) == 1:
            names.append(title_of(next(iter(arms))))
        elif arms:
            names.append("SAM" if all(radius_of(e, arm) for arm, e in arms.items()) else "Arm")
    return names


def points(axis: Axis, way: Selection, key: Key, place: int) -> tuple[Floats, Floats, set[int]]:
    """Computes the points of an arm along a setting; place 0 is the reference.

    Returns:
        Means and standard errors over seeds, each of shape (values,), nan where there is none, and the
        numbers of seeds behind the means.
    """
    means, errors, counts = [], [], set()
    for comparison in axis.comparisons:
        row = find_row(comparison, way, *key)
        arms = list(row.arms.values()) if row else []
        summary = arms[place] if place < len(arms) else None
        means.append(summary.mean if summary else math.nan)
        errors.append(summary.sd / math.sqrt(summary.n) if summary and summary.n else math.nan)
        if summary and summary.n:
            counts.add(summary.n)
    return np.array(means), np.array(errors), counts


def _all_keys(axis: Axis, way: Selection) -> list[Key]:
    """Lists the sets and metrics that every experiment with scores has, the average over all first."""
    ways = [scored for c in axis.comparisons if (scored := scored_by(c, way)) is not None]
    found = [[(row.evaluation_set, row.metric) for row in scored.rows] for scored in ways]
    return [key for key in found[0] if all(key in keys for keys in found)] if found else []


def _keys(axis: Axis, way: Selection) -> list[Key]:
    """Puts the panels in order: metric by metric where all sets have the same ones, as in the paper."""
    keys = _all_keys(axis, way)
    sets = list(dict.fromkeys(name for name, _ in keys if name != AVERAGE))
    metrics = list(dict.fromkeys(metric for name, metric in keys if name != AVERAGE))
    single = [key for key in keys if key[0] != AVERAGE]
    if len(sets) > 1 and len(single) == len(sets) * len(metrics) and len(sets) <= PANELS_PER_ROW:
        return [(name, metric) for metric in metrics for name in sets]
    return [key for key in keys if key[0] != AVERAGE or (key[1] == "all" and len(sets) > 1)]


def _columns(keys: Sequence[Key]) -> int:
    sets = list(dict.fromkeys(name for name, _ in keys))
    metrics = {metric for _, metric in keys}
    grid = len(sets) > 1 and len(keys) == len(sets) * len(metrics) and len(sets) <= PANELS_PER_ROW
    return len(sets) if grid else min(len(keys), PANELS_PER_ROW)


def _title(key: Key) -> tuple[str, str]:
    name, metric = key
    return ("average", "mean score") if name == AVERAGE else (name, metric)


def titles(axes: Sequence[Axis]) -> list[str]:
    """Says what the other settings are along each line: SAM's by their letters, others where they differ."""
    letters = {"sam.rho": "ρ", "sam.ascent": "a", "sam.m": "m"}
    different = {
        key
        for axis in axes
        for key in axis.rest
        if len({repr(other.rest.get(key)) for other in axes}) > 1 and not key.startswith("sam.")
    }
    return [
        ", ".join(
            f"{letters.get(key, key.rpartition('.')[2])} = {_value(value)}"
            for key, value in axis.rest.items()
            if key in letters or key in different
        )
        for axis in axes
    ]


def _value(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tick(setting: str, value: float) -> str:
    return f"{100 * value:g}%" if setting in ("data.fraction", "data.label_noise") else f"{value:g}"


def figure_names(axes: Sequence[Axis]) -> dict[str, Axis]:
    """Names the figure of each line: after its setting, with a number where there are several of it."""
    names: dict[str, Axis] = {}
    for axis in axes:
        alike = [other for other in axes if other.setting == axis.setting]
        number = f"-{1 + alike.index(axis)}" if len(alike) > 1 else ""
        short = re.sub(r"^(sam|data|train)\.", "", axis.setting)
        names[re.sub(r"[^\w.]+", "-", short) + number] = axis
    return names


def caption(axis: Axis) -> str:
    """Says what a figure shows: the setting, and what the others are."""
    rest = ", ".join(f"{key} = {_value(value)}" for key, value in axis.rest.items())
    return f"Along {axis.setting}" + (f", with {rest}" if rest else "") + "."

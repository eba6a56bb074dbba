"""The figure of score against a setting, such as the radius or the fraction of the training data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lowland.report.figures import PANELS_PER_ROW, draw, draw_line, give_room, panel_grid
from lowland.report.formats import plain
from lowland.report.points import Line, Settings, differing
from lowland.report.selection import AVERAGE, Key, Selection, keys_of

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
LETTERS: Mapping[str, str] = {"sam.rho": "ρ", "sam.ascent": "a", "sam.m": "m"}
SHARES = ("data.fraction", "data.label_noise")
Panel = tuple[str, str, Sequence[Line], Key]  # title, label of the scores, lines along a setting, score


def setting_figures(lines: Sequence[Line], way: Selection | None = None) -> dict[str, bytes]:
    """Draws score against each setting, a panel for every evaluation set and metric, as the paper's Figure 1.

    Scores are selected one way, by default the first that all points have.
    """
    files: dict[str, bytes] = {}
    for setting in dict.fromkeys(line.setting for line in lines):
        along = [line for line in lines if line.setting == setting]
        points = [point for line in along for point in (*line.points.values(), *line.level)]
        used = way or next((one for one in Selection if all(point.scores(one) for point in points)), None)
        keys = _keys(along)
        if used is None or not keys:
            continue
        titles = {key: ("average", "mean score") if key[0] == AVERAGE else key for key in keys}
        panels = [(*titles[key], along, key) for key in keys]
        sets = len({name for name, _ in keys})
        columns = sets if len(keys) > sets and sets <= PANELS_PER_ROW else min(len(keys), PANELS_PER_ROW)
        name = re.sub(r"[^\w.]+", "-", re.sub(r"^(sam|data|train)\.", "", setting))
        files |= draw(name, partial(draw_panels, panels=panels, way=used, columns=columns))
    return files


def draw_panels(figure: Figure, panels: Sequence[Panel], way: Selection, columns: int) -> None:
    """Draws panels of lines."""
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
        title=f"mean over {number}{band}{chr(10) if columns == 1 else '; '}{way.step}",
    )
    legend.get_title().set_multialignment("center")


def _draw_lines(axes: Axes, lines: Sequence[Line], way: Selection, key: Key) -> set[int]:
    """Draws a score along a setting; returns the numbers of seeds that the points stand for."""
    # Values of a grid are no even steps of anything: they are put at even distances, each labelled.
    values = sorted({value for line in lines for value in line.points})
    levels = list({id(point): point for line in lines for point in line.level}.values())
    lines = sorted(lines, key=lambda line: line.with_sam)
    drawn = [dict.fromkeys(values, point) for point in levels] + [dict(line.points) for line in lines]
    names = [*_names("Baseline", [point.settings for point in levels]), *line_names(lines)]
    # The baseline keeps its colour where there is none.
    first = 0 if levels or not lines[0].with_sam else 1
    seeds: set[int] = set()
    for place, (name, points) in enumerate(zip(names, drawn, strict=True)):
        found = {values.index(value): point.summary(way, key) for value, point in points.items()}
        found = {at: summary for at, summary in found.items() if summary.n}
        seeds |= {summary.n for summary in found.values()}
        means = np.array([summary.mean for summary in found.values()])
        errors = np.array([summary.sd / math.sqrt(summary.n) for summary in found.values()])
        if place < len(levels):  # without markers, which would look like measurements of their own
            draw_line(axes, first + place, list(found), means, None, marker="", linestyle="--", label=name)
        else:
            draw_line(axes, first + place, list(found), means, errors, label=name)
    setting = lines[0].setting
    ticks = [f"{100 * value:g}%" if setting in SHARES else f"{value:g}" for value in values]
    axes.set_xticks(range(len(values)), ticks)
    axes.set_xlabel(LABELS.get(setting, plain(setting)))
    return seeds


def line_names(lines: Sequence[Line]) -> list[str]:
    """Names lines, those without SAM first."""
    without, with_sam = ([line.rest for line in lines if line.with_sam is kind] for kind in (False, True))
    return [*_names("Baseline", without), *_names("SAM", with_sam)]


def _names(kind: str, settings: Sequence[Settings]) -> list[str]:
    """Names lines of a kind by what is not the same in all of them."""
    differ = differing(settings)
    names = []
    for own in settings:
        values = {LETTERS.get(key, key.rpartition(".")[2]): own.get(key) for key in differ}
        shown = (f"{key} = {v:g}" if isinstance(v, float) else f"{key} = {v}" for key, v in values.items())
        names.append(plain(", ".join([kind, *shown])))
    return names


def _keys(lines: Sequence[Line]) -> list[Key]:
    """Lists the scores that all points have: metric by metric where all sets have the same ones."""
    first, *others = (keys_of(point.metrics) for line in lines for point in line.points.values())
    everywhere = [key for key in first if all(key in keys for keys in others)]
    sets = list(dict.fromkeys(name for name, _ in everywhere))
    metrics = list(dict.fromkeys(metric for _, metric in everywhere))
    if 1 < len(sets) <= PANELS_PER_ROW and len(everywhere) == len(sets) * len(metrics):
        return [(name, metric) for metric in metrics for name in sets]
    return [*([(AVERAGE, "all")] if len(sets) > 1 else []), *everywhere]

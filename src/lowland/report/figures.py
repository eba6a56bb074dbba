"""The figure of a report: score against training steps, a line for each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowland.report.comparison import Comparison
from lowland.report.drawing import PANELS_PER_ROW, draw, give_room, set_size, style_of
from lowland.report.formats import plain
from lowland.report.runs import Run, title_of
from lowland.report.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats, Floats]


def score_figure(comparison: Comparison) -> dict[str, bytes]:
    """Draws score against steps, a panel for the average and for each evaluation set.

    A line is the mean over the seeds that count, at the steps where all of them were evaluated; its
    band is one standard error to each side. A set with several metrics shows their mean.

    Args:
        comparison: The comparison.

    Returns:
        The file's name -> its content, as PNG and as SVG; empty when no run has finished.

    Raises:
        UserError: If matplotlib is not installed.
    """
    experiment, seeds = comparison.experiment, comparison.seeds
    runs = {
        arm: [run for seed, run in experiment.finished(arm).items() if seed in seeds or not seeds]
        for arm in experiment.arms
    }
    if not any(runs.values()):
        return {}
    return draw("scores", lambda figure: _draw(figure, experiment.metrics, runs))


def curve(runs: Sequence[Run], metrics: Mapping[str, tuple[str, ...]]) -> Curve:
    """Computes an arm's curve over the mean of all metrics and sets given.

    Args:
        runs: The arm's runs.
        metrics: Evaluation set -> its metrics; a set is averaged over its metrics first.

    Returns:
        Steps, means and standard errors, each of shape (steps,); errors are nan for a single run.
    """
    scores: list[dict[int, float]] = []
    for run in runs:
        by_step: dict[int, dict[str, float]] = {}
        for evaluation in run.evaluations:
            if evaluation.split == "evaluation" and evaluation.name in metrics:
                values = [evaluation.metrics[key] for key in metrics[evaluation.name]]
                by_step.setdefault(evaluation.step, {})[evaluation.name] = float(np.mean(values))
        scores.append(
            {
                step: float(np.mean(list(sets.values())))
                for step, sets in by_step.items()
                if len(sets) == len(metrics) and not math.isnan(sum(sets.values()))
            }
        )
    steps = sorted(set.intersection(*(set(of_run) for of_run in scores)))
    table = np.array([[of_run[step] for step in steps] for of_run in scores])
    n = len(runs)
    errors = table.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(len(steps), math.nan)
    return np.array(steps, dtype=float), table.mean(axis=0), errors


def _draw(figure: Figure, metrics: Mapping[str, tuple[str, ...]], runs: Mapping[str, Sequence[Run]]) -> None:
    panels = [
        (name, {name: keys}, keys[0] if len(keys) == 1 else f"mean of {', '.join(keys)}")
        for name, keys in metrics.items()
    ]
    if len(panels) > 1:
        panels.insert(0, ("average", dict(metrics), "mean score"))
    columns = min(len(panels), PANELS_PER_ROW)
    rows = math.ceil(len(panels) / columns)
    set_size(figure, rows, columns)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (title, listed, label) in zip(grid, panels, strict=False):
        for place, of_arm in enumerate(runs.values()):
            if of_arm:
                _draw_arm(axes, place, curve(of_arm, listed))
        axes.set_title(plain(title))
        axes.set_ylabel(f"{plain(label)} (%)")
        axes.set_xlabel("training steps")
        give_room(axes)
        axes.locator_params(axis="x", integer=True, nbins=5)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    names = [f"{title_of(arm)}, {count(len(of_arm), 'seed')}" for arm, of_arm in runs.items() if of_arm]
    band = any(len(of_arm) > 1 for of_arm in runs.values())
    figure.legend(
        figure.axes[0].get_lines(),
        names,
        loc="outside lower center",
        ncols=min(3, len(names)),
        frameon=False,
        title="mean over seeds; band: ± 1 standard error" if band else None,
    )


def _draw_arm(axes: Axes, place: int, drawn: Curve) -> None:
    steps, means, errors = drawn
    colour, marker, dashes = style_of(place)
    axes.plot(steps, means, color=colour, marker=marker, linestyle=dashes)
    if not np.isnan(errors).any():
        axes.fill_between(steps, means - errors, means + errors, color=colour, alpha=0.2, linewidth=0)

"""The figures of a report, and what all share: colours, sizes, and the same bytes for the same data."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowland.errors import UserError
from lowland.report.comparison import Comparison
from lowland.report.formats import plain
from lowland.report.runs import Run, title_of
from lowland.report.selection import AVERAGE
from lowland.report.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# Okabe and Ito's colours, which colour-blind readers tell apart; the markers and the dashes
# tell the arms apart on grey paper as well.
STYLES = (
    ("#0072B2", "o", "--"),
    ("#D55E00", "s", "-"),
    ("#009E73", "^", "-"),
    ("#CC79A7", "v", "-"),
    ("#E69F00", "D", "-"),
    ("#56B4E9", "P", "-"),
    ("#7F7F7F", "X", "-"),
)
"""Colour, marker and dashes of the arms in their order, the reference first."""

INK, PAPER = "#1a1a1a", "#ffffff"
"""Colours of text and ground. A page that shows a figure may put its own in their place."""

PANEL_WIDTH, PANEL_HEIGHT, PANELS_PER_ROW = 2.3, 1.9, 3
SINGLE_WIDTH, SINGLE_HEIGHT = 3.4, 2.6
"""Inches: three panels fill the width of a page, and one alone a column."""

LEAST_RANGE = 2.0
"""Percentage points that a scale of scores spans at least."""

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    # Names are data: a dollar sign in one is no formula.
    "text.parse_math": False,
}


def style_of(place: int) -> tuple[str, str, str]:
    """Gives colour, marker and dashes of an arm by its place; beyond the last colour, dots tell apart."""
    colour, marker, dashes = STYLES[place % len(STYLES)]
    return colour, marker, dashes if place < len(STYLES) else ":"


def draw(name: str, draw_on: Callable[[Figure], None]) -> dict[str, bytes]:
    """Draws a figure.

    Returns:
        The files' names, of which `name` is the stem -> their content, as PNG and as SVG.

    Raises:
        UserError: If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "Figures need matplotlib, which is not installed: pip install 'lowland[report]'."
        ) from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # The figure is the same whatever the user's matplotlibrc says.
        # Identifiers in an SVG are random without a salt, and must differ between those of one page.
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": name})
        # A name in a script that the font lacks shows boxes; that is no reason to have no figure.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure()
        figure.set_layout_engine("constrained")
        draw_on(figure)
        return {
            f"{name}.png": _save(figure, "png", {"Software": None}),
            f"{name}.svg": _save(figure, "svg", {"Date": None, "Creator": "lowland"}),
        }


def _save(figure: Figure, kind: str, metadata: Mapping[str, str | None]) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=200, metadata=metadata)
    return file.getvalue()


def panel_grid(figure: Figure, panels: int, columns: int, *, sharey: bool = False) -> list[Axes]:
    """Makes a figure's panels in rows, and sizes it by them."""
    rows = math.ceil(panels / columns)
    width = SINGLE_WIDTH if columns == 1 else PANEL_WIDTH * columns
    height = SINGLE_HEIGHT if rows == columns == 1 else PANEL_HEIGHT * rows + 0.4
    figure.set_size_inches(width, height)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)
    for axes in grid[panels:]:
        axes.set_visible(False)
    return grid[:panels]


def give_room(axes: Axes) -> None:
    """Widens the scale of scores that hardly differ: no thousandths, and nothing below zero."""
    low, high = axes.get_ylim()
    if high - low >= LEAST_RANGE:
        return
    middle = (low + high) / 2
    low, high = middle - LEAST_RANGE / 2, middle + LEAST_RANGE / 2
    if low < 0 <= axes.dataLim.y0:
        low, high = -LEAST_RANGE / 20, LEAST_RANGE  # a marker at zero is seen whole
    axes.set_ylim(low, high)


def score_figure(comparison: Comparison) -> dict[str, bytes]:
    """Draws score against steps, a panel for the average and for each evaluation set.

    A line is the mean over the seeds that count, at the steps where all of them were evaluated; its
    band is one standard error to each side. A set with several metrics shows their mean.

    Returns:
        The files' names -> their content; empty when no run has finished.
    """
    experiment, seeds = comparison.experiment, comparison.seeds
    runs = {
        arm: [run for seed, run in experiment.finished(arm).items() if seed in seeds or not seeds]
        for arm in experiment.arms
    }
    if not any(runs.values()):
        return {}
    return draw("scores", lambda figure: _draw_scores(figure, experiment.metrics, runs))


def curve(runs: Sequence[Run], metrics: Mapping[str, tuple[str, ...]]) -> tuple[Floats, Floats, Floats]:
    """Computes an arm's curve over the mean of all sets given, each averaged over its metrics first.

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


def _draw_scores(
    figure: Figure, metrics: Mapping[str, tuple[str, ...]], runs: Mapping[str, Sequence[Run]]
) -> None:
    panels = [
        (name, {name: keys}, keys[0] if len(keys) == 1 else f"mean of {', '.join(keys)}")
        for name, keys in metrics.items()
    ]
    if len(panels) > 1:
        panels.insert(0, (AVERAGE, dict(metrics), "mean score"))
    grid = panel_grid(figure, len(panels), min(len(panels), PANELS_PER_ROW))
    for axes, (title, listed, label) in zip(grid, panels, strict=True):
        for place, of_arm in enumerate(runs.values()):
            if of_arm:
                steps, means, errors = curve(of_arm, listed)
                colour, marker, dashes = style_of(place)
                axes.plot(steps, means, color=colour, marker=marker, linestyle=dashes)
                axes.fill_between(steps, means - errors, means + errors, color=colour, alpha=0.2, lw=0)
        axes.set_title(plain(title))
        axes.set_ylabel(f"{plain(label)} (%)")
        axes.set_xlabel("training steps")
        give_room(axes)
        axes.locator_params(axis="x", integer=True, nbins=5)
    names = [f"{title_of(arm)}, {count(len(of_arm), 'seed')}" for arm, of_arm in runs.items() if of_arm]
    band = any(len(of_arm) > 1 for of_arm in runs.values())
    figure.legend(
        grid[0].get_lines(),
        names,
        loc="outside lower center",
        ncols=min(3, len(names)),
        frameon=False,
        title="mean over seeds; band: ± 1 standard error" if band else None,
    )


Bin = Mapping[str, float | None]
"""A bin of a reliability diagram: `low`, `high`, `answers`, `confidence`, `right`."""

Diagrams = Mapping[str, Mapping[str, Sequence[Sequence[Bin]]]]
"""Evaluation set -> arm -> for each seed the bins of its reliability diagram, from low to high confidence."""


def reliability_figure(arms: Sequence[str], sets: Diagrams) -> dict[str, bytes]:
    """Draws the share of right answers against confidence, a panel for each evaluation set.

    Args:
        arms: All arms in their order, which gives them their colours.
        sets: The bins; those of an arm's seeds are put together.

    Returns:
        The files' names -> their content; empty where there are no bins.
    """
    return draw("reliability", lambda figure: _draw_reliability(figure, arms, sets)) if sets else {}


def _draw_reliability(figure: Figure, arms: Sequence[str], sets: Diagrams) -> None:
    grid = panel_grid(figure, len(sets), min(len(sets), PANELS_PER_ROW))
    for axes, (name, of_set) in zip(grid, sets.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
        for arm, seeds in of_set.items():
            colour, marker, dashes = style_of(arms.index(arm))
            confidence, right, answers = pool_bins(seeds)
            axes.plot(confidence, right, color=colour, linestyle=dashes, label=title_of(arm))
            # A marker's area is the share of the answers.
            axes.scatter(confidence, right, s=4 + 60 * answers / answers.sum(), color=colour, marker=marker)
        axes.set(title=plain(name), xlabel="confidence", ylabel="share of right answers", aspect="equal")
    lines = {str(line.get_label()): line for axes in grid for line in axes.get_lines()[1:]}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=3, frameon=False)


def pool_bins(seeds: Sequence[Sequence[Bin]]) -> tuple[Floats, Floats, Floats]:
    """Puts the bins of several seeds together.

    Returns:
        Mean confidence, share of right answers and number of answers of each bin that has any.
    """
    bins: dict[float, list[tuple[float, float, float]]] = {}
    for one in (one for of_seed in seeds for one in of_seed):
        answers = one["answers"] or 0.0
        figures = (answers * (one["confidence"] or 0.0), answers * (one["right"] or 0.0), answers)
        bins.setdefault(one["low"] or 0.0, []).append(figures)
    sums = np.array([np.sum(bins[low], axis=0) for low in sorted(bins)])
    confidence, right, answers = sums[sums[:, 2] > 0].T
    return confidence / answers, right / answers, answers

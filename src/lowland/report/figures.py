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
from lowland.report.runs import Metrics, Run, title_of
from lowland.report.selection import AVERAGE, average, keys_of, scores_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# Of the arms in their order: Okabe and Ito's colours, which colour-blind readers tell apart, and markers for
# grey paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = "os^vDPX"
INK, PAPER = "#1a1a1a", "#ffffff"  # of text and ground, for which a page may put its own
PANELS_PER_ROW = 3  # they fill the width of a page
ERROR = "mean over seeds; band: ± 1 standard error"

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(("legend.fontsize", "legend.title_fontsize", "xtick.labelsize", "ytick.labelsize"), 7),
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    # Names are data: a dollar sign in one is no formula.
    "text.parse_math": False,
}


def draw(name: str, panels: int, draw_on: Callable[[Figure, list[Axes]], None]) -> dict[str, bytes]:
    """Draws a figure of panels in rows; returns the names and contents of a PNG and an SVG."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        needed = "Figures need matplotlib, which is not installed: pip install 'lowland[report]'."
        raise UserError(needed) from None
    files = {}
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # The figure is the same whatever the user's matplotlibrc says.
        # Identifiers in an SVG are random without a salt, and must differ between those of one page.
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": name})
        # A name in a script that the font lacks shows boxes; that is no reason to have no figure.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        columns = min(panels, PANELS_PER_ROW)
        rows = math.ceil(panels / columns)
        figure = Figure(layout="constrained", figsize=(max(3.4, 2.3 * columns), 1.9 * rows + 0.7))
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in grid[panels:]:
            axes.set_visible(False)
        draw_on(figure, grid[:panels])
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": "lowland"})):
            file = io.BytesIO()
            figure.savefig(file, format=kind, dpi=200, metadata=metadata)
            files[f"{name}.{kind}"] = file.getvalue()
    return files


def draw_line(
    axes: Axes, place: int, x: Sequence[float] | Floats, means: Floats, errors: Floats | None, **more: Any
) -> None:
    """Draws a line, the reference's dashed, and a band of errors round it."""
    look: dict[str, Any] = {"color": COLOURS[place % 7], "marker": MARKERS[place % 7]}
    axes.plot(x, means, **{**look, "linestyle": "-" if place else "--", **more})
    if errors is not None:
        axes.fill_between(x, means - errors, means + errors, color=look["color"], alpha=0.2, lw=0)


def add_legend(figure: Figure, grid: Sequence[Axes], title: str | None = None) -> None:
    """Names the lines of all panels below them, each once."""
    lines = {str(line.get_label()): line for axes in grid for line in axes.get_lines()}
    shown = {name: line for name, line in lines.items() if not name.startswith("_")}
    columns = 1 if max(map(len, shown), default=0) > 15 else 3
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=columns, title=title)


def score_figure(comparison: Comparison) -> dict[str, bytes]:
    """Draws score against steps, a panel for the average and for each set, with the mean of its metrics."""
    metrics = comparison.experiment.metrics
    panels: dict[str, Metrics] = {AVERAGE: metrics} if len(metrics) > 1 else {}
    panels |= {name: {name: keys} for name, keys in metrics.items()}

    def draw_on(figure: Figure, grid: list[Axes]) -> None:
        for axes, (title, listed) in zip(grid, panels.items(), strict=True):
            for place, (arm, runs) in enumerate(comparison.runs.items()):
                if runs:
                    draw_line(axes, place, *curve(runs, listed), label=plain(title_of(arm)))
            label = "mean score" if len(keys := keys_of(listed)) > 1 else plain(keys[0][1])
            axes.set(title=plain(title), ylabel=f"{label} (%)", xlabel="training steps")
            axes.locator_params(axis="x", integer=True, nbins=5)
        add_legend(figure, grid, ERROR)

    return draw("scores", len(panels), draw_on) if any(comparison.runs.values()) else {}


def curve(runs: Sequence[Run], metrics: Metrics) -> tuple[Floats, Floats, Floats]:
    """Gives steps, means of all sets and standard errors of an arm's curve; nan errors for a single run."""
    scores = [
        {
            step: mean
            for step, sets in run.evaluated("evaluation").items()
            if not math.isnan(mean := average(scores_at(sets, metrics), metrics))
        }
        for run in runs
    ]
    steps = sorted(set.intersection(*(set(of_run) for of_run in scores)))
    table = np.array([[of_run[step] for step in steps] for of_run in scores])
    n = len(runs)
    errors = table.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(len(steps), math.nan)
    return np.array(steps, dtype=float), table.mean(axis=0), errors


BIN = ("low", "answers", "confidence", "right")
Bin = Mapping[str, float]  # of a reliability diagram; nan where there are no answers
Diagrams = Mapping[str, Mapping[str, Sequence[Sequence[Bin]]]]  # evaluation set -> arm -> for each seed bins


def reliability_figure(arms: Sequence[str], sets: Diagrams) -> dict[str, bytes]:
    """Draws the share of right answers against confidence, a panel for each evaluation set."""

    def draw_on(figure: Figure, grid: list[Axes]) -> None:
        for axes, (name, of_set) in zip(grid, sets.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
            for arm, seeds in of_set.items():
                confidence, right, _ = pool_bins(seeds)
                draw_line(axes, arms.index(arm), confidence, right, None, label=plain(title_of(arm)))
            axes.set(title=plain(name), xlabel="confidence", ylabel="share of right answers", aspect="equal")
        add_legend(figure, grid)

    return draw("reliability", len(sets), draw_on) if sets else {}


def pool_bins(seeds: Sequence[Sequence[Bin]]) -> tuple[Floats, Floats, Floats]:
    """Gives mean confidence, share of right answers and number of answers of each bin, over the seeds."""
    bins: dict[float, Floats] = {}
    for one in (one for of_seed in seeds for one in of_seed if one["answers"]):
        sums = one["answers"] * np.array([one["confidence"], one["right"], 1.0])
        bins[one["low"]] = bins.get(one["low"], np.zeros(3)) + sums
    confidence, right, answers = np.array([bins[low] for low in sorted(bins)]).T
    return confidence / answers, right / answers, answers

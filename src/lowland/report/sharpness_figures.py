"""Figures of sharpness: the loss along the ascent's direction, and on a plane, all arms on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowland.report.figures import PANEL_WIDTH, draw, style_of
from lowland.report.runs import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]

LINES: Mapping[str, tuple[str, str, str]] = {"start": ("#666666", "", ":"), "model": ("#000000", "", "-")}
"""What is no arm -> colour, marker and dashes."""

NAMES: Mapping[str, str] = {"start": "Before", "model": "Model"}
PANELS: Mapping[str, str] = {"train": "training", "held_out": "held out", "evaluation": "evaluation"}
LEVELS = 12


def name_of(arm: str) -> str:
    """Names an arm, the weights before training, or a model, as a reader sees it."""
    return NAMES.get(arm) or title_of(arm)


def line_figure(records: Sequence[Record], arms: Sequence[str], splits: Sequence[str]) -> dict[str, bytes]:
    """Draws the rise of the loss along the ascent's direction, a panel for each kind of examples.

    A line is the mean over the seeds; its band is one standard error to each side.

    Args:
        records: The figures of all checkpoints.
        arms: Which arms to draw, the first below.
        splits: Which kinds of examples.

    Returns:
        The file's names -> their content.

    Raises:
        UserError: If matplotlib is not installed.
    """
    return draw("line", lambda figure: _draw_lines(figure, records, arms, splits))


def _draw_lines(
    figure: Figure, records: Sequence[Record], arms: Sequence[str], splits: Sequence[str]
) -> None:
    figure.set_size_inches(PANEL_WIDTH * len(splits), 2.5)
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    seeds = 0
    for axes, split in zip(panels, splits, strict=True):
        for place, arm in enumerate(arms):
            lines = [record["splits"][split] for record in records if record["arm"] == arm]
            places = np.array(lines[0]["line"]["distances"])
            rises = np.array([np.array(line["line"]["losses"]) - line["loss"] for line in lines])
            colour, marker, dashes = LINES.get(arm) or style_of(place)
            mean, seeds = rises.mean(axis=0), max(seeds, len(rises))
            axes.plot(
                places, mean, color=colour, marker=marker, linestyle=dashes, label=name_of(arm), markevery=2
            )
            if len(rises) > 1:
                error = rises.std(axis=0, ddof=1) / np.sqrt(len(rises))
                axes.fill_between(places, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(PANELS[split])
        axes.set_xlabel("distance along the ascent")
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_ylabel("rise of the loss")
    title = f"mean over {seeds} seeds; band: ± 1 standard error" if seeds > 1 else None
    figure.legend(
        panels[0].get_lines(),
        [name_of(arm) for arm in arms],
        loc="outside lower center",
        ncols=len(arms),
        frameon=False,
        title=title,
    )


def plane_figure(records: Sequence[Record], arms: Sequence[str]) -> dict[str, bytes]:
    """Draws the loss on a plane, a panel for each arm, with one scale of colours and the same contours.

    Args:
        records: The figures of all checkpoints; those of the first seed with a plane are drawn.
        arms: Which arms.

    Returns:
        The file's names -> their content; empty where there is no plane.

    Raises:
        UserError: If matplotlib is not installed.
    """
    with_plane = [record for record in records if record["plane"]]
    if not with_plane:
        return {}
    seed = with_plane[0]["seed"]
    planes = {record["arm"]: record["plane"] for record in with_plane if record["seed"] == seed}
    shown = {arm: planes[arm] for arm in arms if arm in planes}
    return draw("plane", lambda figure: _draw_planes(figure, shown))


def _draw_planes(figure: Figure, planes: Mapping[str, Any]) -> None:
    losses = {arm: np.array(plane["losses"], dtype=float) for arm, plane in planes.items()}
    everything = np.concatenate([loss.ravel() for loss in losses.values()])
    levels = _levels(everything)
    figure.set_size_inches(max(3.4, 1.9 * len(planes) + 0.6), 2.4)
    panels = figure.subplots(1, len(planes), sharex=True, sharey=True, squeeze=False)[0]
    drawn = None
    for axes, (arm, plane) in zip(panels, planes.items(), strict=True):
        drawn = _draw_plane(axes, plane, losses[arm], levels)
        axes.set_title(name_of(arm))
    panels[0].set_ylabel("random direction")
    figure.supxlabel("distance along the ascent", fontsize=8)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(panels), label="loss", pad=0.02, format="%.2g")
        bar.set_ticks(list(levels[::3]))


def _draw_plane(axes: Axes, plane: Any, losses: NDArray[np.float64], levels: NDArray[np.float64]) -> Any:
    from matplotlib.colors import BoundaryNorm

    # cividis has the same order of lightness for all kinds of colour vision.
    scale = BoundaryNorm(list(levels), 256)
    filled = axes.contourf(
        plane["across"], plane["up"], losses, levels=levels, cmap="cividis", norm=scale, extend="both"
    )
    axes.contour(plane["across"], plane["up"], losses, levels=levels, colors="white", linewidths=0.4)
    axes.plot([0], [0], marker="P", markerfacecolor="white", markeredgecolor="black", markersize=5)
    axes.grid(visible=False)
    axes.locator_params(axis="x", nbins=3)
    axes.locator_params(axis="y", nbins=5)
    return filled


def _levels(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spaces contours evenly in the logarithm, so that a low valley shows beside a high wall."""
    finite = losses[np.isfinite(losses)]
    low, high = max(float(finite.min()), 1e-6), max(float(finite.max()), 1e-5)
    return np.geomspace(low * 0.999, high * 1.001 if high > low else low * 1.1, LEVELS + 1)

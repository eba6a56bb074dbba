"""What all figures share: colours, sizes, and files that are the same for the same data."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lowland.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart; the markers and the dashes
# tell the arms apart on grey paper as well.
STYLES = (
    ("#0072B2", "o", "--"),
    ("#D55E00", "s", "-"),
    ("#009E73", "^", "-"),
    ("#CC79A7", "v", "-"),
    ("#E69F00", "D", "-"),
    ("#56B4E9", "P", "-"),
    ("#000000", "X", "-"),
)
"""Colour, marker and dashes of the arms in their order, the reference first."""

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
    # Identifiers in an SVG are random without a salt, and the file would change at every writing.
    "svg.hashsalt": "lowland",
    # Names are data: a dollar sign in one is no formula.
    "text.parse_math": False,
}


def style_of(place: int) -> tuple[str, str, str]:
    """Gives colour, marker and dashes of an arm by its place; beyond the last colour, dots tell apart."""
    colour, marker, dashes = STYLES[place % len(STYLES)]
    return colour, marker, dashes if place < len(STYLES) else ":"


def draw(name: str, draw_on: Callable[[Figure], None]) -> dict[str, bytes]:
    """Draws a figure.

    Args:
        name: The stem of its files.
        draw_on: Draws on an empty figure.

    Returns:
        The files' names -> their content, as PNG and as SVG.

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
        matplotlib.rcParams.update(_STYLE)
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


def set_size(figure: Figure, rows: int, columns: int) -> None:
    """Sizes a figure by its panels."""
    width = SINGLE_WIDTH if columns == 1 else PANEL_WIDTH * columns
    height = SINGLE_HEIGHT if rows == columns == 1 else PANEL_HEIGHT * rows + 0.4
    figure.set_size_inches(width, height)


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

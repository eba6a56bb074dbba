"""Numbers as a reader wants them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # scipy takes half a second, and words are needed for mistakes, too
    from lowland.statistics import Summary


def count(number: int, noun: str) -> str:
    """Writes a number and its noun, for example `1 seed` or `3 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def spread(summary: Summary, form: str = ".1f") -> str:
    """Writes a mean with its standard deviation, for example `81.2 ± 0.4`."""
    if math.isnan(summary.mean):
        return "-"
    return f"{summary.mean:{form}}" + ("" if math.isnan(summary.sd) else f" ± {summary.sd:{form}}")


def signed(value: float) -> str:
    """Writes a difference with its sign and one decimal, or with more where that would show 0."""
    if abs(value) <= 1e-9:  # as `lowland.statistics.EQUAL_POINTS`
        return "0.0"
    return f"{value:+.1f}" if abs(value) >= 0.05 else f"{value:+.1g}"


def gigabytes(size: float) -> str:
    """Writes bytes as GB, or as MB where they are few."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{max(1, math.ceil(size / 1e6))} MB"


def span(seconds: float) -> str:
    """Writes a time in the largest unit of which there are two at least, such as `3 hours`."""
    for name, length in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{math.ceil(seconds)} s"

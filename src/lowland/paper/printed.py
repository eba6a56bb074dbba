"""The rows of the paper's Tables 1 to 9 as they are printed, in `tables.json` beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Any

AVERAGES = ("SGlue", "Glue", "avg")
"""The columns that hold an average over the others."""


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """One row of a table.

    Attributes:
        table: Number of the table, 1 to 9.
        row: Number of the row in it, from 0.
        model: The model as the paper calls it, such as `T5.1.1 Base`.
        size: `Small`, `Base`, `Large` or `XL`.
        sam_rho: Radius of SAM; `None` for standard training.
        scores: Column -> metric -> percent; the column of the average is one of `AVERAGES`.
        swept: The setting that a block of Table 9 varies: `sam.rho`, `sam.ascent` or `sam.m`.
        swept_value: Its value in this row.
    """

    table: int
    row: int
    model: str
    size: str
    sam_rho: float | None
    scores: Mapping[str, Mapping[str, float]]
    swept: str | None = None
    swept_value: float | int | None = None


@cache
def printed_rows() -> tuple[PrintedRow, ...]:
    """Reads all rows, in the order of the tables."""
    text = (resources.files("lowland.paper") / "tables.json").read_text(encoding="utf-8")
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for cell in json.loads(text):
        row = rows.setdefault((cell["table"], cell["row"]), {"scores": {}})
        row["scores"].setdefault(cell["task"], {})[cell["metric"]] = cell["value"]
        row |= {name: cell.get(name) for name in ("table", "row", "model", "size", "sam_rho")}
        row |= {name: cell.get(name) for name in ("swept", "swept_value")}
    return tuple(PrintedRow(**row) for row in rows.values())


def average_columns(columns: Mapping[str, Mapping[str, float]], *, by_metric: bool) -> dict[str, float]:
    """Averages columns as the paper does.

    A column with two metrics is averaged first, but MNLI's matched and mismatched sets count as two
    tasks. TyDiQA's F1 and exact match are averaged apart.

    Args:
        columns: Column -> metric -> percent; at least one.
        by_metric: Whether the metrics are averaged apart.

    Returns:
        Metric -> average: `average`, or `f1` and `em`.
    """
    if by_metric:
        return {metric: fmean(column[metric] for column in columns.values()) for metric in ("f1", "em")}
    tasks: list[float] = []
    for name, metrics in columns.items():
        tasks += metrics.values() if name == "MNLI" else [fmean(metrics.values())]
    return {"average": fmean(tasks)}

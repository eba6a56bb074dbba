"""What the paper prints: the rows of its Tables 1 to 9 (`tables.json`), and their layout (`layout.toml`)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Any

from lowland.report.selection import Key


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table's layout, and which of our evaluation sets and metrics stand in which column."""

    number: int
    title: str
    average: str | None = None  # the column of the average
    columns: Mapping[str, Mapping[str, Key]]  # column but the average's -> printed metric -> ours
    shown: bool = True  # whether the columns are printed; Table 3 prints the averages only

    @property
    def heads(self) -> dict[str, list[str]]:
        """The columns that are printed, the average first, and their metrics."""
        metrics = ["f1", "em"] if self.average == "avg" else ["average"]
        average = {} if self.average is None else {self.average: metrics}
        return average | {name: list(of) for name, of in self.columns.items() if self.shown}


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """One row of a table."""

    table: int
    row: int  # number of the row in it, from 0
    model: str  # as the paper calls it, such as `T5.1.1 Base`
    size: str  # `Small`, `Base`, `Large` or `XL`
    sam_rho: float | None  # radius of SAM; `None` for standard training
    scores: Mapping[str, Mapping[str, float]]  # column, the average's too -> metric -> percent
    swept: str | None = None  # what a block of Table 9 varies: `sam.rho`, `sam.ascent` or `sam.m`
    swept_value: float | int | None = None


def _text(name: str) -> str:
    return (resources.files("lowland.paper") / name).read_text(encoding="utf-8")


@cache
def layouts() -> Mapping[int, Layout]:
    """Reads the layouts of all tables, by their numbers."""
    content = tomllib.loads(_text("layout.toml"))
    columns = {
        name: {
            column: {printed: tuple(ours.split()) for printed, ours in metrics.items()}
            for column, metrics in of_benchmark.items()
        }
        for name, of_benchmark in content["columns"].items()
    }
    found = [Layout(**{**table, "columns": columns[table["columns"]]}) for table in content["table"]]
    return {layout.number: layout for layout in found}


@cache
def printed_rows() -> tuple[PrintedRow, ...]:
    """Reads all rows, in the order of the tables."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for cell in json.loads(_text("tables.json")):
        row = rows.setdefault((cell["table"], cell["row"]), {"scores": {}})
        row["scores"].setdefault(cell.pop("task"), {})[cell.pop("metric")] = cell.pop("value")
        row |= cell
    return tuple(PrintedRow(**row) for row in rows.values())


def average_columns(columns: Mapping[str, Mapping[str, float]], *, by_metric: bool) -> dict[str, float]:
    """Averages columns as the paper does: MNLI's two sets count as two tasks, TyDiQA apart, `by_metric`."""
    if by_metric:
        return {metric: fmean(column[metric] for column in columns.values()) for metric in ("f1", "em")}
    tasks: list[float] = []
    for name, metrics in columns.items():
        tasks += metrics.values() if name == "MNLI" else [fmean(metrics.values())]
    return {"average": fmean(tasks)}

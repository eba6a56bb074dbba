"""Our scores, run by run, in the columns of the paper's tables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from statistics import fmean
from typing import Any

from lowland.paper.printed import Layout, average_columns, layouts
from lowland.report.along import Point
from lowland.report.formats import Value
from lowland.report.selection import Scores, Selection, keys_of
from lowland.sam.config import SAMConfig

Columns = Mapping[str, Mapping[str, float]]  # column -> metric -> percent

# The paper's settings of SAM: a quarter of the batch, one point, and the radius of its larger models.
DEFAULTS: Mapping[str, Any] = {f"sam.{item.name}": item.default for item in fields(SAMConfig)}
# What the paper varies. Any other kind of SAM has no line in its tables.
VARIED = ("sam.rho", "sam.ascent", "sam.ascent_examples", "sam.m", "sam.descent")
LOW = 0.05  # the training fraction of Tables 6 and 7

# Benchmark, whether on several tasks, and whether on all data -> tables.
TABLES: Mapping[tuple[str, bool, bool], tuple[int, ...]] = {
    ("superglue", True, True): (1, 9),
    ("superglue", True, False): (6,),
    ("glue", True, True): (2,),
    ("cbqa", True, True): (4,),
    ("cbqa", True, False): (7,),
    ("cbqa", False, True): (5,),
    ("tydiqa", True, True): (3, 8),
    ("tydiqa", False, True): (3, 8),
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a choice of settings scored, or several whose columns stand in one row."""

    name: str  # the experiments' names
    model: str  # as the paper calls it where it is the paper's, such as `T5.1.1 Base`
    settings: Mapping[str, Value]  # on one level
    runs: Mapping[int, Columns]  # by seed; each score the best of all checkpoints for its set and metric

    @property
    def rho(self) -> float:
        """SAM's radius; 0 for the baseline."""
        value = self.settings.get("sam.rho")
        return float(value) if isinstance(value, int | float) else math.nan

    @property
    def plain(self) -> bool:
        """Whether SAM is the paper's method: by an ascent in every step for all weights, and nothing else."""
        other = {name: default for name, default in DEFAULTS.items() if name not in VARIED}
        return all(self.settings.get(name, default) == default for name, default in other.items())

    @property
    def usual_ascent(self) -> bool:
        """Whether SAM is the paper's method as it is used there, on a quarter of the batch to one point."""
        number, share = self.settings.get("sam.ascent_examples"), self.settings.get("sam.ascent")
        batch, m = self.settings.get("train.batch_size"), self.settings.get("sam.m", DEFAULTS["sam.m"])
        if isinstance(number, int) and isinstance(batch, int):
            share = number / batch
        return share in (None, DEFAULTS["sam.ascent"]) and m == DEFAULTS["sam.m"] and self.plain

    @property
    def means(self) -> Columns:
        """The means over the seeds that have a score."""
        values: dict[str, dict[str, list[float]]] = {}
        for columns in self.runs.values():
            for column, metrics in columns.items():
                for metric, value in metrics.items():
                    values.setdefault(column, {}).setdefault(metric, []).append(value)
        return {column: {key: fmean(v) for key, v in of.items()} for column, of in values.items()}


def find_results(points: Sequence[Point], layout: Layout) -> list[Result]:
    """Finds what belongs in a table; in Table 5, results that differ in their tasks only make one row."""
    groups: dict[str, list[Point]] = {}
    for number, point in enumerate(points):
        if layout.number in tables_of_point(point) and point.scores(Selection.BEST):
            rest = {key: value for key, value in point.settings.items() if key != "data.tasks"}
            key = repr(sorted(rest.items())) if layout.number == 5 else str(number)
            groups.setdefault(key, []).append(point)
    found = []
    for group in groups.values():
        model = str(group[0].settings["model"])
        scores: dict[int, Scores] = {}
        for point in group:
            for seed, of_seed in point.scores(Selection.BEST).items():
                scores.setdefault(seed, {}).update(of_seed)
        found.append(
            Result(
                name=" + ".join(dict.fromkeys(point.name for point in group)),
                model=paper_model(model) or PurePath(model).name or model,
                settings=group[0].settings,
                runs={seed: columns_of(one, layout) for seed, one in scores.items()},
            )
        )
    return found


def columns_of(scores: Scores, layout: Layout) -> Columns:
    """Puts a run's scores in a table's columns, the average among them; what it lacks is left out."""
    columns: dict[str, Mapping[str, float]] = {}
    for column, metrics in layout.columns.items():
        known = {printed: scores.get(key, math.nan) for printed, key in metrics.items()}
        values = {printed: value for printed, value in known.items() if not math.isnan(value)}
        # Half a column would be averaged as if it were the whole.
        if len(values) == len(metrics) or (column == "MNLI" and values):
            columns[column] = values
    if layout.average is not None and columns:
        columns[layout.average] = average_columns(columns, by_metric=layout.average == "avg")
    return columns


def paper_model(name: str) -> str | None:
    """Returns what the paper calls a model, by its directory or name on the hub; `None` for others."""
    found = re.search(r"(mt5|t5[-_.]?(?:v|\.)?1[-_.]1)[-_.](small|base|large|xl)\b", name.lower())
    if found is None:
        return None
    size = "XL" if found[2] == "xl" else found[2].capitalize()
    return f"{'mT5' if found[1] == 'mt5' else 'T5.1.1'} {size}"


def tables_of_point(point: Point) -> tuple[int, ...]:
    """Finds the numbers of the tables that a point belongs to; part of a benchmark counts as it."""
    fraction = point.settings.get("data.fraction", 1.0)
    # DPR is trained on beside WSC, and is no task of a table.
    several = len([task for task in point.experiment.tasks if task != "dpr"]) > 1
    benchmarks = {name.partition("/")[0] for name in point.metrics} - {"dpr"}
    if fraction not in (1, LOW) or len(benchmarks) != 1:
        return ()
    found = TABLES.get((benchmarks.pop(), several, fraction == 1), ())
    columns = layouts()[found[0]].columns.values() if found else ()
    ours = {key for column in columns for key in column.values()}
    return found if ours & set(keys_of(point.metrics)) else ()

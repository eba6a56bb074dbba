"""Our scores, run by run, in the columns of the paper's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lowland.report.comparison import Comparison
from lowland.report.formats import Value
from lowland.report.grid import ascent_share, radius_of, scored_by, settings_of
from lowland.report.paper.layout import LAYOUTS, Layout
from lowland.report.paper.printed import average_columns, printed_rows
from lowland.report.paper.recognize import Place, recognize
from lowland.report.selection import Scores, Selection
from lowland.sam.config import SAMConfig

Columns = dict[str, dict[str, float]]
"""Column -> metric -> percent."""

DEFAULTS: Mapping[str, Any] = {f"sam.{item.name}": item.default for item in fields(SAMConfig)}
DEFAULT_RHO, DEFAULT_SHARE, DEFAULT_M = SAMConfig.rho, SAMConfig.ascent, SAMConfig.m
BASELINE = "baseline"
"""The paper's settings of SAM: a quarter of the batch, one point, and the radius of its larger models."""

VARIED = ("sam.rho", "sam.ascent", "sam.ascent_examples", "sam.m", "sam.descent")
"""What the paper varies. Any other kind of SAM has no line in its tables."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an experiment scored, or several whose columns stand in one row.

    Attributes:
        name: Their names.
        place: Where it belongs in the paper.
        settings: Its settings, as one level.
        runs: `baseline` or `sam` -> seed -> scores; each the best of all checkpoints for its set and metric.
    """

    name: str
    place: Place
    settings: Mapping[str, Value]
    runs: Mapping[str, Mapping[int, Scores]]

    @property
    def rho(self) -> float:
        """SAM's radius."""
        value = self.settings.get("sam.rho")
        return float(value) if isinstance(value, (int, float)) else math.nan

    @property
    def plain(self) -> bool:
        """Whether SAM is the paper's method: by an ascent in every step for all weights, and nothing else."""
        return all(
            self.settings.get(name, default) == default
            for name, default in DEFAULTS.items()
            if name not in VARIED
        )

    @property
    def usual_ascent(self) -> bool:
        """Whether SAM is the paper's method as it is used there, on a quarter of the batch to one point."""
        share, m = ascent_share(self.settings), self.settings.get("sam.m", DEFAULT_M)
        return share in (None, DEFAULT_SHARE) and m == DEFAULT_M and self.plain


def find_results(comparisons: Sequence[Comparison], table: int) -> list[Result]:
    """Finds the experiments that belong in a table and have scores.

    Table 5 has in one row what was trained on one data set at a time, so experiments that differ in
    their tasks only are put together.
    """
    found = []
    for comparison in comparisons:
        place, scored = recognize(comparison.experiment), scored_by(comparison, Selection.BEST)
        if table in place.tables and scored is not None:
            found.append(
                Result(
                    name=comparison.experiment.name,
                    place=place,
                    settings=settings_of(comparison.experiment),
                    runs={
                        "sam" if radius_of(comparison.experiment, arm) else BASELINE: of_arm
                        for arm, of_arm in scored.runs.items()
                    },
                )
            )
    return _join(found) if table == 5 else found


def as_in_paper(results: Sequence[Result], table: int) -> list[Result]:
    """Picks the results with the paper's settings of SAM; where a model has none, all with its method.

    The others, along rho, a and m, belong in Table 9 only.
    """
    picked: list[Result] = []
    for model in dict.fromkeys(result.place.model for result in results):
        with_sam = [r for r in results if r.place.model == model and r.runs.get("sam") and r.plain]
        printed = {row.sam_rho for row in printed_rows() if (row.table, row.model) == (table, model)}
        usual = [result for result in with_sam if result.usual_ascent]
        rhos = printed - {None} or {DEFAULT_RHO}
        for result in [result for result in usual if result.rho in rhos] or usual or with_sam:
            # With one point the two ways of descending are the same runs under two names.
            if all(result.runs != other.runs for other in picked):
                picked.append(result)
    return picked


def _join(results: Sequence[Result]) -> list[Result]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        rest = {key: value for key, value in result.settings.items() if key != "data.tasks"}
        groups.setdefault(repr(sorted(rest.items())), []).append(result)
    joined = []
    for group in groups.values():
        runs: dict[str, dict[int, Scores]] = {}
        for result in group:
            for arm, of_arm in result.runs.items():
                for seed, scores in of_arm.items():
                    runs.setdefault(arm, {}).setdefault(seed, {}).update(scores)
        first = group[0]
        name = " + ".join(result.name for result in group)
        joined.append(Result(name=name, place=first.place, settings=first.settings, runs=runs))
    return joined


def columns_of(scores: Scores, layout: Layout) -> Columns:
    """Puts a run's scores in a table's columns, the average among them; what it lacks is left out."""
    columns: Columns = {}
    for column, metrics in layout.columns.items():
        values = {
            printed: scores[key]
            for printed, key in metrics.items()
            if key in scores and not math.isnan(scores[key])
        }
        # Half a column would be averaged as if it were the whole.
        if len(values) == len(metrics) or (column == "MNLI" and values):
            columns[column] = values
    if layout.average is not None and columns:
        columns[layout.average] = average_columns(columns, by_metric=layout.average == "avg")
    return columns


def is_partial(columns: Columns, layout: Layout) -> bool:
    """Says whether columns are missing, so that the average is not the paper's."""
    cells = sum(len(columns.get(column, {})) for column in layout.columns)
    return cells < sum(len(metrics) for metrics in layout.columns.values())


def tables_of(comparisons: Sequence[Comparison]) -> list[int]:
    """Lists the tables that any of the experiments belongs to."""
    found = {table for comparison in comparisons for table in recognize(comparison.experiment).tables}
    return [number for number in LAYOUTS if number in found]

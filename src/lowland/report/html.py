"""`report.html`: the whole report in one file that loads nothing and runs nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lowland.report.examples import AnsweredSet
from lowland.report.figures import INK, PAPER
from lowland.report.formats import Table, Value, plain
from lowland.report.page import figure_title
from lowland.report.result import Report
from lowland.report.runs import title_of
from lowland.report.tables import arms_table, settings_table

SHOWN_FLIPS = 8
"""Flips of an evaluation set and arm that the page shows; the file has more."""

GROUPED: Mapping[str, int] = {"scores": 2, "outcomes": 2, "beyond": 2, "classes": 2}
"""Tables whose first columns are heads of groups of rows."""


def to_html(report: Report, figures: Mapping[str, bytes]) -> str:
    """Writes the page.

    Every text is data and is escaped: names, labels and paths come from users' files and from other people's
    data sets. The figures are drawings of matplotlib's, whose texts are outlines.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Characters that steer a page, such as those that turn the direction of writing, are no text.
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    experiment = report.comparison.experiment
    by_name = {table.name: table for table in report.beyond}
    drawings = {name.removesuffix(".svg"): svg for name, svg in figures.items() if name.endswith(".svg")}
    shown = {figure_title(stem): _inline(svg) for stem, svg in drawings.items()}
    first, *others = [_view(table) for table in report.scores] or [None]
    return page.get_template("report.html.j2").render(
        report=report,
        experiment=experiment,
        scores=first,
        other_scores=others,
        figures=shown,
        outcomes=_view(by_name.get("outcomes")),
        beyond=_view(by_name.get("beyond")),
        classes=_view(by_name.get("classes")),
        confusions=_confusions(report.examples),
        flips=_flips(report.examples),
        sam=_view(report.sam),
        cost=_view(report.cost),
        arms=_view(arms_table(experiment)),
        settings=_view(settings_table(experiment)),
        title_of=title_of,
    )


def _inline(svg: bytes) -> Markup:
    """Makes a figure part of a page, with the page's colours for text and ground."""
    text = svg.decode()
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # On a wide screen a figure is half again as large as on paper; on a narrow one it scrolls.
    size = re.search(r' width="([\d.]+)pt" height="[\d.]+pt"', text)
    if size:
        width = float(size[1])
        text = text.replace(
            size[0], f' style="min-width: {0.8 * width:.0f}pt; max-width: {1.5 * width:.0f}pt"', 1
        )
    return Markup(text.replace(INK, "currentColor").replace(PAPER, "transparent"))  # ours


def _view(table: Table | None) -> dict[str, Any] | None:
    """Arranges a table for the page: rows in groups, a drawing of the interval where there is one."""
    if table is None:
        return None
    grouped = GROUPED.get(table.name.partition("-")[0], 0)
    bars = _bars(table.records) if len(table.records) == len(table.rows) else [None] * len(table.rows)
    groups: list[dict[str, Any]] = []
    for row, record, bar in zip(table.rows, table.records, bars, strict=True):
        head = " · ".join(dict.fromkeys(row[:grouped]))
        if not groups or groups[-1]["head"] != head:
            groups.append({"head": head, "rows": []})
        cells = list(zip(row[grouped:], table.align[grouped:], strict=True))
        groups[-1]["rows"].append({"cells": cells, "bar": bar, "verdict": record.get("verdict", "")})
    return {
        "title": table.title,
        "columns": list(zip(table.columns[grouped:], table.align[grouped:], strict=True)),
        "groups": groups,
        "notes": table.notes,
        "forest": any(bars),
    }


def _bars(records: Sequence[Mapping[str, Value]]) -> list[dict[str, float] | None]:
    """Places differences and intervals on a scale from -50 to 50, on which better is to the right.

    Rows of the same unit share a scale.
    """
    ends: dict[object, float] = {}
    for record in records:
        figures = [record.get(key) for key in ("difference", "interval_low", "interval_high")]
        known = [abs(x) for x in figures if isinstance(x, float) and math.isfinite(x)]
        unit = _unit(record)
        ends[unit] = max([ends.get(unit, 0.0), *known])
    bars: list[dict[str, float] | None] = []
    for record in records:
        middle, scale = record.get("difference"), ends[_unit(record)]
        if not isinstance(middle, float) or not math.isfinite(middle) or not scale:
            bars.append(None)
            continue
        sign = -50 / scale if record.get("better") == "lower" else 50 / scale
        low, high = (
            value if isinstance(value, float) and math.isfinite(value) else middle
            for value in (record.get("interval_low"), record.get("interval_high"))
        )
        bars.append(
            {
                "middle": sign * middle,
                "low": min(sign * low, sign * high),
                "high": max(sign * low, sign * high),
            }
        )
    return bars


def _unit(record: Mapping[str, Value]) -> object:
    # Losses of an answer and of a token have one unit and not one size.
    return record.get("unit", "points") if record.get("unit", "points") == "points" else record.get("outcome")


def _confusions(sets: Sequence[AnsweredSet]) -> list[dict[str, Any]]:
    """Arranges each arm's confusion matrix, over all seeds; a cell's share is that of its row."""
    matrices = []
    for examples in sets:
        for arm in examples.predictions:
            found = examples.classes(arm)
            if found is not None:
                rows = [
                    (score.label, [(n, n / max(1, sum(counts))) for n in counts])
                    for score, counts in zip(found.scores, found.confusion, strict=True)
                ]
                matrices.append(
                    {"set": examples.name, "arm": title_of(arm), "columns": found.columns, "rows": rows}
                )
    return matrices


def _flips(sets: Sequence[AnsweredSet]) -> list[dict[str, Any]]:
    return [
        {
            "set": examples.name,
            "arm": title_of(arm),
            "reference": title_of(examples.reference),
            "rows": examples.telling(arm, SHOWN_FLIPS),
        }
        for examples in sets
        for arm in list(examples.predictions)[1:]
        if examples.flips(arm).telling
    ]

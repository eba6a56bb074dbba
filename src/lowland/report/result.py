"""A report, and the forms in which it is shown: on the terminal, in Markdown, HTML and JSON."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from lowland.files import finite
from lowland.report.comparison import Comparison
from lowland.report.examples import AnsweredSet
from lowland.report.figures import INK, PAPER, Diagrams
from lowland.report.formats import Table, Value, escape_markdown, plain, print_lines, print_table, to_markdown
from lowland.report.runs import title_of
from lowland.report.tables import arms_table, settings_table

SHOWN_FLIPS = 8  # flips of an evaluation set and arm that the page shows; the file has more


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report."""

    comparison: Comparison
    headline: str  # the result in one sentence
    scores: tuple[Table, ...]  # one for each selection that is available; the first gives the headline
    recommended: str | None  # the arm to use; `None` before anything is scored
    answer: tuple[str, ...]  # what was compared, the score, the rest, what to do; empty for a single arm
    beyond: tuple[Table, ...]  # what else was measured: other examples of this kind, classes, outcomes
    sam: Table  # what SAM did; without rows where no run has logged it
    cost: Table  # training time
    bins: Diagrams
    examples: tuple[AnsweredSet, ...]  # the evaluation sets whose predictions tell more than their score
    caveats: tuple[str, ...]  # what a reader must know before quoting a number
    directory: Path  # where it is written

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that have files of their own."""
        return (*self.scores, *self.beyond, *([self.sam] if self.sam.rows else []), self.cost)

    @property
    def figures(self) -> list[Path]:
        """The figures that were drawn."""
        return sorted(self.directory.glob("figures/[!.]*.[ps][nv]g"))

    def print(self, console: Console) -> None:
        """Prints the headline, its score table, caveats, files and the answer."""
        print_lines(console, [self.headline], "bold")
        for table in self.scores[:1]:
            print_table(console, table)
        print_lines(console, [f"* {caveat}" for caveat in self.caveats], "yellow")
        console.print(Text(f"Report: {self.directory / 'report.html'} (or report.md)"), soft_wrap=True)
        print_lines(console, self.answer, "bold")


def to_page(report: Report, figures: Iterable[str]) -> str:
    """Writes `report.md`."""
    return _render("report.md.j2", report, escape=False, figures=figures)


def to_html(report: Report, figures: Mapping[str, bytes]) -> str:
    """Writes `report.html`, one file that loads and runs nothing. Every text is data and is escaped."""
    drawings = {name.removesuffix(".svg"): svg for name, svg in figures.items() if name.endswith(".svg")}
    told = [(one, arm, one.telling(arm, SHOWN_FLIPS)) for one in report.examples for arm in one.others]
    return _render(
        "report.html.j2",
        report,
        escape=True,
        figures={figure_title(stem): _inline(svg) for stem, svg in drawings.items()},
        beyond={table.name: table for table in report.beyond},
        flips=[(one, arm, rows) for one, arm, rows in told if rows],
    )


def _render(template: str, report: Report, *, escape: bool, **more: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Characters that steer a page, such as those that turn the direction of writing, are no text.
        finalize=lambda value: plain(value) if escape and type(value) is str else value,
    )
    page.filters |= {"md": escape_markdown, "plain": plain, "bullets": bullets, "table": to_markdown}
    page.filters |= {"title_of": title_of, "figure_title": figure_title, "bars": _bars}
    experiment = report.comparison.experiment
    tables = {"arms": arms_table(experiment), "settings": settings_table(experiment)}
    return page.get_template(template).render(report=report, experiment=experiment, **tables, **more)


def figure_title(stem: str) -> str:
    """Says what a figure shows."""
    if stem == "reliability":
        return "Share of right answers against confidence"
    return f"Score against {'training steps' if stem == 'scores' else stem.replace('_', ' ')}"


def bullets(sentences: Iterable[str]) -> str:
    """Writes sentences as a list of Markdown."""
    return "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences) + "\n"


def to_json(report: Report) -> str:
    """Writes `report.json`: everything in full precision, null where there is no number."""
    comparison, experiment = report.comparison, report.comparison.experiment

    def chosen(of: object, *names: str) -> dict[str, Any]:
        return {name: getattr(of, name) for name in names}

    about = ("name", "command", "model", "tasks", "seeds", "steps", "metrics", "settings", "reference")
    content = {
        **chosen(report, "headline", "answer", "recommended", "caveats"),
        "experiment": {**chosen(experiment, *about), "arms": experiment.changes},
        "seeds": comparison.seeds,
        # The same records as in the CSV files.
        "tables": {table.name: table.records for table in report.tables},
        "runs": [
            {
                **chosen(run, "arm", "seed", "state", "train_seconds", "error"),
                "scores": {
                    scored.selection.value: {
                        "step": scored.steps[run.arm][run.seed],
                        "values": [[*key, value] for key, value in scored.runs[run.arm][run.seed].items()],
                    }
                    for scored in comparison.scored
                    if run.seed in scored.runs[run.arm]
                },
            }
            for run in experiment.runs
        ],
    }
    return json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _inline(svg: bytes) -> Markup:
    """Makes a figure part of a page, with the page's colours for text and ground."""
    text = svg.decode()
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # On a wide screen no larger than on paper; on a narrow one it shrinks.
    text = re.sub(r' width="([\d.]+pt)" height="[\d.]+pt"', r' style="max-width: \1"', text, count=1)
    # Safe: it is matplotlib's drawing, whose texts are outlines.
    return Markup(text.replace(INK, "currentColor").replace(PAPER, "transparent"))


def _bars(records: Sequence[Mapping[str, Value]]) -> list[dict[str, float] | None]:
    """Places differences and intervals from -50 to 50, better to the right, on one scale an outcome."""
    keys = ("difference", "interval_low", "interval_high")
    known = [
        [x for key in keys if isinstance(x := record.get(key), float) and math.isfinite(x)]
        for record in records
    ]
    ends: dict[Value, float] = defaultdict(float)
    for record, figures in zip(records, known, strict=True):
        ends[record.get("outcome")] = max([ends[record.get("outcome")], *map(abs, figures)])
    bars: list[dict[str, float] | None] = []
    for record, figures in zip(records, known, strict=True):
        scale = (-50 if record.get("better") == "lower" else 50) / (ends[record.get("outcome")] or 1.0)
        placed = [scale * x for x in figures]
        bars.append({"middle": placed[0], "low": min(placed), "high": max(placed)} if placed else None)
    return bars

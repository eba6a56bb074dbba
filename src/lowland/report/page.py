"""The two files that hold a whole report: `report.md` for people and `report.json` for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from lowland.report.formats import escape_markdown, plain, to_markdown
from lowland.report.result import Report
from lowland.report.selection import Selection
from lowland.report.tables import arms_table, settings_table


def figure_title(stem: str) -> str:
    """Says what a figure shows."""
    if stem == "reliability":
        return "Share of right answers against confidence"
    return f"Score against {'training steps' if stem == 'scores' else stem.replace('_', ' ')}"


def to_page(report: Report) -> str:
    """Writes `report.md`."""
    experiment = report.comparison.experiment
    parts = [f"# {escape_markdown(experiment.name)}\n", f"**{escape_markdown(report.headline)}**\n"]
    if report.answer:
        parts.append(bullets(report.answer))
    if report.caveats:
        parts += ["## Before you quote a number\n", bullets(report.caveats)]
    parts += ["## Scores\n", *(to_markdown(table) for table in report.scores)]
    available = {scored.selection for scored in report.comparison.scored}
    if report.scores and Selection.HELD_OUT not in available:
        parts.append(
            f"Scores {Selection.HELD_OUT.label} are not available: "
            "not every run has scores of held-out training examples.\n"
        )
    if not report.scores:
        parts.append("No run has finished with a score.\n")
    for figure in report.figures:
        if figure.suffix == ".png":
            parts.append(f"![{figure_title(figure.stem)}](figures/{figure.name})\n")
    if report.beyond:
        parts += ["## Beside the score\n", *(to_markdown(table) for table in report.beyond)]
    if report.sam:
        parts += ["## SAM\n", to_markdown(report.sam)]
    parts += ["## Training time\n", to_markdown(report.cost)]
    parts += [
        *("## Arms\n", "What each changes of the settings below:\n", to_markdown(arms_table(experiment))),
        *("## Set-up\n", f"    {plain(experiment.command)}\n", to_markdown(settings_table(experiment))),
    ]
    return "\n".join(parts)


def bullets(sentences: Iterable[str]) -> str:
    """Writes sentences as a list."""
    return "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences) + "\n"


def to_json(report: Report) -> str:
    """Writes `report.json`: everything in full precision, null where there is no number."""
    comparison, experiment = report.comparison, report.comparison.experiment
    about = ("name", "command", "model", "tasks", "seeds", "steps", "metrics", "settings")
    content = {
        "headline": report.headline,
        "answer": report.answer,
        "recommended": report.recommended,
        "caveats": report.caveats,
        "experiment": {
            **{name: getattr(experiment, name) for name in about},
            "arms": experiment.changes,
            "reference": experiment.reference,
        },
        "seeds": comparison.seeds,
        # The same records as in the CSV files.
        "tables": {table.name: table.records for table in report.tables},
        "runs": [
            {
                **{name: getattr(run, name) for name in ("arm", "seed", "state", "train_seconds", "error")},
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
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Replaces nan and infinity, which JSON does not have, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value

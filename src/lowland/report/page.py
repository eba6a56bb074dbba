"""The two files that hold a whole report: `report.md` for people and `report.json` for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lowland.report.formats import Table, Value, escape_markdown, plain, to_markdown
from lowland.report.grid import flatten
from lowland.report.result import Report
from lowland.report.runs import title_of
from lowland.report.selection import Selection


def to_page(report: Report) -> str:
    """Writes `report.md`."""
    experiment = report.comparison.experiment
    parts = [f"# {escape_markdown(experiment.name)}\n", f"**{escape_markdown(report.headline)}**\n"]
    if report.answer:
        parts.append(_bullets(report.answer))
    if report.caveats:
        parts += ["## Before you quote a number\n", _bullets(report.caveats)]
    parts += ["## Scores\n", *(to_markdown(table) for table in report.scores)]
    available = {scored.selection for scored in report.comparison.scored}
    if report.scores and Selection.HELD_OUT not in available:
        parts.append(
            f"Scores {Selection.HELD_OUT.label} are not available: "
            "not every run has scores of held-out training examples.\n"
        )
    if not report.scores:
        parts.append("No run has finished with a score.\n")
    if report.figures:
        parts.append("![Score against training steps](figures/scores.png)\n")
    if report.beyond:
        parts += ["## Test examples\n", *(to_markdown(table) for table in report.beyond)]
    parts += ["## Training time\n", to_markdown(report.cost)]
    settings: dict[str, Value] = {
        "model": experiment.model,
        "tasks": ", ".join(experiment.tasks),
        "steps": experiment.steps,
        "seeds": ", ".join(map(str, experiment.seeds)),
        **flatten(experiment.settings),
    }
    rows = tuple((key, str(value)) for key, value in settings.items())
    table = Table(name="", title="", columns=("Setting", "Value"), align="ll", rows=rows, records=())
    arms = Table(
        name="",
        title="",
        columns=("Arm", "Changes"),
        align="ll",
        rows=tuple(
            (
                title_of(arm),
                ", ".join(f"{key} = {value}" for key, value in flatten(changed).items()) or "nothing",
            )
            for arm, changed in experiment.changes.items()
        ),
        records=(),
    )
    parts += ["## Arms\n", "What each changes of the settings below:\n", to_markdown(arms)]
    parts += ["## Set-up\n", f"    {plain(experiment.command)}\n", to_markdown(table)]
    return "\n".join(parts)


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences) + "\n"


def to_json(report: Report) -> str:
    """Writes `report.json`: everything in full precision, null where there is no number."""
    comparison = report.comparison
    experiment = comparison.experiment
    content = {
        "headline": report.headline,
        "answer": report.answer,
        "experiment": {
            "name": experiment.name,
            "command": experiment.command,
            "model": experiment.model,
            "tasks": experiment.tasks,
            "arms": experiment.changes,
            "reference": experiment.reference,
            "seeds": experiment.seeds,
            "steps": experiment.steps,
            "metrics": experiment.metrics,
            "settings": experiment.settings,
        },
        "seeds": comparison.seeds,
        "scores": {
            scored.selection.value: {
                "label": scored.selection.label,
                "rows": [asdict(row) for row in scored.rows],
                "runs": [
                    {
                        "arm": arm,
                        "seed": seed,
                        "step": scored.steps[arm][seed],
                        "scores": [
                            {"evaluation_set": name, "metric": metric, "value": value}
                            for (name, metric), value in scores.items()
                        ],
                    }
                    for arm, of_arm in scored.runs.items()
                    for seed, scores in of_arm.items()
                ],
            }
            for scored in comparison.scored
        },
        "test_examples": {table.name: table.records for table in report.beyond},
        "training_time": asdict(comparison.cost),
        "runs": [
            {
                "arm": run.arm,
                "seed": run.seed,
                "state": run.state,
                "train_seconds": run.train_seconds,
                "error": run.error,
            }
            for run in experiment.runs
        ],
        "caveats": report.caveats,
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

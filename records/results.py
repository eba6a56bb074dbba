"""From the runs of a plan to its record.

A record's folder stands for itself: `result.json` and its README follow from `plan.toml`, `chosen.json` and
the raw lines beside them. Tests compute all of it anew.
"""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.judge import judge
from records.page import figure, write_page
from records.plan import JUDGED_AT, judged_at, same_plan

from lowland.errors import UserError
from lowland.report.runs import Evaluation, Run, read_experiment
from lowland.report.selection import Selection, average, score_run
from lowland.report.statistics import compare_pairs
from lowland.report.tables import paired_record
from lowland.report.write import write_atomic

if TYPE_CHECKING:
    from records.replicate import Study


def write_record(
    study: Study,
    chosen: Sequence[Mapping[str, Mapping[str, Any]]],
    compared: Sequence[Mapping[str, Path]],
    to: Path,
) -> Path:
    """Writes the record of a study's finished runs; that of an equal plan is written again.

    Args:
        study: The study.
        chosen: Every cell's arms -> settings that tuning chose.
        compared: Every cell's arms -> directories of the comparison.
        to: Where records are.

    Returns:
        The record's folder.

    Raises:
        UserError: See `folder_of`.
    """
    folder = folder_of(study, to)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "plan.toml", study.plan.path.read_bytes())
    write_json(folder / "chosen.json", list(chosen))
    directories: dict[tuple[str, str, Path], list[int]] = {}
    for cell, of_cell in enumerate(compared):
        for arm, path in of_cell.items():
            directories.setdefault(("comparison", arm, path), []).append(cell)
    for path, cell in study.tuned.items():
        directories["tuning", path.name.partition("-")[0], path] = [cell]
    evaluations, runs = [], []
    for (stage, arm, path), cells in directories.items():
        experiment = read_experiment(path)
        settings = _without_places(experiment.settings)
        for run in experiment.runs:
            if run.state != "done" or (stage == "comparison" and run.seed not in study.seeds):
                continue
            whose = {"stage": stage, "cells": cells, "arm": arm, "seed": run.seed}
            runs.append({**whose, "train_seconds": run.train_seconds, "settings": settings})
            evaluations += evaluation_lines(run, whose)
    write_lines(folder / "runs.jsonl", runs)
    write_lines(folder / "evaluations.jsonl", evaluations)
    first = next(path for (stage, _, path) in directories if stage == "comparison")
    shutil.copyfile(next(first.glob("*-seed*/env.json")), folder / "env.json")
    result = compute(folder)
    write_json(folder / "result.json", result)
    for name, content in figure(result, judged_at(study.plan.claim)).items():
        write_atomic(folder / name, content)
    write_page(folder)
    return folder


def folder_of(study: Study, to: Path) -> Path:
    """Names the folder of a study's record: that of an equal plan, or a new one; a changed plan's stays.

    Raises:
        UserError: If that would replace a record of more seeds, or today's of another plan.
    """
    name = study.plan.claim["name"]
    plans = sorted(to.glob(f"20??-??-??_{name}/plan.toml"))
    known = [file for file in plans if same_plan(file, study.plan.path)]
    if not known:
        folder = to / f"{datetime.now(UTC):%Y-%m-%d}_{name}"
        if (folder / "plan.toml").exists():
            raise UserError(
                f"{folder} is a record of another plan, made today; move it, or give another --to."
            )
        return folder
    folder = known[-1].parent
    if (folder / "result.json").exists():
        seeds = json.loads((folder / "result.json").read_text(encoding="utf-8"))["outcome"]["seeds"]
        if seeds > len(study.seeds):
            raise UserError(
                f"{folder} holds {seeds} seeds, and this would replace them by {len(study.seeds)}; "
                "give another --to."
            )
    return folder


def evaluation_lines(run: Run, whose: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Gives a run's scores as raw lines, each with whose they are."""
    return [
        {**whose, "set": e.name, "split": e.split, "step": e.step, "metrics": dict(e.metrics)}
        for e in run.evaluations
    ]


def compute(folder: Path) -> dict[str, Any]:
    """Computes a record's result from its plan, the chosen settings and the raw lines."""
    plan = tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))
    chosen = json.loads((folder / "chosen.json").read_text(encoding="utf-8"))
    lines = read_lines(folder / "evaluations.jsonl")
    seconds = {
        (cell, line["arm"], line["seed"]): line["train_seconds"]
        for line in read_lines(folder / "runs.jsonl")
        if line["stage"] == "comparison"
        for cell in line["cells"]
    }
    ((setting, values),) = plan["axis"].items()
    cells, differences = [], []
    for number, value in enumerate(values):
        arms = {arm: _runs(lines, number, arm) for arm in ("standard", "sam")}
        cell: dict[str, Any] = {"cell": {setting: value}, "chosen": chosen[number]}
        for selection in JUDGED_AT:
            scores = {arm: scores_of(runs, selection) for arm, runs in arms.items()}
            seeds = sorted(scores["standard"].keys() & scores["sam"].keys())
            paired = compare_pairs(*([scores[arm][seed] for seed in seeds] for arm in ("standard", "sam")))
            cell[selection.value] = {
                "standard": vars(paired.standard),
                "sam": vars(paired.sam),
                **paired_record(paired),
                "scores": {str(s): {arm: scores[arm][s] for arm in ("standard", "sam")} for s in seeds},
            }
            if selection is judged_at(plan["claim"]):
                differences.append(scores)
        cells.append(cell)
    claim = plan["claim"]
    result = {
        "claim": claim["letter"],
        "question": claim["question"],
        "statement": claim["statement"],
        "rule": claim["rule"],
        "tuned": any(line["stage"] == "tuning" for line in lines),
        "cells": cells,
        "outcome": judge(claim, differences, seconds, plan["comparison"]["seeds"]),
    }
    plain: dict[str, Any] = json.loads(json.dumps(_finite(result)))
    return plain


def _runs(lines: Sequence[Mapping[str, Any]], cell: int, arm: str) -> list[Run]:
    """Builds an arm's runs in a cell out of the raw lines of the comparison."""
    by_seed: dict[int, list[Evaluation]] = {}
    for line in lines:
        if line["stage"] == "comparison" and line["arm"] == arm and cell in line["cells"]:
            by_seed.setdefault(line["seed"], []).append(
                Evaluation(
                    name=line["set"],
                    split=line["split"],
                    step=line["step"],
                    metrics={k: math.nan if v is None else v for k, v in line["metrics"].items()},
                )
            )
    return [
        Run(arm=arm, seed=seed, state="done", evaluations=tuple(found))  # type: ignore[arg-type]
        for seed, found in sorted(by_seed.items())
    ]


def scores_of(runs: Sequence[Run], selection: Selection) -> dict[int, float]:
    """Scores runs by the average over their evaluation sets; undefined scores are left out."""
    found = {}
    for run in runs:
        metrics = {e.name: tuple(e.metrics) for e in run.evaluations if e.split == "evaluation"}
        scored = score_run(run, metrics, selection)
        if scored is not None and not math.isnan(value := average(scored[0], metrics)):
            found[run.seed] = value
    return found


def _without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out where data and model lie: that is one machine's."""
    data = {key: value for key, value in settings["data"].items() if key not in ("data_dir", "custom")}
    return {**settings, "model": Path(settings["model"]).name, "data": data}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, what is not finite as null."""
    write_atomic(path, (json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n").encode())


def write_lines(path: Path, lines: Sequence[Any]) -> None:
    """Writes values as lines of JSON."""
    text = "".join(json.dumps(_finite(line), ensure_ascii=False) + "\n" for line in lines)
    write_atomic(path, text.encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads lines of JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

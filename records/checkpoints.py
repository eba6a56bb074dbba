"""Compares two checkpoints as starts: each task fine-tunes both alike, on the same seeds, without SAM.

    python -m records.checkpoints embedded models/smaller --data-dir ~/data

Both train on the same rows in the same order; with several learning rates in `records/checkpoints.toml`, each
takes the better one on held-out rows. The same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from records.plan import Plan
from records.replicate import RATE, Study, add_run_options, answered
from records.results import evaluation_lines, scores_of, write_json, write_lines

from lowland.cli.parser import at_least_one
from lowland.experiment.configuration import merge
from lowland.models import load_model, weights_sha256
from lowland.report.formats import Table, to_markdown
from lowland.report.runs import read_experiment
from lowland.report.selection import Selection
from lowland.report.statistics import compare_pairs
from lowland.report.tables import paired_cells
from lowland.report.words import spread
from lowland.report.write import write_atomic

PLAN = Path(__file__).with_suffix(".toml")


def studies(
    content: Mapping[str, Any], models: Sequence[str], runs: Path, data: str | None, jobs: int
) -> list[Study]:
    """Gives one study a task, whose two cells are the checkpoints."""
    found, tuning = [], content["tuning"]
    for task in content["tasks"]:
        train = {"steps": task["steps"], "evaluate_every": task["steps"]}
        settings = merge(content["settings"], {"data": {"tasks": [task["name"]]}, "train": train})
        plan = Plan(
            path=PLAN,
            claim={"name": task["name"]},
            settings=settings,
            axis={"model": models},
            tuning={**tuning, "learning_rate": task.get("learning_rate", tuning["learning_rate"])},
            comparison=content["comparison"],
            seconds=content["seconds"],
        )
        found.append(Study(plan, runs, data, jobs))
    return found


def compare(study: Study) -> dict[str, Any]:
    """Tunes and runs one task; gives its scores and raw lines."""
    candidates = [{RATE: rate} for rate in study.plan.tuning["learning_rate"]]
    chosen = [study.choose(cell, "standard", candidates) for cell in (0, 1)]
    configs = [study.config(cell, "standard", study.seeds, chosen[cell]) for cell in (0, 1)]
    study.execute("comparison", configs)
    lines, runs, scores = [], [], []
    places = [("comparison", cell, study.path("comparison", config)) for cell, config in enumerate(configs)]
    places += [("tuning", cell, path) for path, cell in study.tuned.items()]
    for stage, cell, path in places:
        experiment = read_experiment(path)
        seeds = study.seeds if stage == "comparison" else study.tuning_seeds
        done = [run for run in experiment.runs if run.state == "done" and run.seed in seeds]
        for run in done:
            whose = {"stage": stage, "task": study.plan.claim["name"], "model": cell, "seed": run.seed}
            rate = experiment.settings["train"]["learning_rate"]
            runs.append({**whose, "learning_rate": rate, "train_seconds": run.train_seconds})
            lines += evaluation_lines(run, whose)
        if stage == "comparison":
            scores.append(scores_of(done, Selection.LAST_STEP))
    seeds = sorted(scores[0].keys() & scores[1].keys())
    return {
        "task": study.plan.claim["name"],
        "steps": study.plan.settings["train"]["steps"],
        "learning_rate": [found[RATE] for found in chosen],
        "scores": [[of[seed] for seed in seeds] for of in scores],
        "runs": runs,
        "evaluations": lines,
        "env": next(places[0][2].glob("*-seed*/env.json")),
    }


def page(found: Sequence[Mapping[str, Any]], models: Sequence[str]) -> str:
    """Writes the table."""
    rows = []
    for one in found:
        paired = compare_pairs(*one["scores"])
        rates = " / ".join(f"{rate:g}" for rate in one["learning_rate"])
        arms = (spread(paired.standard), spread(paired.sam))
        rows.append((one["task"], str(one["steps"]), rates, *arms, *paired_cells(paired)))
    columns = (
        "Task",
        "Steps",
        "Learning rates",
        *models,
        "Difference (95% interval)",
        "Seeds",
        "The latter is",
    )
    table = Table(name="scores", title="", columns=columns, align="lllrrrrl", rows=tuple(rows), records=())
    return to_markdown(table)


def write(found: Sequence[Mapping[str, Any]], models: Sequence[str], to: Path) -> Path:
    """Writes the raw lines and the table; the record's own words are written around it by hand."""
    folder = to / f"{datetime.now(UTC):%Y-%m-%d}_checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PLAN, folder / "plan.toml")
    shutil.copyfile(found[0]["env"], folder / "env.json")
    write_lines(folder / "runs.jsonl", [line for one in found for line in one["runs"]])
    write_lines(folder / "evaluations.jsonl", [line for one in found for line in one["evaluations"]])
    kept = ("task", "steps", "learning_rate", "scores")
    scores = [{key: one[key] for key in kept} for one in found]
    write_json(folder / "scores.json", {"models": list(models), "tasks": scores})
    write_atomic(folder / "table.md", page(found, models).encode())
    return folder


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs=2, metavar="MODEL", help="the reference, and the other one")
    parser.add_argument("--tasks", type=at_least_one, metavar="N", help="only the first N of the plan")
    add_run_options(parser, Path("runs/checkpoints"))
    arguments = parser.parse_args(words)

    def work() -> None:
        content = tomllib.loads(PLAN.read_text(encoding="utf-8"))
        # A name may come to hold other weights; finished runs of the old ones are not those of the new.
        hashes = [weights_sha256(load_model(model, dropout=None).model)[:8] for model in arguments.models]
        runs = arguments.runs / "-".join(hashes)
        asked = studies(content, arguments.models, runs, arguments.data_dir, arguments.jobs)
        folder = write([compare(study) for study in asked[: arguments.tasks]], arguments.models, arguments.to)
        print((folder / "table.md").read_text(encoding="utf-8"))

    return answered("records.checkpoints", work)


if __name__ == "__main__":
    sys.exit(main())

"""What every method and rival gains over the baseline, on several models and tasks, in one table.

    make bench-methods DATA=~/data MODELS=~/models [OUT=runs/methods] [ROWS=~/rows]

The protocol is bench_methods.toml. A run is never repeated: after an interruption the same command goes on.
The table is written again after each task.

A cell is a mean over tasks of paired differences. Each task weighs the same; its difference has the variance
of its seeds, and the interval is Student's with the degrees of freedom of Welch and Satterthwaite. So it
speaks of these tasks, not of others.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, variance
from typing import Any

from scipy.stats import t as student

import lowland
from lowland.errors import UserError
from lowland.report.runs import read_experiment

HERE = Path(__file__).resolve().parent
HIGHER = {"score": True, "loss of an answer": False, "Brier score": False, "calibration error": False}
"""Outcome -> whether more of it is better."""


@dataclass(frozen=True)
class Mean:
    """A mean over tasks of paired differences, arm minus baseline."""

    difference: float
    half: float
    tasks: int
    pairs: int
    better: int
    worse: int

    def __str__(self) -> str:
        if not math.isfinite(self.half):
            return f"{self.difference:+.2f} (n = {self.pairs})"
        low, high = self.difference - self.half, self.difference + self.half
        return f"{self.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def mean_over_tasks(differences: Sequence[Sequence[float]], higher: bool) -> Mean:
    """Averages paired differences, one list a task, so that each task weighs the same."""
    told = [task for task in differences if task]
    number = len(told)
    pairs = [one if higher else -one for task in told for one in task]
    # Variance of each task's mean, over the square of the number of tasks.
    parts = [variance(task) / len(task) / number**2 if len(task) > 1 else math.nan for task in told]
    total = sum(parts)
    half = math.nan
    if math.isfinite(total) and total > 0:
        freedom = total**2 / sum(
            part**2 / (len(task) - 1) for part, task in zip(parts, told, strict=True) if part
        )
        half = float(student.ppf(0.975, freedom)) * math.sqrt(total)
    return Mean(
        difference=fmean(fmean(task) for task in told),
        half=half,
        tasks=number,
        pairs=len(pairs),
        better=sum(one > 0 for one in pairs),
        worse=sum(one < 0 for one in pairs),
    )


def run_task(
    protocol: Mapping[str, Any], where: argparse.Namespace, model: str, task: str, seeds: int
) -> Path:
    """Runs what is left of a model on a task; returns the experiment's directory."""
    said = protocol["tasks"][task]
    settings = {**protocol["settings"], **protocol.get("settings_of", {}).get(model, {})}
    path = protocol["models"][model]
    directory = where.out / f"{model}-{task}"
    data: dict[str, Any] = {}
    names: list[str] = []
    if "rows" in said:
        files = {kind: where.rows / f"{said['rows']}-{kind}.csv" for kind in ("train", "test")}
        data = {**files, "input": "{a} [SEP] {b}", "target": "{label}", "name": task}
    else:
        names, settings["data.data_dir"] = [said["task"]], str(where.data / said["folder"])
    lowland.compare(
        *names,
        **data,
        model=path if path == "embedded" else str(where.models / path),
        arms=protocol["arms"],
        seeds=seeds,
        settings=settings,
        directory=directory,
        runs=where.out / "runs",
        quiet=True,
    )
    return directory


def outcomes_of(directory: Path) -> dict[str, dict[str, dict[int, float]]]:
    """Reads an experiment: outcome -> arm -> seed -> value at the last step; and `seconds`."""
    experiment = read_experiment(directory)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for run in experiment.runs:
        last = [one for one in run.evaluations if one.split == "evaluation" and one.step == experiment.steps]
        if run.state != "done" or not last:
            continue
        values = {"score": fmean(fmean(one.metrics.values()) for one in last)}
        if run.train_seconds is not None:
            values["seconds"] = run.train_seconds
        file = directory / f"{run.arm}-seed{run.seed}" / "outcomes" / f"step-{experiment.steps}.json"
        if file.exists():
            sets = json.loads(file.read_text(encoding="utf-8"))["sets"].values()
            values |= {name: float(value) for of in sets for name, value in of["outcomes"].items()}
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, {}).setdefault(run.arm, {})[run.seed] = value
    return found


def table(directories: Sequence[Path], arms: Sequence[str]) -> str:
    """Writes the table of experiments, in Markdown."""
    read = [outcomes_of(directory) for directory in directories]
    reference, *others = arms
    lines = [f"Tasks: {', '.join(directory.name for directory in directories)}.", ""]
    head = ["arm", *HIGHER, "won, lost", "pairs", "time"]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for arm in others:
        cells, first = [], None
        for name, higher in HIGHER.items():
            differences = []
            for task in read:
                own, base = (task.get(name, {}).get(one, {}) for one in (arm, reference))
                differences.append([own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())])
            if not any(differences):
                cells.append("")
                continue
            mean = mean_over_tasks(differences, higher)
            first = first or mean
            cells.append(str(mean))
        if first is None:
            continue
        ratios = [
            task["seconds"][arm][seed] / task["seconds"][reference][seed]
            for task in read
            for seed in task.get("seconds", {}).get(arm, {}).keys()
            & task.get("seconds", {}).get(reference, {}).keys()
        ]
        time = f"{median(ratios):.2f}" if ratios else ""
        cells += [f"{first.better}, {first.worse}", str(first.pairs), time]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Runs the protocol, or as much of it as is asked for, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", type=Path, default=HERE / "bench_methods.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder for each task")
    parser.add_argument("--models", type=Path, required=True, help="folder with the models' directories")
    parser.add_argument("--rows", type=Path, default=Path(), help="folder that records.rows wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--only", nargs="*", default=[], metavar="MODEL-TASK")
    parser.add_argument("--arms", type=lambda text: text.split(","), help="these arms only, baseline first")
    parser.add_argument("--table", action="store_true", help="run nothing, and write the table")
    where = parser.parse_args(words)
    protocol = tomllib.loads(where.protocol.read_text(encoding="utf-8"))
    if where.arms:
        protocol["arms"] = where.arms
    pairs = [(model, task) for task in protocol["tasks"] for model in protocol["models"]]
    pairs = [pair for pair in pairs if not where.only or "-".join(pair) in where.only]
    for seeds in protocol["seeds"]:
        for model, task in pairs:
            directory = where.out / f"{model}-{task}"
            if not where.table:
                try:
                    run_task(protocol, where, model, task, seeds)
                except UserError as error:
                    print(f"{directory.name}: {error}", file=sys.stderr)
                    continue
            done = [where.out / "-".join(pair) for pair in pairs]
            done = [one for one in done if (one / "experiment.json").exists()]
            if done:
                (where.out / "table.md").write_text(table(done, protocol["arms"]), encoding="utf-8")
    if (where.out / "table.md").exists():
        print((where.out / "table.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

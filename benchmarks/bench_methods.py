"""What every method and rival gains over the baseline, on several models and tasks, in one table.

    make bench-methods DATA=~/data MODELS=~/models [OUT=runs/methods] [ROWS=~/rows]

The protocol is bench_methods.toml, in two parts: all arms by a few seeds, which select the best arms of each
outcome, and these by seeds of their own, which alone are what is claimed. A run is never repeated: after an
interruption the same command goes on. Runs in pieces: --only a task, --parts one of the two.

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
from statistics import fmean, variance
from typing import Any, TypeAlias

from scipy.stats import t as student

import lowland
from lowland.errors import UserError
from lowland.report.runs import read_experiment
from lowland.runs.directory import read_json

HERE = Path(__file__).resolve().parent
HIGHER = {"score": True, "loss of an answer": False, "Brier score": False, "calibration error": False}
"""Outcome -> whether more of it is better."""

Outcomes: TypeAlias = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Outcome -> arm -> seed -> value at the last step."""


@dataclass(frozen=True)
class Mean:
    """A mean over tasks of paired differences, arm minus baseline."""

    difference: float
    half: float
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
        pairs=len(pairs),
        better=sum(one > 0 for one in pairs),
        worse=sum(one < 0 for one in pairs),
    )


def run_task(
    protocol: Mapping[str, Any],
    where: argparse.Namespace,
    model: str,
    task: str,
    arms: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    directory: Path,
) -> None:
    """Runs what is left of a model on a task."""
    said = protocol["tasks"][task]
    settings = {**protocol["settings"], "train.input_length": said["length"]}
    path = protocol["models"][model]
    data: dict[str, Any] = {}
    names: list[str] = []
    if "rows" in said:
        files = {kind: where.rows / f"{said['rows']}-{kind}.csv" for kind in ("train", "test")}
        data = {**files, "input": said["input"], "target": "{label}", "name": task}
    else:
        names, settings["data.data_dir"] = [said["task"]], str(where.data / said["folder"])
    lowland.compare(
        *names,
        **data,
        model=path if path == "embedded" else str(where.models / path),
        arms=arms,
        seeds=seeds,
        settings=settings,
        out=directory,
        runs=where.out / "runs",
        quiet=True,
    )


def outcomes_of(directory: Path) -> Outcomes:
    """Reads an experiment: outcome -> arm -> seed -> value at the last step."""
    experiment = read_experiment(directory)
    alike = read_json(directory / "outcomes.json").get("folder", "")
    found: dict[str, dict[str, dict[int, float]]] = {}
    for run in experiment.runs:
        last = run.evaluated("evaluation").get(experiment.steps)
        if run.state != "done" or not last:
            continue
        values = {"score": fmean(fmean(metrics.values()) for metrics in last.values())}
        file = experiment.folder(run.arm, run.seed) / "outcomes" / alike / f"step-{experiment.steps}.json"
        if file.exists():
            sets = json.loads(file.read_text(encoding="utf-8"))["sets"].values()
            values |= {name: float(value) for of in sets for name, value in of["outcomes"].items()}
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, {}).setdefault(run.arm, {})[run.seed] = value
    return found


def means(read: Sequence[Outcomes], reference: str, arm: str) -> dict[str, Mean]:
    """Gives an arm's mean over tasks of each outcome's paired differences to the reference."""
    found = {}
    for name, higher in HIGHER.items():
        differences = []
        for task in read:
            own, base = (task.get(name, {}).get(one, {}) for one in (arm, reference))
            differences.append([own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())])
        if any(differences):
            found[name] = mean_over_tasks(differences, higher)
    return found


def best_arms(read: Sequence[Outcomes], arms: Sequence[str], number: int) -> list[str]:
    """Selects the reference and, for each outcome, the arms with the best means."""
    reference, *others = arms
    of = {arm: means(read, reference, arm) for arm in others}
    chosen: set[str] = set()
    for name, higher in HIGHER.items():
        gains = {arm: of[arm][name].difference for arm in others if name in of[arm]}
        chosen |= set(sorted(gains, key=gains.__getitem__, reverse=higher)[:number])
    return [reference, *(arm for arm in others if arm in chosen)]


def table(directories: Sequence[Path], arms: Sequence[str], costs: Mapping[str, Sequence[float]]) -> str:
    """Writes the table of experiments, in Markdown."""
    read = [outcomes_of(directory) for directory in directories]
    reference, *others = arms
    lines = [f"Tasks: {', '.join(directory.name for directory in directories)}.", ""]
    head = ["arm", *HIGHER, "won, lost", "pairs", "CPU time", "memory"]
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for arm in others:
        found = means(read, reference, arm)
        if not found:
            continue
        first = next(iter(found.values()))
        cells = [str(found[name]) if name in found else "" for name in HIGHER]
        cells += [f"{first.better}, {first.worse}", str(first.pairs)]
        cells += [f"{costs[arm][0]:.2f}", f"{costs[arm][1]:+.2f}"]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def costs_of(protocol: Mapping[str, Any], where: argparse.Namespace) -> dict[str, Sequence[float]]:
    """Measures what a step of each arm costs, once."""
    file = where.out / "costs.json"
    if not file.exists():
        from methods_cost import costs  # a table of finished runs is written without torch

        where.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(costs(protocol, where.models / next(iter(protocol["models"].values())))))
    found: dict[str, Sequence[float]] = json.loads(file.read_text())
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Runs the protocol, or as much of it as is asked for, and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", type=Path, default=HERE / "bench_methods.toml")
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder for each task")
    parser.add_argument("--models", type=Path, required=True, help="folder with the models' directories")
    parser.add_argument("--rows", type=Path, default=Path(), help="folder that rows.py wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--only", nargs="*", default=[], metavar="MODEL-TASK")
    parser.add_argument("--parts", nargs="*", default=["first", "best"], choices=["first", "best"])
    parser.add_argument("--table", action="store_true", help="run nothing, and write the tables")
    where = parser.parse_args(words)
    protocol = tomllib.loads(where.protocol.read_text(encoding="utf-8"))
    pairs = [(model, task) for task in protocol["tasks"] for model in protocol["models"]]
    arms, seeds = protocol["arms"], protocol["first"]
    costs = costs_of(protocol, where)
    for part in where.parts:
        places = {pair: where.out / part / "-".join(pair) for pair in pairs}
        if part == "best":  # by all tasks of the first part
            firsts = [where.out / "first" / "-".join(pair) for pair in pairs]
            read = [outcomes_of(place) for place in firsts if (place / "experiment.json").exists()]
            arms = {arm: arms[arm] for arm in best_arms(read, list(arms), protocol["best"])}
            seeds = protocol["seeds"]
        for (model, task), place in places.items():
            if not where.table and (not where.only or place.name in where.only):
                try:
                    run_task(protocol, where, model, task, arms, seeds, place)
                except UserError as error:
                    print(f"{place.name}: {error}", file=sys.stderr)
        done = [place for place in places.values() if (place / "experiment.json").exists()]
        if done:
            text = table(done, list(arms), costs)
            (where.out / f"{part}.md").write_text(text, encoding="utf-8")
            print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

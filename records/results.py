"""From the runs of a plan to its record, and from all records to the table of claims.

A record's folder stands for itself: `result.json` and its README follow from `plan.toml`, `chosen.json` and
the raw lines beside them, and the table of claims follows from the records. Tests compute all of it anew.

    python -m records.results    # write the records' pages and the table of claims in records/README.md again
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from records.judge import judge

from lowland.report.drawing import STYLES, draw
from lowland.report.formats import Table, escape_markdown, to_markdown
from lowland.report.runs import Evaluation, Run, read_experiment
from lowland.report.selection import Selection, average, score_run
from lowland.report.statistics import PairedComparison, compare_pairs
from lowland.report.tables import paired_cells, paired_record
from lowland.report.words import signed, spread
from lowland.report.write import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from records.replicate import Study

HERE = Path(__file__).parent
BEGIN, END = "<!-- claims: written by python -m records.results -->", "<!-- end of claims -->"


def write_record(
    study: Study,
    chosen: Sequence[Mapping[str, Mapping[str, Any]]],
    compared: Sequence[Mapping[str, Path]],
    to: Path,
) -> Path:
    """Writes the record of a study's finished runs; that of an equal plan, or of today, is written again.

    So a plan that was changed makes a record of its own, and the one before it stays.

    Args:
        study: The study.
        chosen: Every cell's arms -> settings that tuning chose.
        compared: Every cell's arms -> directories of the comparison.
        to: Where records are.

    Returns:
        The record's folder.
    """
    claim = study.plan.claim
    plan = study.plan.path.read_bytes()
    known = sorted(
        file for file in to.glob(f"20??-??-??_{claim['name']}/plan.toml") if file.read_bytes() == plan
    )
    folder = known[-1].parent if known else to / f"{datetime.now(UTC):%Y-%m-%d}_{claim['name']}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "plan.toml", plan)
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
    for name, content in figure(result).items():
        write_atomic(folder / name, content)
    write_page(folder)
    return folder


def write_page(folder: Path) -> None:
    """Writes a record's README from its result."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    write_atomic(folder / "README.md", page(result, again(folder)).encode())


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
    lines = _read_lines(folder / "evaluations.jsonl")
    seconds = {
        (cell, line["arm"], line["seed"]): line["train_seconds"]
        for line in _read_lines(folder / "runs.jsonl")
        if line["stage"] == "comparison"
        for cell in line["cells"]
    }
    ((setting, values),) = plan["axis"].items()
    cells, differences = [], []
    for number, value in enumerate(values):
        arms = {arm: _runs(lines, number, arm) for arm in ("standard", "sam")}
        cell: dict[str, Any] = {"cell": {setting: value}, "chosen": chosen[number]}
        for selection in (Selection.HELD_OUT, Selection.LAST_STEP):
            scores = {arm: scores_of(runs, selection) for arm, runs in arms.items()}
            seeds = sorted(scores["standard"].keys() & scores["sam"].keys())
            paired = compare_pairs(*([scores[arm][seed] for seed in seeds] for arm in ("standard", "sam")))
            cell[selection.value] = {
                "standard": vars(paired.standard),
                "sam": vars(paired.sam),
                **paired_record(paired),
                "scores": {str(s): {arm: scores[arm][s] for arm in ("standard", "sam")} for s in seeds},
            }
            if selection is Selection.HELD_OUT:
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
        "outcome": judge(claim, differences, seconds),
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


def page(result: Mapping[str, Any], plan: Path) -> str:
    """Makes a record's README; `plan` is the one to redo it by."""
    outcome = result["outcome"]
    rows, records = [], []
    for cell in result["cells"]:
        for selection in (Selection.HELD_OUT, Selection.LAST_STEP):
            paired = paired_of(cell[selection.value])
            arms = (spread(paired.standard), spread(paired.sam))
            rows.append((_words(cell["cell"]), selection.value, *arms, *paired_cells(paired)))
            records.append(paired_record(paired))
    table = Table(
        name="result",
        title="",
        columns=("Cell", "Step", "Standard", "SAM", "SAM - standard (95% interval)", "Seeds", "SAM is"),
        align="llrrrrl",
        rows=tuple(rows),
        records=tuple(records),
    )
    chosen = Table(
        name="chosen",
        title="",
        columns=("Cell", "Standard", "SAM"),
        align="lll",
        rows=tuple(
            (_words(c["cell"]), _words(c["chosen"]["standard"]), _words(c["chosen"]["sam"]))
            for c in result["cells"]
        ),
        records=(),
    )
    return "\n".join(
        [
            f"# Claim {result['claim']}: {escape_markdown(result['question'])}",
            "",
            f"    {command(plan)}",
            "",
            f"**{escape_markdown(result['statement'])}: {outcome['word']}.** {sentence(outcome)}",
            "",
            "Mean ± standard deviation over the seeds; difference paired by seed, with Student's t. Step: "
            "the one chosen by each run's held-out training examples (the result), or the last.",
            "",
            to_markdown(table),
            "Chosen on held-out training examples, by seeds that are not among these, from the same learning "
            "rates for both arms:"
            if result["tuned"]
            else "Not tuned; the plan gives both arms the same:",
            "",
            to_markdown(chosen),
            "![Scores of both arms](scores.png)",
            "",
            "`plan.toml`: all settings, and how the claim is judged. `evaluations.jsonl`, `runs.jsonl`: "
            "every score of every run, those of tuning among them, and times. `env.json`: machine and "
            "versions. `result.json` follows from these.",
            "",
        ]
    )


def paired_of(scored: Mapping[str, Any]) -> PairedComparison:
    """Compares the pairs of a cell as `result.json` holds them."""
    pairs = scored["scores"].values()
    return compare_pairs([pair["standard"] for pair in pairs], [pair["sam"] for pair in pairs])


def sentence(outcome: Mapping[str, Any]) -> str:
    """Says the figure that decided."""
    if outcome["value"] is None:
        return "Nothing is measured."
    form: Callable[[float], str] = signed if outcome["what"].partition(" ")[0] != "time" else "{:.2f}".format
    if outcome["low"] is None:
        return f"{outcome['what'].capitalize()}: {form(outcome['value'])} (one seed)."
    return (
        f"{outcome['what'][0].upper()}{outcome['what'][1:]}: {form(outcome['value'])} "
        f"({form(outcome['low'])} to {form(outcome['high'])}, {outcome['seeds']} seeds)."
    )


def again(folder: Path) -> Path:
    """Finds the plan to redo a record by: the one in `plans`, or the record's own where that has changed."""
    own = folder / "plan.toml"
    content = own.read_bytes()
    return next((plan for plan in (HERE / "plans").glob("*.toml") if plan.read_bytes() == content), own)


def command(plan: Path) -> str:
    """Gives the command that redoes a record; only the package's own tasks need no folder with files."""
    content = tomllib.loads(plan.read_text(encoding="utf-8"))
    tasks = [*content["settings"].get("data", {}).get("tasks", ())]
    tasks += [name for names in content["axis"].get("data.tasks", ()) for name in names]
    own = all(name.partition("/")[0] == "facts" for name in tasks)
    plan = plan.resolve()
    shown = plan.relative_to(HERE.parent).as_posix() if plan.is_relative_to(HERE) else plan
    return f"python -m records.replicate {shown}" + ("" if own else " --data-dir DIR")


def figure(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Draws the scores of both arms in every cell, with their standard errors."""
    return draw("scores", lambda drawn: _draw(drawn, result))


def _draw(figure: Figure, result: Mapping[str, Any]) -> None:
    cells = result["cells"]
    figure.set_size_inches(3.4, 2.6)
    axes = figure.subplots()
    for arm, name in (("standard", "standard"), ("sam", "SAM")):
        colour, marker, dashes = STYLES[arm]  # type: ignore[index]
        found = [cell[Selection.HELD_OUT.value][arm] for cell in cells]
        means = np.array([np.nan if one["mean"] is None else one["mean"] for one in found])
        errors = np.array([(one["sd"] or 0.0) / math.sqrt(max(1, one["n"])) for one in found])
        shift = -0.06 if arm == "standard" else 0.06
        axes.errorbar(
            np.arange(len(cells)) + shift, means, errors,
            color=colour, marker=marker, linestyle=dashes, label=name, capsize=2,
        )  # fmt: skip
    axes.set_xticks(range(len(cells)), [_words(cell["cell"]).partition(" ")[2] for cell in cells])
    if len(cells) > 5 or any(len(_words(cell["cell"])) > 24 for cell in cells):
        axes.tick_params(axis="x", labelrotation=40)
    axes.set_xlabel(next(iter(cells[0]["cell"])))
    axes.set_ylabel("score (%), ± 1 standard error")
    axes.legend(frameon=False)


def write_readme(to: Path) -> None:
    """Writes the table of claims in the README beside the records."""
    file = to / "README.md"
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(file, f"{before}{claims(to)}{after}".encode())


def claims(to: Path) -> str:
    """Makes the table of claims from the plans and the records."""
    rows = []
    for path in sorted((HERE / "plans").glob("*.toml")):
        claim = tomllib.loads(path.read_text(encoding="utf-8"))["claim"]
        found = sorted(to.glob(f"20??-??-??_{claim['name']}/result.json"))
        outcome, figure, link = "not yet measured", "", ""
        if found:
            result = json.loads(found[-1].read_text(encoding="utf-8"))
            outcome, figure = result["outcome"]["word"], sentence(result["outcome"])
            link = f"[record]({found[-1].parent.name}/README.md)"
        rows.append(
            f"| {claim['letter']} | {escape_markdown(claim['statement'])} | **{outcome}** | {figure} "
            f"| {link} | `{command(path)}` |"
        )
    head = ["| | claim | outcome | figure (95% interval) | record | again by |", "|---|---|---|---|---|---|"]
    return "\n".join([BEGIN, "", *head, *rows, "", END])


def _words(settings: Mapping[str, Any]) -> str:
    def word(value: Any) -> str:
        if isinstance(value, list):
            return " + ".join(map(str, value)) if len(value) < 4 else f"{len(value)} tasks"
        return f"{value:g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key.rpartition('.')[2]} {word(value)}" for key, value in settings.items())


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


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    for result_file in HERE.glob("*/result.json"):
        write_page(result_file.parent)
    write_readme(HERE)
    sys.exit()

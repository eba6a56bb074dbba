"""A record's page: its table, its figure, and the command that redoes it."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from records.plan import JUDGED_AT, claim_of, judged_at, same_plan

from lowland.report.drawing import STYLES, draw
from lowland.report.formats import Table, escape_markdown, to_markdown
from lowland.report.selection import Selection
from lowland.report.statistics import PairedComparison, compare_pairs
from lowland.report.tables import paired_cells, paired_record
from lowland.report.words import signed, spread
from lowland.report.write import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent


def write_page(folder: Path) -> None:
    """Writes a record's README from its result."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    write_atomic(folder / "README.md", page(result, again(folder)).encode())


def page(result: Mapping[str, Any], plan: Path) -> str:
    """Makes a record's README; `plan` is the one to redo it by."""
    outcome = result["outcome"]
    held_out = judged_at(claim_of(plan)) is Selection.HELD_OUT
    rows, records = [], []
    for cell in result["cells"]:
        for selection in JUDGED_AT:
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
            "the one chosen by each run's held-out training examples"
            + (" (the result), or the last." if held_out else ", or the last (the result)."),
            "",
            to_markdown(table),
            "Chosen on held-out training examples, by seeds that are not among these, from the same learning "
            "rates for both arms:"
            if result["tuned"]
            else "Not tuned here; the plan gives:",
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
    seeds, planned = outcome["seeds"], outcome["planned"]
    if seeds < planned:
        seeds = f"{seeds} of {planned} planned"
    if outcome["low"] is None:
        return f"{outcome['what'].capitalize()}: {form(outcome['value'])} (one seed)."
    return (
        f"{outcome['what'][0].upper()}{outcome['what'][1:]}: {form(outcome['value'])} "
        f"({form(outcome['low'])} to {form(outcome['high'])}, {seeds} seeds)."
    )


def again(folder: Path) -> Path:
    """Finds the plan to redo a record by: the one in `plans`, or the record's own where that has changed."""
    own = folder / "plan.toml"
    return next((plan for plan in (HERE / "plans").glob("*.toml") if same_plan(plan, own)), own)


def command(plan: Path) -> str:
    """Gives the command that redoes a record; only the package's own tasks need no folder with files."""
    content = tomllib.loads(plan.read_text(encoding="utf-8"))
    tasks = [*content["settings"].get("data", {}).get("tasks", ())]
    tasks += [name for names in content["axis"].get("data.tasks", ()) for name in names]
    own = all(name.partition("/")[0] == "facts" for name in tasks)
    plan = plan.resolve()
    shown = plan.relative_to(HERE.parent).as_posix() if plan.is_relative_to(HERE) else plan
    return f"python -m records.replicate {shown}" + ("" if own else " --data-dir DIR")


def figure(result: Mapping[str, Any], selection: Selection) -> dict[str, bytes]:
    """Draws the scores of both arms in every cell at the step that is judged, with their standard errors."""
    return draw("scores", lambda drawn: _draw(drawn, result, selection))


def _draw(figure: Figure, result: Mapping[str, Any], selection: Selection) -> None:
    cells = result["cells"]
    figure.set_size_inches(3.4, 2.6)
    axes = figure.subplots()
    for arm, name in (("standard", "standard"), ("sam", "SAM")):
        colour, marker, dashes = STYLES[arm]  # type: ignore[index]
        found = [cell[selection.value][arm] for cell in cells]
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
    axes.set_xlim(-0.5, len(cells) - 0.5)
    axes.set_xlabel(next(iter(cells[0]["cell"])))
    axes.set_ylabel("score (%), ± 1 standard error")
    axes.legend(frameon=False)


def _words(settings: Mapping[str, Any]) -> str:
    def word(value: Any) -> str:
        if isinstance(value, list):
            return " + ".join(map(str, value)) if len(value) < 4 else f"{len(value)} tasks"
        return f"{value:g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key.rpartition('.')[2]} {word(value)}" for key, value in settings.items())

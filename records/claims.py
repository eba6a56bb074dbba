"""The table of claims in records/README.md, which follows from the plans and the records.

    python -m records.claims

writes the table and the records' pages again, after a change of the plans.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

from records.page import HERE, command, sentence, write_page
from records.plan import claim_of, same_plan

from lowland.report.formats import escape_markdown
from lowland.report.write import write_atomic

BEGIN, END = "<!-- claims: written by python -m records.claims -->", "<!-- end of claims -->"


def write_readme(to: Path) -> None:
    """Writes the table of claims in the README beside the records."""
    file = to / "README.md"
    text = file.read_text(encoding="utf-8") if file.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(file, f"{before}{claims(to)}{after}".encode())


def claims(to: Path) -> str:
    """Makes the table of claims from the plans and the records, those of earlier plans among them."""
    plans: dict[str, list[Path]] = {}
    for plan in sorted((HERE / "plans").glob("*.toml")):
        plans[claim_of(plan)["name"]] = [plan]
    for own in sorted(file.with_name("plan.toml") for file in to.glob("20??-??-??_*/result.json")):
        same = plans.setdefault(claim_of(own)["name"], [])
        if not any(same_plan(own, plan) for plan in same):
            same.append(own)
    rows = []
    for plan in (plan for same in plans.values() for plan in same):
        claim = claim_of(plan)
        outcome, figure, link = "not yet measured", "", ""
        for file in to.glob(f"20??-??-??_{claim['name']}/result.json"):
            if same_plan(file.parent / "plan.toml", plan):
                result = json.loads(file.read_text(encoding="utf-8"))
                outcome, figure = result["outcome"]["word"], sentence(result["outcome"])
                link = f"[record]({file.parent.name}/README.md)"
        rows.append(
            f"| {claim['letter']} | {escape_markdown(claim['statement'])} | {_setting(plan)} | **{outcome}** "
            f"| {figure} | {link} | `{command(plan)}` |"
        )
    head = ["| | claim | on | outcome | figure (95% interval) | record | again by |", "|" + "---|" * 7]
    return "\n".join([BEGIN, "", *head, *rows, "", END])


def _setting(plan: Path) -> str:
    """Says on what data, and for how long, a plan's runs train."""
    content = tomllib.loads(plan.read_text(encoding="utf-8"))
    data, train = content["settings"]["data"], content["settings"]["train"]
    tasks = data.get("tasks", ())
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in tasks))
    what = (
        tasks[0] if len(tasks) == 1 else f"{len(tasks)} of {kinds[0]}" if len(kinds) == 1 else "several tasks"
    )
    share = f", {100 * data['fraction']:g}% of it" if "fraction" in data else ""
    return f"{what}{share}, {train['steps']} steps"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()  # --help writes nothing
    for result_file in HERE.glob("*/result.json"):
        write_page(result_file.parent)
    write_readme(HERE)
    sys.exit()

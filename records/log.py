"""Writes the tables of LOG.md and docs/results.md, as they follow from the records: python -m records.log."""

from __future__ import annotations

import argparse
import re

from records import verdicts
from records.judge import HERE, LAST, VALIDATION, Record, by_seed, interval, outcome, pair, paired, records
from records.verdicts import Row, markdown

from lowland.report import words
from lowland.report.tables import difference_cell
from lowland.statistics import compare_pairs, summarize

RESULTS = HERE.parent / "docs" / "results.md"
BLOCK = re.compile(r"(<!-- figures of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def comparisons_table(record: Record) -> str:
    """Makes the table of a record's comparisons."""
    rows = []
    for comparison in [*record["comparisons"], *record.get("afterwards", ())]:
        found: dict[tuple[str, ...], list[str]] = {}  # what a row says -> at which steps
        fair = (VALIDATION, LAST) if VALIDATION in record["runs"][0] else (LAST,)
        for at in (comparison["at"],) if "at" in comparison else fair:
            arms = pair(record, comparison, at)
            gains = paired(*arms)
            gained = interval(gains.values())
            means = [words.spread(summarize([of[seed] for seed in gains])) for of in arms]
            verdict = {1: "better", 0: "no difference detected", -1: "worse"}[gained.sign]
            row = (*means, difference_cell(gained), str(gained.n), verdict)
            found.setdefault(row, []).append(f"step {at}" if isinstance(at, int) else at)
        place = [comparison["cell"], *(_chosen(record, comparison, key) for key in ("learning_rate", "rho"))]
        rows += [[*place, ", ".join(at), *row] for row, at in found.items()]
    head = "| | learning rate | rho | at | reference | arm | difference (95% interval) | seeds | the arm is |"
    return markdown(head, "|---|---|---|---|---:|---:|---:|---:|---|", rows)


def _chosen(record: Record, comparison: Record, key: str) -> str:
    """Writes a setting of both arms, once where it is the same."""
    own = [record["settings"] | record["arms"][comparison[name]] for name in ("reference", "arm")]
    settings = [{name.rpartition(".")[2]: value for name, value in of.items()} for of in own]
    return " / ".join(dict.fromkeys(f"{of[key]:g}" for of in settings if key in of))


def measures_table(record: Record) -> str:
    """Makes the table of measures of sharpness, to three digits."""
    rows = []
    for measure in record["runs"][0]["values"]:
        own = [by_seed(record, arm, lambda run, of=measure: run["values"][of]) for arm in ("baseline", "sam")]
        arms = [[of[seed] for seed in paired(*own)] for of in own]
        means = [f"{of.mean:.3g} ± {of.sd:.2g}" for of in map(summarize, arms)]
        rows.append([measure, *means, difference_cell(compare_pairs(*arms), ".3g")])
    head = f"| measure, {len(arms[0])} seeds | baseline | SAM | difference (95% interval) |"
    return markdown(head, "|---|---:|---:|---:|", rows)


def claims() -> str:
    """Makes the table of all claims."""
    rows = []
    for name, record in records().items():
        if "claim" in record:
            claim, found = record["claim"], "; ".join(outcome(record))
            rows.append([claim["letter"], claim["statement"], found, f"[{name}](#{name})"])
    return markdown("| | claim | outcome; figure (95% interval) | entry |", "|---|---|---|---|", sorted(rows))


def figures(name: str, judged: list[Row]) -> str:
    """Makes what LOG.md says of a record in figures: the outcome of its claim, and its table."""
    if name == "claims":
        return claims()
    if name == "results":
        told = [of for of in judged if "claim" in of.asked or of.asked.get("page")]
        return verdicts.table(sorted(told, key=lambda of: of.asked.get("claim", "~")), whole=True)
    if name == "times":
        return verdicts.times_table(records())
    record = records()[name]
    if "judged" in record:
        table = verdicts.table([of for of in judged if of.records[0] is record])
        return f"{verdicts.tuning_table(record)}\n\n{table}" if record["tuning"] else table
    table = measures_table(record) if "values" in record["runs"][0] else comparisons_table(record)
    if "claim" not in record:
        return table
    (word, figure), claim = outcome(record), record["claim"]
    return f"Claim {claim['letter']}, {claim['statement']}: **{word}**; {figure}.\n\n{table}"


def with_figures(text: str) -> str:
    """Writes the figures of a log again, between their marks."""
    judged = verdicts.judged(records())
    return BLOCK.sub(lambda block: f"{block[1]}\n{figures(block[2], judged)}\n\n{block[3]}", text)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()  # --help writes nothing
    for page in (HERE / "LOG.md", RESULTS):
        page.write_text(with_figures(page.read_text(encoding="utf-8")), encoding="utf-8")

"""The tables of LOG.md, which follow from the result.json of each record.

python -m records.log writes them in LOG.md and docs/results.md again.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from records import verdicts
from records.judge import EQUAL, Interval, Scores, differences, interval, judge
from records.runs import HERE, LAST, VALIDATION, Record, by_seed, records, score

from lowland.report import words

RESULTS = HERE.parent / "docs" / "results.md"
_QUARTERS = ((11, 50), (51, 100), (101, 150), (151, 200))
BLOCK = re.compile(r"(<!-- figures of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pair(record: Record, comparison: Record, value: Callable[[Record], float]) -> tuple[Scores, Scores]:
    """Gives a comparison's values: of the reference and of the other arm."""
    seeds = comparison.get("seeds")
    reference, arm = (by_seed(record, comparison[name], value, seeds) for name in ("reference", "arm"))
    return reference, arm


def signed(value: float) -> str:
    """Writes a difference as a report does, but 0 where the five decimals of result.json show none."""
    return words.signed(0.0 if abs(value) <= EQUAL else value)


def written(found: Interval, form: Callable[[float], str] = signed) -> str:
    """Writes an interval: `-0.2 (-0.7 to +0.4)`."""
    return f"{form(found.value)} ({form(found.low)} to {form(found.high)})"


def outcome(record: Record) -> tuple[str, str]:
    """Judges the claim of a record; gives the outcome and its figure."""
    claim, comparisons = record["claim"], record["comparisons"]
    at = LAST if claim.get("step") == "last-step" else VALIDATION
    cells = [pair(record, comparison, lambda run: score(run, at)) for comparison in comparisons]
    seconds = [pair(record, comparison, lambda run: run["seconds"]) for comparison in comparisons]
    planned = record["planned_seeds"]
    word, what, found = judge(claim, cells, seconds, planned)
    form = "{:.2f}".format if claim["rule"] == "cost" else signed
    seeds = f"{found.n} seeds" if found.n >= planned else f"{found.n} of {planned} planned seeds"
    return word, f"{what} {written(found, form)}, {seeds}"


def table(record: Record) -> str:
    """Makes the table of a record's comparisons, or of its measures or series."""
    for key, make in (("series", series_table), ("values", measures_table)):
        if key in record["runs"][0]:
            return make(record)
    rows = []
    for comparison in [*record["comparisons"], *record.get("afterwards", ())]:
        found: dict[str, list[str]] = {}  # what a row says -> at which steps
        own = comparison.get("at")
        for at in (own,) if own else (VALIDATION, LAST) if VALIDATION in record["runs"][0] else (LAST,):
            reference, arm = pair(record, comparison, partial(score, at=at))
            gained = interval(list(differences(reference, arm).values()))
            shared = sorted(reference.keys() & arm.keys())
            means = [_spread([scores[seed] for seed in shared]) for scores in (reference, arm)]
            row = " | ".join([*means, written(gained), str(gained.n), gained.verdict])
            found.setdefault(row, []).append(f"step {at}" if isinstance(at, int) else str(at))
        place = [comparison["cell"], *(_chosen(record, comparison, key) for key in ("learning_rate", "rho"))]
        rows += [f"| {' | '.join([*place, ', '.join(at), row])} |" for row, at in found.items()]
    head = "| | learning rate | rho | at | reference | arm | difference (95% interval) | seeds | the arm is |"
    return "\n".join([head, "|---|---|---|---|---:|---:|---:|---:|---|", *rows])


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def _chosen(record: Record, comparison: Record, key: str) -> str:
    """Writes a setting of both arms, once where it is the same."""
    own = [record["arms"][comparison[name]] for name in ("reference", "arm")]
    settings = [{k.rpartition(".")[2]: v for k, v in {**record["settings"], **arm}.items()} for arm in own]
    return " / ".join(dict.fromkeys(f"{of[key]:g}" for of in settings if key in of))


def _measured(measure: str, run: Record) -> float:
    return float(run["values"][measure])


def measures_table(record: Record) -> str:
    """Makes the table of measures of sharpness, to three digits."""
    rows = []
    for measure in record["runs"][0]["values"]:
        of = [by_seed(record, arm, partial(_measured, measure)) for arm in ("baseline", "sam")]
        arms = [[*scores.values()] for scores in of]
        gained = written(interval([*differences(*of).values()], equal=0.0), "{:+.3g}".format)
        means = [f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}" for values in arms]
        rows.append(f"| {measure} | {' | '.join(means)} | {gained} |")
    head = f"| measure, {len(arms[0])} seeds | baseline | SAM | difference (95% interval) |"
    return "\n".join([head, "|---|---:|---:|---:|", *rows])


def series_table(record: Record) -> str:
    """Makes the tables of an optimizer's steps beside rho, and of the loss at w and at w_adv."""
    steps = ["| | steps | length of a step, median (range) | without the embeddings, median | loss, median |"]
    losses = ["| | steps | loss at w | loss at w_adv | difference | norm of the ascent gradient |"]
    for lines, columns in ((steps, 5), (losses, 6)):
        lines.append("|" + "---|" * columns)
    for run in record["runs"]:
        series = {key: np.array(values) for key, values in run["series"].items()}
        is_baseline = "length" in series
        for first, last in ((1, 100), (101, 200)) if is_baseline else _QUARTERS:
            part = {key: values[first - 1 : last] for key, values in series.items()}
            row = f"| {run['arm']} | {first} to {last}"
            if is_baseline:
                length, without, loss = (
                    np.median(part[k]) for k in ("length", "length_without_table", "loss")
                )
                spread = f"{length:.1f} ({part['length'].min():.2g} to {part['length'].max():.1f})"
                steps.append(f"{row} | {spread} | {without:.2f} | {loss:.2f} |")
            else:
                at_w, at_adv, norm = (part[k].mean() for k in ("ascent_loss", "loss", "ascent_norm"))
                losses.append(f"{row} | {at_w:.3f} | {at_adv:.3f} | {at_adv - at_w:+.3f} | {norm:.2f} |")
    return "\n".join([*steps, "", *losses])


def claims() -> str:
    """Makes the table of all claims."""
    found = {name: record for name, record in records().items() if "claim" in record}
    rows = sorted(
        (of["claim"]["letter"], of["claim"]["statement"], "{}; {}".format(*outcome(of)), f"[{name}](#{name})")
        for name, of in found.items()
    )
    head = ["| | claim | outcome; figure (95% interval) | entry |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def figures(name: str) -> str:
    """Makes what LOG.md says of a record in figures: the outcome of its claim, and its table."""
    if name == "claims":
        return claims()
    if name == "results":
        return verdicts.table(verdicts.results(records()), whole=True)
    if name == "times":
        return verdicts.times_table(records())
    record = records()[name]
    if "judged" in record:
        judged = verdicts.table(verdicts.of_record(records(), name))
        return f"{verdicts.tuning_table(record)}\n\n{judged}" if record["tuning"] else judged
    if "claim" not in record:
        return table(record)
    (word, figure), claim = outcome(record), record["claim"]
    return f"Claim {claim['letter']}, {claim['statement']}: **{word}**; {figure}.\n\n{table(record)}"


def with_figures(text: str) -> str:
    """Writes the figures of a log again, between their marks."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{figures(block[2])}\n\n{block[3]}", text)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()  # --help writes nothing
    for page in (HERE / "LOG.md", RESULTS):
        page.write_text(with_figures(page.read_text(encoding="utf-8")), encoding="utf-8")

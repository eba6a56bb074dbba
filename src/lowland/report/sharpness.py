"""Tables of sharpness, out of the files of figures that measuring leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.report.comparison import against_first
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.runs import parse, reading, take, title_of
from lowland.report.tables import DIFFERENCE, NONE, difference_cell, interval_record
from lowland.report.words import spread
from lowland.report.write import Written, write_together

Record = Mapping[str, Any]  # the figures of one checkpoint, as they are in its file

SPLITS: Mapping[str, str] = {
    "train": "training examples",
    "held_out": "held-out examples",
    "evaluation": "evaluation examples",
}
VERDICTS = {1: "sharper", -1: "flatter", 0: "undecided"}  # by the sign of the interval


def write_sharpness(directory: Path, arms: Sequence[str]) -> Written:
    """Reads a directory with a JSON file of each checkpoint; writes tables and a page beside them."""
    places = {arm: place for place, arm in enumerate(arms)}
    records = sorted(read_records(directory), key=lambda one: places.get(one["arm"], len(places)))
    splits = [split for split in SPLITS if all(split in record["splits"] for record in records)]
    tables = [_table(split, arms[0], records) for split in splits]
    return write_together(directory / "sharpness.md", _head(records), tables, dict)


def read_records(directory: Path) -> list[Record]:
    """Reads the figures of all checkpoints in a directory, in the order of their names."""
    records: list[Record] = []
    for file in sorted(directory.glob("*-seed*.json")):
        record = parse(file.read_bytes(), file)
        with reading(file):
            _ = take(record, "arm", str), take(record, "seed", int), record["splits"], record["settings"]
        records.append(record)
    if not records:
        raise UserError(f"{directory} holds no figures of sharpness.")
    if any(record["settings"] != records[0]["settings"] for record in records):
        raise UserError(
            f"{directory} holds figures that were measured by different settings. Give all seeds the same, "
            "or another directory with --out."
        )
    return records


def _measures(record: Record, split: str) -> dict[tuple[str, bool], float | None]:
    """Gives a checkpoint's figures on a split: name, and whether more of it is sharper -> value."""
    found = record["splits"][split]
    measures = {("loss L(w)", False): found["loss"], ("norm of the gradient", False): found["gradient_norm"]}
    for radius, rise in found["rises"]:
        measures[f"L(w+ε) - L(w), ρ = {radius:g}", True] = rise
    if record["settings"]["hessian_examples"]:
        measures["largest eigenvalue of the Hessian", True] = found["eigenvalue"]
    return measures


def _table(split: str, reference: str, records: Sequence[Record]) -> Table:
    """Makes a table with a row for every measure and arm, each compared with the reference, seed by seed."""
    values: dict[tuple[str, bool], dict[str, dict[int, float]]] = {}
    for record in records:
        for measure, value in _measures(record, split).items():
            of_arm = values.setdefault(measure, {reference: {}}).setdefault(record["arm"], {})
            of_arm[record["seed"]] = math.nan if value is None else float(value)
    rows: list[Row] = []
    for (what, sharpness), of_arms in values.items():
        arms, compared = against_first(of_arms, sequential=False)
        for arm, summary in ((arm, summary) for arm, summary in arms.items() if summary.n):
            about: dict[str, Value] = {"measure": what, "arm": arm, "mean": summary.mean, "sd": summary.sd}
            cells, n = [NONE, str(summary.n), ""], compared[arm].n if arm in compared else 0
            if n:
                verdict = VERDICTS[compared[arm].sign] if sharpness and n > 1 else ""
                cells = [difference_cell(compared[arm], ".3g"), str(n), verdict]
                about |= interval_record(compared[arm]) | {"seeds": n, "verdict": verdict}
            rows.append(((what, title_of(arm), spread(summary, ".3g"), *cells), about))
    note = f"Mean ± standard deviation over seeds. Difference: minus {title_of(reference)}, paired by seed."
    heads = f"Measure, Arm, >Value, >{DIFFERENCE}, >Seeds, Verdict"
    return make_table(split, f"Sharpness on {SPLITS[split]}", heads, rows, [note])


def _head(records: Sequence[Record]) -> str:
    settings = records[0]["settings"]
    steps = ", ".join(map(str, sorted({one["step"] for one in records})))
    counts = ", ".join(f"{of['examples']} {SPLITS[split]}" for split, of in records[0]["splits"].items())
    hessian = f"; the Hessian is that of the first {n}" if (n := settings["hessian_examples"]) else ""
    return (
        f"# Sharpness\n\nOf the checkpoints at step {steps}, on {counts}, drawn with seed "
        f"{settings['seed']}; fp32, dropout off. The ascent is that of batches of {settings['batch_size']}, "
        f"each by itself{hessian}.\n"
    )

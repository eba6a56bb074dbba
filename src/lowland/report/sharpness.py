"""Tables of sharpness, out of the files of figures that measuring leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.report.comparison import pair_seeds
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.result import Written
from lowland.report.runs import title_of
from lowland.report.tables import DIFFERENCE, NONE, paired_record
from lowland.report.write import write_together
from lowland.statistics import summarize

Record = Mapping[str, Any]  # the figures of one checkpoint, as they are in its file

SPLITS: Mapping[str, str] = {
    "train": "training examples",
    "held_out": "held-out examples",
    "evaluation": "evaluation examples",
}
WORDS = {"better": "sharper", "worse": "flatter"}  # more or less of a sharpness; other verdicts stay


def write_sharpness(directory: Path, arms: Sequence[str]) -> Written:
    """Reads a directory with a JSON file of each checkpoint; writes tables and a page beside them.

    Args:
        directory: The directory.
        arms: The arms in their order, the reference first.
    """
    places = {arm: place for place, arm in enumerate(arms)}
    records = sorted(read_records(directory), key=lambda one: places.get(one["arm"], len(places)))
    splits = [split for split in SPLITS if all(split in record["splits"] for record in records)]
    tables = [_table(split, arms[0], records) for split in splits]
    return write_together(directory / "sharpness.md", _head(records), tables, dict)


def read_records(directory: Path) -> list[Record]:
    """Reads the figures of all checkpoints in a directory, in the order of their names."""
    records = []
    for file in sorted(directory.glob("*-seed*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            found = (record["arm"], record["seed"], record["splits"], record["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{file}: this file holds no sharpness figures. Remove it.") from None
        if not isinstance(found[0], str) or not isinstance(found[1], int):
            raise UserError(f"{file}: 'arm' must be a text and 'seed' a number, not {found[:2]}.")
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
            of_arm = values.setdefault(measure, {}).setdefault(record["arm"], {})
            if value is not None:
                of_arm[record["seed"]] = float(value)
    several = len({record["seed"] for record in records}) > 1
    note = f"Mean ± standard deviation over seeds. Difference: minus {title_of(reference)}, paired by seed."
    return make_table(
        split,
        f"Sharpness on {SPLITS[split]}",
        f"Measure, Arm, >Value, >{DIFFERENCE}, >Seeds, Verdict",
        [row for measure, of_arms in values.items() for row in _rows(*measure, reference, of_arms)],
        [note] if several else [],
    )


def _rows(
    measure: str, sharpness: bool, reference: str, values: Mapping[str, Mapping[int, float]]
) -> Iterator[Row]:
    for arm, of_arm in ((arm, of_arm) for arm, of_arm in values.items() if of_arm):
        summary = summarize(list(of_arm.values()))
        spread = "" if math.isnan(summary.sd) else f" ± {summary.sd:.2g}"
        cells = (measure, title_of(arm), f"{summary.mean:.3g}{spread}")
        record: dict[str, Value] = {"measure": measure, "arm": arm, "mean": summary.mean, "sd": summary.sd}
        if arm == reference or not values.get(reference):
            yield (*cells, NONE, str(summary.n), ""), record
            continue
        paired = pair_seeds(values[reference], of_arm)
        verdict = WORDS.get(paired.verdict, paired.verdict) if sharpness else ""
        interval = f" ({paired.low:+.3g} to {paired.high:+.3g})" if paired.n > 1 else ""
        difference = f"{paired.difference:+.3g}{interval}" if paired.n else NONE
        yield (
            (*cells, difference, str(paired.n), verdict),
            record | paired_record(paired) | {"verdict": verdict},
        )


def _head(records: Sequence[Record]) -> str:
    settings = records[0]["settings"]
    counts = ", ".join(f"{of['examples']} {SPLITS[split]}" for split, of in records[0]["splits"].items())
    lines = [
        f"Of the checkpoints at step {', '.join(map(str, sorted({one['step'] for one in records})))}.",
        f"On {counts}, drawn with seed {settings['seed']}; fp32, dropout off. The ascent is that of batches "
        f"of {settings['batch_size']}, each by itself.",
    ]
    if settings["hessian_examples"]:
        lines.append(f"The Hessian is that of the first {settings['hessian_examples']} of them.")
    return "\n".join(["# Sharpness\n", *lines, ""])

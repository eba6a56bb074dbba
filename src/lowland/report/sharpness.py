"""Tables and figures of sharpness, out of the files of figures that measuring leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.report.formats import Table, Value, to_markdown
from lowland.report.sharpness_figures import line_figure, name_of, plane_figure
from lowland.report.write import table_files, write_files
from lowland.statistics import Finding, PairedComparison, compare_pairs, summarize

Record = Mapping[str, Any]
"""The figures of one checkpoint, as they are in its file."""

REFERENCE = "baseline"
ORDER: Mapping[str, int] = {"start": 0, REFERENCE: 1, "sam": 2, "model": 4}
"""Places of what has one; other arms come after SAM."""

SPLITS: Mapping[str, str] = {
    "train": "training examples",
    "held_out": "held-out examples",
    "evaluation": "evaluation examples",
}
WORDS: Mapping[Finding, str] = {"better": "sharper", "worse": "flatter"}
"""What more or less of a sharpness is called; other verdicts stay as they are."""

FIGURES = tuple(f"figures/{name}.{kind}" for name in ("line", "plane") for kind in ("png", "svg"))


@dataclass(frozen=True, kw_only=True)
class SharpnessReport:
    """What was measured.

    Attributes:
        tables: A table for each kind of examples, and one for the weights.
        directory: Where it was written.
    """

    tables: tuple[Table, ...]
    directory: Path


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A row of a table.

    Attributes:
        name: What it is called.
        value: Takes it out of a checkpoint's figures; `None` where they lack it.
        sharpness: Whether more of it is sharper.
    """

    name: str
    value: Callable[[Record], float | None]
    sharpness: bool


def write_sharpness(directory: Path) -> SharpnessReport:
    """Reads the figures in a directory, and writes tables, page and figures beside them.

    Args:
        directory: Holds a JSON file for every checkpoint.

    Raises:
        UserError: If there is none, or one cannot be read.
    """
    records = read_records(directory)
    arms = list(dict.fromkeys(record["arm"] for record in sorted(records, key=_place)))
    splits = [split for split in SPLITS if all(split in record["splits"] for record in records)]
    tables = [_table(split, arms, records) for split in splits]
    tables.append(_make("weights", "The weights", _weight_measures(), arms, records))
    figures: dict[str, bytes] = {}
    notes = []
    try:
        # The loss before training is of another size: beside it the arms would look alike.
        drawn = [arm for arm in arms if arm != "start"] or arms
        figures |= line_figure(records, drawn, splits)
        figures |= plane_figure(records, drawn)
    except UserError as error:
        notes.append(str(error))
    files = {f"figures/{name}": content for name, content in figures.items()}
    for table in tables:
        files |= table_files(table)
    files["sharpness.md"] = _page(records, tables, list(files), notes).encode()
    files["sharpness.json"] = _summary(tables, records).encode()
    write_files(directory, files, FIGURES)
    return SharpnessReport(tables=tuple(tables), directory=directory)


def read_records(directory: Path) -> list[Record]:
    """Reads the figures of all checkpoints in a directory, in the order of seeds and arms.

    Raises:
        UserError: If there is none, one cannot be read, or they were not measured alike.
    """
    records = []
    for file in sorted(directory.glob("*-seed*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            found = (record["arm"], record["seed"], record["splits"], record["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{file}: these are no figures of sharpness. Remove it.") from None
        if not isinstance(found[0], str) or not isinstance(found[1], int):
            raise UserError(f"{file}: 'arm' must be a text and 'seed' a number, not {found[:2]}.")
        records.append(record)
    if not records:
        raise UserError(f"{directory} holds no figures of sharpness.")
    alike = [{key: value for key, value in record["settings"].items() if key != "grid"} for record in records]
    if any(settings != alike[0] for settings in alike):
        raise UserError(
            f"{directory} holds figures that were measured by different settings. Give all seeds the same, "
            "or another directory with --out."
        )
    return sorted(records, key=lambda record: (record["seed"], _place(record)))


def _place(record: Record) -> tuple[int, str]:
    return ORDER.get(record["arm"], 3), record["arm"]


def _table(split: str, arms: Sequence[str], records: Sequence[Record]) -> Table:
    settings = records[0]["settings"]
    measures = [
        Measure(name="loss L(w)", value=lambda r: r["splits"][split]["loss"], sharpness=False),
        Measure(
            name="norm of the gradient", value=lambda r: r["splits"][split]["gradient_norm"], sharpness=False
        ),
    ]
    for index, climbed in enumerate(records[0]["splits"][split]["ascent"]):
        steps = f"{climbed['steps']} step{'s' if climbed['steps'] > 1 else ''}"
        measures.append(
            Measure(
                name=f"L(w+ε) - L(w), ρ = {climbed['radius']:g}, {steps}",
                value=lambda r, i=index: r["splits"][split]["ascent"][i]["mean"],  # type: ignore[misc]
                sharpness=True,
            )
        )
    if settings["hessian_examples"]:
        for key, name, part in (
            ("eigenvalue", "largest eigenvalue of the Hessian", "value"),
            ("trace", "trace of the Hessian", "mean"),
        ):
            measures.append(
                Measure(
                    name=name,
                    value=lambda r, k=key, p=part: r["splits"][split][k][p],  # type: ignore[misc]
                    sharpness=True,
                )
            )
    return _make(split, f"Sharpness on {SPLITS[split]}", measures, arms, records)


def _weight_measures() -> list[Measure]:
    return [
        Measure(name="length of the weights", value=lambda r: r["weight_norm"], sharpness=False),
        Measure(name="distance from the start", value=lambda r: r["distance"], sharpness=False),
    ]


def _make(
    name: str, title: str, measures: Sequence[Measure], arms: Sequence[str], records: Sequence[Record]
) -> Table:
    """Makes a table with a row for every measure; arms are compared with the baseline, seed by seed."""
    others = [arm for arm in arms if ORDER.get(arm, 3) in (2, 3)] if REFERENCE in arms else []
    columns = ["Measure", *(name_of(arm) for arm in arms)]
    for arm in others:
        columns += [f"{name_of(arm)} - {name_of(REFERENCE)} (95% interval)", "Seeds", f"{name_of(arm)} is"]
    columns += [] if others else ["Seeds"]
    rows: list[tuple[str, ...]] = []
    entries: list[dict[str, Value]] = []
    for measure in measures:
        values: dict[str, dict[int, float]] = {arm: {} for arm in arms}
        for record in records:
            value = measure.value(record)
            if value is not None:
                values[record["arm"]][record["seed"]] = float(value)
        if not any(values.values()):
            continue
        cells, entry = [measure.name], dict[str, Value](measure=measure.name)
        for arm, of_arm in values.items():
            found = summarize(list(of_arm.values()))
            cells.append(_spread(found.mean, found.sd))
            entry |= {f"{arm}_mean": found.mean, f"{arm}_sd": found.sd, f"{arm}_n": found.n}
        for arm in others:
            seeds = [seed for seed in values[REFERENCE] if seed in values[arm]]
            compared = compare_pairs(
                [values[REFERENCE][seed] for seed in seeds], [values[arm][seed] for seed in seeds]
            )
            verdict = WORDS.get(compared.verdict, compared.verdict) if measure.sharpness else ""
            cells += [_difference(compared), str(compared.n), verdict]
            entry |= {f"{arm}_difference": compared.difference, f"{arm}_seeds": compared.n}
            entry |= {f"{arm}_interval_low": compared.low, f"{arm}_interval_high": compared.high}
            entry |= {f"{arm}_verdict": verdict}
        if not others:
            cells.append(str(max(len(of_arm) for of_arm in values.values())))
        rows.append(tuple(cells))
        entries.append(entry)
    several = len({record["seed"] for record in records}) > 1
    return Table(
        name=name,
        title=title,
        columns=tuple(columns),
        align="l" + "r" * len(arms) + ("rrl" * len(others) or "r"),
        rows=tuple(rows),
        notes=("Mean ± standard deviation over seeds.",) if several else (),
        records=tuple(entries),
    )


def _page(
    records: Sequence[Record], tables: Sequence[Table], files: Sequence[str], notes: Sequence[str]
) -> str:
    settings = records[0]["settings"]
    examples = {split: found["examples"] for split, found in records[0]["splits"].items()}
    counts = ", ".join(f"{number} {SPLITS[split]}" for split, number in examples.items())
    steps = sorted({record["step"] for record in records if record["arm"] not in ("start", "model")})
    lines = ["# Sharpness", ""]
    if steps:
        lines += [f"Of the checkpoints at step {', '.join(map(str, steps))}."]
    lines += [
        f"On {counts}, drawn with seed {settings['seed']}; fp32, dropout off. The ascent is that of batches "
        f"of {settings['batch_size']}, each by itself."
    ]
    if settings["hessian_examples"]:
        lines += [
            f"The Hessian is that of the first {settings['hessian_examples']} of them, its trace an estimate "
            f"with {settings['probes']} random vectors."
        ]
    lines += [f"Note: {note}" for note in notes]
    for table in tables:
        lines += ["", to_markdown(table).rstrip()]
    captions = {
        "figures/line.png": "The rise of the loss along the direction of steepest ascent, each model's own.",
        "figures/plane.png": "The loss on a plane through each model (the cross): across, the direction of "
        "steepest ascent; up, a random direction on which 1 is as far as the weights are long, row by row.",
    }
    for file, caption in captions.items():
        if file in files:
            lines += ["", f"![{caption}]({file})", "", caption]
    return "\n".join(lines) + "\n"


def _summary(tables: Sequence[Table], records: Sequence[Record]) -> str:
    def finite(value: Value) -> Value:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    summary = {
        "settings": records[0]["settings"],
        "tables": {
            table.name: [{key: finite(value) for key, value in record.items()} for record in table.records]
            for table in tables
        },
    }
    return json.dumps(summary, indent=2, ensure_ascii=False) + "\n"


def _spread(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.3g}" + ("" if math.isnan(sd) else f" ± {sd:.2g}")


def _difference(compared: PairedComparison) -> str:
    if not compared.n:
        return "-"
    if compared.n == 1:
        return f"{compared.difference:+.3g}"
    return f"{compared.difference:+.3g} ({compared.low:+.3g} to {compared.high:+.3g})"

"""Tables and figures of sharpness, out of the files of figures that measuring leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lowland.errors import UserError
from lowland.report.comparison import pair_seeds
from lowland.report.figures import PANEL_WIDTH, draw, draw_line
from lowland.report.formats import Row, Table, Value, make_table
from lowland.report.result import Written
from lowland.report.runs import title_of
from lowland.report.tables import DIFFERENCE, NONE, paired_record
from lowland.report.words import count
from lowland.report.write import write_together
from lowland.statistics import summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = Mapping[str, Any]  # the figures of one checkpoint, as they are in its file

REFERENCE = "baseline"
NO_ARMS = {"start": "Before", "model": "Model"}  # the model before training, or any one model
ORDER = {"start": 0, REFERENCE: 1, "sam": 2, "model": 4}  # other arms come after SAM
SPLITS: Mapping[str, str] = {
    "train": "training examples",
    "held_out": "held-out examples",
    "evaluation": "evaluation examples",
}
WORDS = {"better": "sharper", "worse": "flatter"}  # more or less of a sharpness; other verdicts stay
LEVELS = 12
CAPTIONS: Mapping[str, str] = {
    "line.png": "The rise of the loss along the direction of steepest ascent, each model's own.",
    "plane.png": "The loss on a plane through each model (the cross): across, the direction of steepest "
    "ascent; up, a random direction on which 1 is as far as the weights are long, row by row.",
}


def write_sharpness(directory: Path) -> Written:
    """Reads a directory with a JSON file of each checkpoint; writes tables, page and figures beside them."""
    records = read_records(directory)
    arms = list(dict.fromkeys(record["arm"] for record in sorted(records, key=_place)))
    splits = [split for split in SPLITS if all(split in record["splits"] for record in records)]
    titles = {split: f"Sharpness on {SPLITS[split]}" for split in splits} | {"weights": "The weights"}
    tables = [_table(name, title, arms, records) for name, title in titles.items()]
    # The loss before training is of another size: beside it the arms would look alike.
    shown = [arm for arm in arms if arm != "start"] or arms
    with_plane = [record for record in records if record["plane"]]
    planes = {one["arm"]: one["plane"] for one in with_plane if one["seed"] == with_plane[0]["seed"]}
    planes = {arm: planes[arm] for arm in shown if arm in planes}
    return write_together(
        directory / "sharpness.md",
        _head(records),
        tables,
        lambda: (
            draw("line", lambda figure: _draw_lines(figure, records, shown, splits))
            | (draw("plane", lambda figure: _draw_planes(figure, planes)) if planes else {})
        ),
        captions=CAPTIONS,
        own=("figures/line.*", "figures/plane.*"),
    )


def read_records(directory: Path) -> list[Record]:
    """Reads the figures of all checkpoints in a directory, in the order of seeds and arms."""
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
    alike = [{key: value for key, value in record["settings"].items() if key != "grid"} for record in records]
    if any(settings != alike[0] for settings in alike):
        raise UserError(
            f"{directory} holds figures that were measured by different settings. Give all seeds the same, "
            "or another directory with --out."
        )
    return sorted(records, key=lambda record: (record["seed"], _place(record)))


def _place(record: Record) -> tuple[int, str]:
    return ORDER.get(record["arm"], 3), record["arm"]


def _named(arm: str) -> str:
    return NO_ARMS.get(arm) or title_of(arm)


def _measures(record: Record, table: str) -> dict[tuple[str, bool], float | None]:
    """Gives a checkpoint's figures for a table: name, and whether more of it is sharper -> value."""
    if table == "weights":
        lengths = {"length of the weights": "weight_norm", "distance from the start": "distance"}
        return {(name, False): record[key] for name, key in lengths.items()}
    found = record["splits"][table]
    measures = {("loss L(w)", False): found["loss"], ("norm of the gradient", False): found["gradient_norm"]}
    for climbed in found["ascent"]:
        name = f"L(w+ε) - L(w), ρ = {climbed['radius']:g}, {count(climbed['steps'], 'step')}"
        measures[name, True] = climbed["mean"]
    if record["settings"]["hessian_examples"]:
        measures["largest eigenvalue of the Hessian", True] = found["eigenvalue"]["value"]
        measures["trace of the Hessian", True] = found["trace"]["mean"]
    return measures


def _table(name: str, title: str, arms: Sequence[str], records: Sequence[Record]) -> Table:
    """Makes a table with a row for every measure and arm, each compared with the baseline, seed by seed."""
    values: dict[tuple[str, bool], dict[str, dict[int, float]]] = {}
    for record in records:
        for measure, value in _measures(record, name).items():
            of_arms = values.setdefault(measure, {arm: {} for arm in arms})
            if value is not None:
                of_arms[record["arm"]][record["seed"]] = float(value)
    several = len({record["seed"] for record in records}) > 1
    return make_table(
        name,
        title,
        f"Measure, Arm, >Value, >{DIFFERENCE}, >Seeds, Verdict",
        [row for measure, of_arms in values.items() for row in _rows(*measure, of_arms)],
        [f"Mean ± standard deviation over seeds. Difference: minus {_named(REFERENCE)}, paired by seed."]
        if several
        else [],
    )


def _rows(measure: str, sharpness: bool, values: Mapping[str, Mapping[int, float]]) -> Iterator[Row]:
    reference = values.get(REFERENCE, {})
    for arm, of_arm in ((arm, of_arm) for arm, of_arm in values.items() if of_arm):
        summary = summarize(list(of_arm.values()))
        spread = "" if math.isnan(summary.sd) else f" ± {summary.sd:.2g}"
        cells = (measure, _named(arm), f"{summary.mean:.3g}{spread}")
        record: dict[str, Value] = {"measure": measure, "arm": arm, "mean": summary.mean, "sd": summary.sd}
        if not reference or arm in (REFERENCE, *NO_ARMS):
            yield (*cells, NONE, str(summary.n), ""), record
            continue
        paired = pair_seeds(reference, of_arm)
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
    steps = sorted({record["step"] for record in records if record["arm"] not in NO_ARMS})
    lines = [f"Of the checkpoints at step {', '.join(map(str, steps))}."] if steps else []
    lines.append(
        f"On {counts}, drawn with seed {settings['seed']}; fp32, dropout off. The ascent is that of batches "
        f"of {settings['batch_size']}, each by itself."
    )
    if settings["hessian_examples"]:
        lines.append(
            f"The Hessian is that of the first {settings['hessian_examples']} of them, its trace an estimate "
            f"with {settings['probes']} random vectors."
        )
    return "\n".join(["# Sharpness\n", *lines, ""])


def _draw_lines(
    figure: Figure, records: Sequence[Record], arms: Sequence[str], splits: Sequence[str]
) -> None:
    """Draws the rise of the loss along the ascent, a panel for each kind of examples, mean and error."""
    figure.set_size_inches(PANEL_WIDTH * len(splits), 2.5)
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    seeds = 0
    for axes, split in zip(panels, splits, strict=True):
        for place, arm in enumerate(arms):
            lines = [record["splits"][split] for record in records if record["arm"] == arm]
            rises = np.array([np.array(line["line"]["losses"]) - line["loss"] for line in lines])
            error = rises.std(axis=0, ddof=1) / math.sqrt(len(rises)) if len(rises) > 1 else None
            draw_line(axes, place, lines[0]["line"]["distances"], rises.mean(axis=0), error, markevery=2)
            seeds = max(seeds, len(rises))
        axes.set(title=SPLITS[split], xlabel="distance along the ascent")
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_ylabel("rise of the loss")
    figure.legend(
        panels[0].get_lines(),
        [_named(arm) for arm in arms],
        loc="outside lower center",
        ncols=len(arms),
        title=f"mean over {seeds} seeds; band: ± 1 standard error" if seeds > 1 else None,
    )


def _draw_planes(figure: Figure, planes: Mapping[str, Any]) -> None:
    from matplotlib.colors import BoundaryNorm

    losses = {arm: np.array(plane["losses"], dtype=float) for arm, plane in planes.items()}
    everything = np.concatenate([loss[np.isfinite(loss)] for loss in losses.values()])
    # Even in the logarithm, so that a low valley shows beside a high wall.
    low, high = max(float(everything.min()), 1e-6), max(float(everything.max()), 1e-5)
    levels = np.geomspace(low * 0.999, high * 1.001 if high > low else low * 1.1, LEVELS + 1)
    figure.set_size_inches(max(3.4, 1.9 * len(planes) + 0.6), 2.4)
    panels = figure.subplots(1, len(planes), sharex=True, sharey=True, squeeze=False)[0]
    scale = BoundaryNorm(list(levels), 256)
    for axes, (arm, plane) in zip(panels, planes.items(), strict=True):
        place = (plane["across"], plane["up"], losses[arm])
        # cividis has the same order of lightness for all kinds of colour vision.
        filled = axes.contourf(*place, levels=levels, cmap="cividis", norm=scale, extend="both")
        axes.contour(*place, levels=levels, colors="white", linewidths=0.4)
        axes.plot([0], [0], marker="P", markerfacecolor="white", markeredgecolor="black", markersize=5)
        axes.grid(visible=False)
        axes.locator_params(axis="x", nbins=3)
        axes.locator_params(axis="y", nbins=5)
        axes.set_title(_named(arm))
    panels[0].set_ylabel("random direction")
    figure.supxlabel("distance along the ascent", fontsize=8)
    bar = figure.colorbar(filled, ax=list(panels), label="loss", pad=0.02, format="%.2g")
    bar.set_ticks(list(levels[::3]))

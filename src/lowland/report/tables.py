"""The tables of a report: scores under each selection, training time, and many experiments at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

from lowland.report.comparison import Comparison, Scored, ScoreRow
from lowland.report.formats import Table, Value
from lowland.report.grid import differing, settings_of
from lowland.report.runs import title_of
from lowland.report.verdicts import Floors, Verdicts, verdicts_of
from lowland.report.words import count, duration, signed, spread
from lowland.statistics import CONFIDENCE, PairedComparison

NONE = "-"
DIFFERENCE = "Difference (95% interval)"
ARM_COLUMNS = ("Arm", "Score", DIFFERENCE, "Seeds", "Verdict")
PAIR_COLUMNS = ("Reference", "Arm", DIFFERENCE, "Seeds", "Verdict")


def score_table(comparison: Comparison, scored: Scored, floors: Floors = MappingProxyType({})) -> Table:
    """Makes the table of scores under one selection.

    Args:
        comparison: The comparison.
        scored: One of its selections.
        floors: See `verdicts_of`.

    Returns:
        A row for every arm of the averages, where there is more than one score, and of every set and metric.
    """
    verdicts = verdicts_of(scored.rows, floors)
    judged = list(zip(scored.rows, verdicts, strict=True))
    return Table(
        name=f"scores-{scored.selection.value}",
        title=f"Scores in percent: {scored.selection.label}",
        columns=("Evaluation set", "Metric", *ARM_COLUMNS),
        align="lllrrrl",
        rows=tuple(
            (row.evaluation_set, row.metric, *cells)
            for row, of_row in judged
            for cells in arm_cells(row, of_row)
        ),
        notes=_notes(scored.rows, comparison.experiment.reference),
        records=tuple(
            record for row, of_row in judged for record in score_records(scored.selection.value, row, of_row)
        ),
    )


def arm_cells(row: ScoreRow, verdicts: Verdicts) -> list[tuple[str, ...]]:
    """Writes a score for the columns `ARM_COLUMNS`: the reference first, then each arm compared with it."""
    cells: list[tuple[str, ...]] = []
    for arm, summary in row.arms.items():
        compared: tuple[str, ...] = (NONE, str(summary.n), NONE)
        if arm in row.paired:
            compared = (*paired_cells(row.paired[arm])[:2], verdicts[arm].words)
        cells.append((title_of(arm), spread(summary), *compared))
    return cells


def paired_cells(paired: PairedComparison) -> tuple[str, ...]:
    """Writes a comparison for the columns difference, seeds and verdict."""
    difference = signed(paired.difference) if paired.n else NONE
    if math.isfinite(paired.low):
        difference += f" ({signed(paired.low)} to {signed(paired.high)})"
    return difference, str(paired.n), paired.verdict


def score_records(selection: str, row: ScoreRow, verdicts: Verdicts) -> list[dict[str, Value]]:
    """Returns a score's figures in full precision, for CSV: a record for every arm."""
    records = []
    for arm, summary in row.arms.items():
        record: dict[str, Value] = {
            "selection": selection,
            "evaluation_set": row.evaluation_set,
            "metric": row.metric,
            "arm": arm,
            "mean": summary.mean,
            "sd": summary.sd,
            "n": summary.n,
        }
        if arm in row.paired:
            record |= paired_record(row.paired[arm])
            record |= {"verdict": verdicts[arm].kind.value, "p_adjusted": verdicts[arm].p}
        records.append(record)
    return records


def paired_record(paired: PairedComparison) -> dict[str, Value]:
    """Returns a comparison's figures in full precision, for CSV and JSON."""
    return {
        "difference": paired.difference,
        "interval_low": paired.low,
        "interval_high": paired.high,
        "seeds": paired.n,
        "verdict": paired.verdict,
    }


def _notes(rows: Sequence[ScoreRow], reference: str) -> tuple[str, ...]:
    """Says how to read the columns, as far as they need it."""
    notes = []
    if any(summary.n > 1 for row in rows for summary in row.arms.values()):
        notes.append("Mean ± standard deviation over seeds.")
    tested = [paired for row in rows for paired in row.paired.values() if paired.n > 1]
    if tested:
        kind = "an interval for seeds that are added" if tested[0].sequential else "Student's t interval"
        notes.append(
            f"Difference: minus {title_of(reference)}, paired by seed, with {kind}. It covers the "
            "spread over seeds, not the choice of evaluation examples."
        )
        if len(tested) > 1:
            notes.append(
                "The first score decides. The verdicts of the others are Holm's: if arms do not differ at "
                "all, one or more of them is better or worse in at most 5% of experiments. Each interval is "
                "that of its row alone."
            )
    if any(paired.equal_differences and paired.difference for paired in tested):
        notes.append(
            "Where every seed differs by the same amount the interval is a point and proves nothing; "
            "such a row counts as better or worse from 6 seeds on (sign test)."
        )
    return tuple(notes)


def by_chance(tested: Sequence[PairedComparison]) -> str:
    """Says how many verdicts to expect by chance alone."""
    found = sum(paired.verdict in ("better", "worse") for paired in tested)
    expected = len(tested) * (1 - CONFIDENCE)
    return (
        f"{count(len(tested), 'comparison')}, {found} called better or worse; "
        f"if no arm made any difference, about {expected:.2g} would be called so by chance."
    )


def cost_table(comparison: Comparison) -> Table:
    """Makes the table of training time: a row for each arm, with its time by the reference's."""
    cost = comparison.cost
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    for arm, summary in cost.seconds.items():
        ratio = cost.ratios.get(arm)
        timed = ratio is not None and ratio.pairs > 0
        rows.append(
            (
                title_of(arm),
                duration(summary.mean, summary.sd),
                f"{ratio.median:.2f}" if ratio and timed else NONE,
                f"{ratio.low:.2f} to {ratio.high:.2f}" if ratio and timed else NONE,
                str(summary.n),
            )
        )
        record: dict[str, Value] = {
            "arm": arm,
            "train_seconds_mean": summary.mean,
            "train_seconds_sd": summary.sd,
            "train_seconds_n": summary.n,
        }
        if ratio and timed:
            record |= {"ratio_median": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high}
        records.append(record)
    first = title_of(comparison.experiment.reference)
    return Table(
        name="cost",
        title="Training time, evaluation left out",
        columns=("Arm", "Time of a run", f"Times {first}", "Range", "Runs"),
        align="lrrrr",
        rows=tuple(rows),
        notes=(f"Times {first}: the median over seeds of an arm's time by that of {first}.",)
        if any(ratio.pairs for ratio in cost.ratios.values())
        else (),
        records=tuple(records),
    )


def summary_table(comparisons: Sequence[Comparison]) -> Table:
    """Makes the one table over several comparisons: what differs in their settings, and how each came out.

    Args:
        comparisons: Of one arm with its reference each, in the order of the rows.

    Returns:
        A row for each.
    """
    flat: list[dict[str, Value]] = [
        {**settings_of(c.experiment), "selection": c.scored[0].selection.value if c.scored else None}
        for c in comparisons
    ]
    differ = differing(flat)
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    names = [c.experiment.name for c in comparisons]
    for comparison, settings in zip(comparisons, flat, strict=True):
        name = comparison.experiment.name
        if names.count(name) > 1:
            name = str(comparison.experiment.directory)
        row = comparison.headline_row
        own = [NONE if settings.get(key) is None else str(settings[key]) for key in differ]
        way = comparison.scored[0].selection.value if comparison.scored else NONE
        ratio = next(iter(comparison.cost.ratios.values()), None)
        rows.append((name, *own, *pair_cells(row), f"{ratio.median:.2f}" if ratio and ratio.pairs else NONE))
        records.append(
            {
                "experiment": name,
                **{f"setting.{key}": settings.get(key) for key in differ},
                **(pair_record(way, row) if row else {}),
                "time_ratio": ratio.median if ratio else None,
            }
        )
    tested = [
        paired
        for c in comparisons
        if c.headline_row
        for paired in c.headline_row.paired.values()
        if paired.n > 1
    ]
    return Table(
        name="summary",
        title="Experiments: score in percent, the average where there is more than one",
        columns=("Experiment", *differ, *PAIR_COLUMNS, "Times reference"),
        align="l" + "l" * len(differ) + "rrrrlr",
        rows=tuple(rows),
        notes=(by_chance(tested),) if tested else (),
        records=tuple(records),
    )


def pair_cells(row: ScoreRow | None) -> tuple[str, ...]:
    """Writes a score of an arm and its reference for the columns `PAIR_COLUMNS`; of a single arm, its own."""
    arms = [spread(summary) for summary in row.arms.values()] if row else [NONE]
    arms = [*([NONE] if len(arms) == 1 else []), *arms]
    if row is not None and row.paired:
        return (*arms, *paired_cells(next(iter(row.paired.values()))))
    seeds = max(summary.n for summary in row.arms.values()) if row else 0
    return (*arms, NONE, str(seeds), NONE)


def pair_record(selection: str, row: ScoreRow) -> dict[str, Value]:
    """Returns a score of one arm and its reference in full precision, for CSV."""
    record: dict[str, Value] = {
        "selection": selection,
        "evaluation_set": row.evaluation_set,
        "metric": row.metric,
    }
    for role, (arm, summary) in zip(("reference", "arm")[-len(row.arms) :], row.arms.items(), strict=True):
        record |= {role: arm, f"{role}_mean": summary.mean, f"{role}_sd": summary.sd, f"{role}_n": summary.n}
    for paired in row.paired.values():
        record |= paired_record(paired)
    return record

"""The tables of a report: scores under each selection, training time, and many experiments at once."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from lowland.report.comparison import Comparison, Scored, ScoreRow
from lowland.report.formats import Table, Value
from lowland.report.grid import differing, settings_of
from lowland.report.runs import ARM_TITLES
from lowland.report.verdicts import Floors, Verdicts, verdicts_of
from lowland.report.words import count, duration, signed, spread
from lowland.statistics import CONFIDENCE, PairedComparison, Summary

NONE = "-"
DIFFERENCE = "Difference (95% interval)"
ARM_COLUMNS = ("Standard", "SAM", DIFFERENCE, "Seeds", "SAM is")


def score_table(comparison: Comparison, scored: Scored, floors: Floors = MappingProxyType({})) -> Table:
    """Makes the table of scores under one selection.

    Args:
        comparison: The comparison.
        scored: One of its selections.
        floors: See `verdicts_of`.

    Returns:
        A row for the averages, where there is more than one score, and for every set and metric.
    """
    arms = comparison.experiment.arms
    two = len(arms) == 2
    verdicts = verdicts_of(scored.rows, floors)
    columns = ["Evaluation set", "Metric", *(ARM_TITLES[arm] for arm in arms)]
    columns += [DIFFERENCE, "Seeds", "SAM is"] if two else ["Seeds"]
    return Table(
        name=f"scores-{scored.selection.value}",
        title=f"Scores in percent: {scored.selection.label}",
        columns=tuple(columns),
        align="ll" + "r" * len(arms) + ("rrl" if two else "r"),
        rows=tuple(_score_cells(*one) for one in zip(scored.rows, verdicts, strict=True)),
        notes=_notes(scored.rows),
        records=tuple(
            score_record(scored.selection.value, row) | _verdict_record(of_row)
            for row, of_row in zip(scored.rows, verdicts, strict=True)
        ),
    )


def _score_cells(row: ScoreRow, verdicts: Verdicts) -> tuple[str, ...]:
    cells = [row.evaluation_set, row.metric, *(spread(summary) for summary in row.arms.values())]
    if row.paired is None:
        return (*cells, *(str(summary.n) for summary in row.arms.values()))
    return (*cells, *paired_cells(row.paired)[:2], *(verdict.words for verdict in verdicts.values()))


def paired_cells(paired: PairedComparison) -> tuple[str, ...]:
    """Writes a comparison for the columns difference, seeds and verdict."""
    difference = signed(paired.difference) if paired.n else NONE
    if paired.n > 1:
        difference += f" ({signed(paired.low)} to {signed(paired.high)})"
    return difference, str(paired.n), paired.verdict


def score_record(selection: str, row: ScoreRow) -> dict[str, Value]:
    """Returns a score's figures in full precision, for CSV."""
    record: dict[str, Value] = {
        "selection": selection,
        "evaluation_set": row.evaluation_set,
        "metric": row.metric,
    }
    for arm, summary in row.arms.items():
        record |= _summary_record(arm, summary)
    if row.paired is not None:
        record |= paired_record(row.paired)
    return record


def _summary_record(prefix: str, summary: Summary) -> dict[str, Value]:
    return {f"{prefix}_mean": summary.mean, f"{prefix}_sd": summary.sd, f"{prefix}_n": summary.n}


def paired_record(paired: PairedComparison) -> dict[str, Value]:
    """Returns a comparison's figures in full precision, for CSV and JSON."""
    return {
        "difference": paired.difference,
        "interval_low": paired.low,
        "interval_high": paired.high,
        "seeds": paired.n,
        "verdict": paired.verdict,
    }


def _verdict_record(verdicts: Verdicts) -> dict[str, Value]:
    (verdict,) = verdicts.values() or (None,)
    return {} if verdict is None else {"verdict": verdict.kind.value, "p_adjusted": verdict.p}


def _notes(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """Says how to read the columns, as far as they need it."""
    notes = []
    if any(summary.n > 1 for row in rows for summary in row.arms.values()):
        notes.append("Mean ± standard deviation over seeds.")
    tested = [row.paired for row in rows if row.paired is not None and row.paired.n > 1]
    if tested:
        notes.append(
            "Difference: SAM minus standard, paired by seed, with Student's t interval. It covers the "
            "spread over seeds, not the choice of evaluation examples."
        )
        if len(tested) > 1:
            notes.append(
                "The first row decides. The verdicts of the others are Holm's: if the arms do not differ at "
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
        f"if SAM made no difference at all, about {expected:.2g} would be called so by chance."
    )


def cost_table(comparison: Comparison) -> Table:
    """Makes the table of training time.

    Args:
        comparison: The comparison.

    Returns:
        A row for each arm; SAM's holds its time as a multiple of standard training's.
    """
    cost = comparison.cost
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    for arm, summary in cost.seconds.items():
        ratio = arm == "sam" and cost.pairs > 0
        rows.append(
            (
                ARM_TITLES[arm],
                duration(summary.mean, summary.sd),
                f"{cost.ratio:.2f}" if ratio else NONE,
                f"{cost.low:.2f} to {cost.high:.2f}" if ratio else NONE,
                str(summary.n),
            )
        )
        record: dict[str, Value] = {"arm": arm, **_summary_record("train_seconds", summary)}
        if ratio:
            record |= {"ratio_median": cost.ratio, "ratio_low": cost.low, "ratio_high": cost.high}
        records.append(record)
    return Table(
        name="cost",
        title="Training time, evaluation left out",
        columns=("Arm", "Time of a run", "Times standard", "Range", "Runs"),
        align="lrrrr",
        rows=tuple(rows),
        notes=("Times standard: the median over seeds of SAM's time by standard training's.",)
        if cost.pairs
        else (),
        records=tuple(records),
    )


def summary_table(comparisons: Sequence[Comparison]) -> Table:
    """Makes the one table over several experiments: what differs in their settings, and how each came out.

    Args:
        comparisons: The experiments, in the order of the rows.

    Returns:
        A row for each experiment.
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
        ratio = f"{comparison.cost.ratio:.2f}" if comparison.cost.pairs else NONE
        rows.append(
            (
                name,
                *own,
                *arm_cells(row),
                ratio,
            )
        )
        records.append(
            {
                "experiment": name,
                **{f"setting.{key}": settings.get(key) for key in differ},
                **(score_record(way, row) if row else {}),
                "time_ratio": comparison.cost.ratio,
            }
        )
    tested = [
        c.headline_row.paired
        for c in comparisons
        if c.headline_row and c.headline_row.paired and c.headline_row.paired.n > 1
    ]
    return Table(
        name="summary",
        title="Experiments: score in percent, the average where there is more than one",
        columns=("Experiment", *differ, *ARM_COLUMNS, "Times standard"),
        align="l" + "l" * len(differ) + "rrrrlr",
        rows=tuple(rows),
        notes=(by_chance(tested),) if tested else (),
        records=tuple(records),
    )


def arm_cells(row: ScoreRow | None) -> tuple[str, ...]:
    """Writes a score for the columns `ARM_COLUMNS`, whatever arms there are."""
    arms = [spread(row.arms[arm]) if row and arm in row.arms else NONE for arm in ARM_TITLES]
    if row is not None and row.paired is not None:
        return (*arms, *paired_cells(row.paired))
    seeds = max(summary.n for summary in row.arms.values()) if row else 0
    return (*arms, NONE, str(seeds), NONE)

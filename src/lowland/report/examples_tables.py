"""What the test examples tell, as tables and a file: other examples of this kind, classes, flips."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from lowland.outcomes.flips import flip_rows
from lowland.report.examples import AnsweredSet
from lowland.report.formats import Table, Value
from lowland.report.words import signed
from lowland.statistics.crossed import LABEL

MOST_FLIPS = 50
"""Flips of an evaluation set and arm that are written, the most telling ones."""


def example_tables(sets: Sequence[AnsweredSet], title_of: Callable[[str], str]) -> tuple[Table, ...]:
    """Makes the tables of what the test examples tell, as many as there is something for."""
    found = (beyond_table(sets, title_of), class_table(sets, title_of))
    return tuple(table for table in found if table is not None)


def beyond_table(sets: Sequence[AnsweredSet], title_of: Callable[[str], str]) -> Table | None:
    """Makes the table of differences on other examples of this kind, with the flips behind them.

    Args:
        sets: The test examples.
        title_of: Gives an arm's name as a reader sees it.

    Returns:
        A row for each set and arm but the reference; `None` where there is none with two seeds.
    """
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    for examples in sets:
        for arm in list(examples.predictions)[1:]:
            interval = examples.interval(arm)
            if interval is None:
                continue
            flips = examples.flips(arm)
            gained, lost = (sum(counts) / len(counts) for counts in (flips.gained, flips.lost))
            rows.append(
                (
                    examples.name,
                    examples.metric,
                    title_of(arm),
                    f"{signed(interval.difference)} ({signed(interval.low)} to {signed(interval.high)})",
                    f"{gained:.1f}",
                    f"{lost:.1f}",
                    f"{interval.seeds} × {interval.examples}",
                )
            )
            records.append(
                {
                    "evaluation_set": examples.name,
                    "metric": examples.metric,
                    "arm": arm,
                    "difference": interval.difference,
                    "interval_low": interval.low,
                    "interval_high": interval.high,
                    "gained_per_seed": gained,
                    "lost_per_seed": lost,
                    "seeds": interval.seeds,
                    "examples": interval.examples,
                }
            )
    if not rows:
        return None
    return Table(
        name="beyond",
        title=f"Difference {LABEL}",
        columns=(
            "Evaluation set",
            "Metric",
            "Arm",
            "Difference (95% interval)",
            "Gained",
            "Lost",
            "Seeds × examples",
        ),
        align="lllrrrr",
        rows=tuple(rows),
        notes=(
            "The interval takes seeds and test examples as drawn at random, both; that of the scores takes "
            "the seeds only.",
            f"Gained and lost: examples that the arm has right and {title_of(sets[0].reference)} wrong, and "
            "the other way round, in the mean of the seeds.",
        ),
        records=tuple(records),
    )


def class_table(sets: Sequence[AnsweredSet], title_of: Callable[[str], str]) -> Table | None:
    """Makes the table of each class's scores, and of what it is taken for, over all seeds.

    Args:
        sets: The test examples.
        title_of: Gives an arm's name as a reader sees it.

    Returns:
        A row for each set, arm and class; `None` where no targets are classes.
    """
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Value]] = []
    for examples in sets:
        for arm in examples.predictions:
            found = examples.classes(arm)
            if found is None:
                continue
            for score, counts in zip(found.scores, found.confusion, strict=True):
                # What it is taken for, the commonest first.
                order = sorted(range(len(counts)), key=lambda place: -counts[place])
                taken = [f"{found.columns[place]} {counts[place]}" for place in order if counts[place]]
                rows.append(
                    (
                        examples.name,
                        title_of(arm),
                        score.label,
                        f"{score.precision:.1f}",
                        f"{score.recall:.1f}",
                        f"{score.f1:.1f}",
                        str(score.examples),
                        ", ".join(taken),
                    )
                )
                records.append(
                    {
                        "evaluation_set": examples.name,
                        "arm": arm,
                        "class": score.label,
                        "precision": score.precision,
                        "recall": score.recall,
                        "f1": score.f1,
                        "examples": score.examples,
                        **{f"as {column}": n for column, n in zip(found.columns, counts, strict=True)},
                    }
                )
    if not rows:
        return None
    return Table(
        name="classes",
        title="Classes, over all seeds",
        columns=("Evaluation set", "Arm", "Class", "Precision", "Recall", "F1", "Answers", "Predicted as"),
        align="lllrrrrl",
        rows=tuple(rows),
        records=tuple(records),
    )


def flips_file(sets: Sequence[AnsweredSet]) -> bytes:
    """Writes the most telling flips of every set and arm as JSON lines; empty where there are none."""
    lines = []
    for examples in sets:
        reference, *others = examples.predictions
        for arm in others:
            for row in flip_rows(
                examples.flips(arm).telling[:MOST_FLIPS],
                examples.inputs,
                examples.targets,
                list(examples.predictions[reference].values()),
                list(examples.predictions[arm].values()),
            ):
                named = {"evaluation_set": examples.name, "arms": [reference, arm], **row}
                lines.append(json.dumps(named, ensure_ascii=False) + "\n")
    return "".join(lines).encode()

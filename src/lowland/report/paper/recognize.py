"""Which of the paper's rows an experiment belongs to, by its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from lowland.report.formats import Value
from lowland.report.grid import settings_of
from lowland.report.paper.layout import LAYOUTS
from lowland.report.runs import Experiment

LOW = 0.05
"""The training fraction of Tables 6 and 7."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an experiment belongs.

    Attributes:
        tables: Numbers of the tables; none where the paper has nothing like it.
        model: The model: as the paper calls it where it is the paper's, such as `T5.1.1 Base`.
        known: Whether it is a model of the paper.
    """

    tables: tuple[int, ...]
    model: str
    known: bool


def recognize(experiment: Experiment) -> Place:
    """Finds the tables that an experiment belongs to.

    Part of a benchmark counts as the benchmark: its other columns stay empty.
    """
    settings = settings_of(experiment)
    model = paper_model(experiment.model)
    return Place(
        tables=_tables(experiment, settings),
        model=model or PurePath(experiment.model).name or experiment.model,
        known=model is not None,
    )


def paper_model(name: str) -> str | None:
    """Returns what the paper calls a model; `None` for one that it does not have.

    Args:
        name: A directory or a name on the hub, such as `google/t5-v1_1-base`.
    """
    found = re.search(r"(mt5|t5[-_.]?(?:v|\.)?1[-_.]1)[-_.](small|base|large|xl)\b", name.lower())
    if found is None:
        return None
    size = "XL" if found[2] == "xl" else found[2].capitalize()
    return f"{'mT5' if found[1] == 'mt5' else 'T5.1.1'} {size}"


def _tables(experiment: Experiment, settings: Mapping[str, Value]) -> tuple[int, ...]:
    sets = experiment.metrics
    fraction = settings.get("data.fraction", 1.0)
    if not sets or fraction not in (1, LOW):
        return ()
    whole = fraction == 1
    # DPR is trained on beside WSC, and is no task of a table.
    several = len([task for task in experiment.tasks if task != "dpr"]) > 1
    benchmarks = {name.partition("/")[0] for name in sets} - {"dpr"}
    if benchmarks == {"superglue"} and several and _has(sets, 1):
        return (1, 9) if whole else (6,)
    if benchmarks == {"glue"} and several and whole and _has(sets, 2):
        return (2,)
    if benchmarks == {"cbqa"}:
        return ((4,) if whole else (7,)) if several else ((5,) if whole else ())
    if benchmarks == {"tydiqa"} and whole:
        return (3, 8)
    return ()


def _has(sets: Mapping[str, object], table: int) -> bool:
    keys = [key for column in LAYOUTS[table].columns.values() for key in column.values()]
    return any(name in sets for name, _ in keys)

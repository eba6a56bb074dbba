"""Reads the records, and scores their runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from records.judge import Scores

HERE = Path(__file__).parent
VALIDATION, LAST = "validation", "last step"

Record = Mapping[str, Any]


@cache
def records() -> dict[str, dict[str, Any]]:
    """Reads all records: name of the folder -> record."""
    files = sorted(HERE.glob("20??-??-??_*/result.json"))
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def score(run: Record, at: str | int) -> float:
    """Scores a run in percent: the mean over test sets, each the mean over its metrics.

    Args:
        run: The run.
        at: At which step: the last, a number, or the first of those with the best validation score.
    """

    def mean(split: str, index: int) -> float:
        values = [[of[index] for of in metrics.values()] for metrics in run[split].values()]
        return float(np.mean([np.mean([math.nan if v is None else v for v in of]) for of in values]))

    steps = run["steps"]
    if at == VALIDATION:
        found = [mean(VALIDATION, index) for index in range(len(steps))]
        index = max(
            range(len(steps)), key=lambda i: -math.inf if math.isnan(found[i]) else round(found[i], 4)
        )
    else:
        index = len(steps) - 1 if at == LAST else steps.index(at)
    return mean("test", index)


def by_seed(record: Record, arm: str, value: Callable[[Record], float], seeds: Any = None) -> Scores:
    """Gives a value of each of an arm's runs, where it is defined: seed -> value."""
    runs = [run for run in record["runs"] if run["arm"] == arm and (seeds is None or run["seed"] in seeds)]
    return {run["seed"]: found for run in runs if not math.isnan(found := value(run))}

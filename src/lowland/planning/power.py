"""What the seeds of an experiment can see, before it starts."""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from lowland.config.experiment import ExperimentConfig
from lowland.config.layers import with_lists
from lowland.errors import UserError
from lowland.report.runs import read_run
from lowland.runs.names import PLACES
from lowland.statistics import Spread, seeds_for, spread_of_runs

RECORDED = Spread(
    value=1.198,
    freedom=29,
    source="from 30 pairs of runs on 1,010 rows of SST-2; yours may be several times larger",
)
"""SAM minus baseline at the last step in records/2026-11-26_last-step, in points."""

RECORDED_ROWS = 872
"""Test rows of these runs."""


def spread_for(config: ExperimentConfig, store: Path, rows: int) -> Spread:
    """Tells how much the score's difference varies from seed to seed.

    Args:
        config: The experiment.
        store: Where runs lie; finished ones of the same data, model and steps tell it.
        rows: Examples of the test sets, for a guess where there are none.

    Returns:
        The spread, in points. The guess is that of the records; on fewer test rows than theirs it is larger,
        by the root of their number, as where two runs answer the same share of rows differently.
    """
    groups: dict[str, list[float]] = defaultdict(list)
    for folder in sorted(store.glob("*-seed*")):
        if (named := re.fullmatch(r"(.+)-seed(\d+)", folder.name)) is None or not _alike(folder, config):
            continue
        try:
            run = read_run(store, named[1], int(named[2]), {})
        except UserError:  # of another experiment, perhaps; whose run it is will be told
            continue
        if run.state == "done" and run.evaluated_steps:
            last = run.evaluated_steps[-1]
            found = [e.metrics for e in run.evaluations if e.split == "evaluation" and e.step == last]
            # As in a report: of one set the first metric decides, of several the average.
            values = (
                [next(iter(found[0].values()))] if len(found) == 1 else [v for m in found for v in m.values()]
            )
            score = sum(values) / len(values)
            groups[named[1]] += [score] if math.isfinite(score) else []
    number = sum(len(scores) for scores in groups.values() if len(scores) > 1)
    if number > 2:
        found_here = spread_of_runs(list(groups.values()), f"from {number} finished runs")
        if found_here.value > 0:
            return found_here
    return replace(RECORDED, value=RECORDED.value * math.sqrt(max(1.0, RECORDED_ROWS / max(1, rows))))


def _alike(folder: Path, config: ExperimentConfig) -> bool:
    """Tells whether a run was of the same data and model for as many steps."""
    try:
        settings = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        there = (
            settings["data"],
            settings["model"],
            settings["train"]["steps"],
            settings["train"]["batch_size"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
    ours = with_lists(config.to_dict()["data"]), config.model, config.train.steps, config.train.batch_size
    return _without_places(there[0]) == _without_places(ours[0]) and there[1:] == ours[1:]


def _without_places(data: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if key not in PLACES}


def seeds_to_detect(detect: float, spread: Spread) -> int:
    """Finds how many seeds detect a difference of the score with 80% power.

    Raises:
        UserError: If the difference is not above 0, or no feasible number of seeds detects it.
    """
    if not detect > 0:
        raise UserError(f"--detect must be above 0 points, not {detect:g}.")
    found = seeds_for(detect, spread)
    if found is None:
        raise UserError(
            f"--detect {detect:g}: more than a thousand seeds would be needed "
            f"(standard deviation {spread.value:.2g}, {spread.source}). Give a larger difference."
        )
    return found

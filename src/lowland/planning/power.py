"""What the seeds of an experiment can see, before it starts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lowland.config.arms import flatten
from lowland.config.experiment import ExperimentConfig
from lowland.config.layers import read_layer
from lowland.errors import UserError
from lowland.report.runs import read_run
from lowland.report.selection import mean_score
from lowland.runs.store import PLACES
from lowland.statistics import Spread, seeds_for, spread_of_runs

SOURCE = "from 30 pairs of runs on 1,010 rows of SST-2; yours may be several times larger"
RECORDED, RECORDED_ROWS = Spread(value=1.198, freedom=29, source=SOURCE), 872
"""SAM minus baseline at the last step in records/2026-11-26_last-step, in points; test rows of these runs."""


def spread_for(config: ExperimentConfig, store: Path, rows: int) -> Spread:
    """Tells how much the score's difference varies from seed to seed, in points.

    Finished runs of the same data, model and steps in the store tell it. Where there are none, it is that of
    the records, larger on fewer test rows by the root of their number, as where two runs answer the same
    share of rows differently.
    """
    ours = _what_matters(config.to_dict())
    scores: dict[str, list[float]] = defaultdict(list)
    for folder in sorted(store.glob("*-seed*")):
        name, _, seed = folder.name.rpartition("-seed")
        with suppress(UserError):  # of another experiment, perhaps; whose run it is will be told
            if seed.isdecimal() and _what_matters(read_layer(folder / "config.toml")) == ours:
                run = read_run(store, name, int(seed), {})
                last = run.evaluated("evaluation")[run.evaluated_steps[-1]] if run.evaluated_steps else {}
                if run.state == "done" and last and math.isfinite(score := mean_score(last)):
                    scores[name].append(score)
    number = sum(len(of_arm) for of_arm in scores.values() if len(of_arm) > 1)
    if number > 2:
        found = spread_of_runs(list(scores.values()))
        if found.value > 0:
            return found
    return replace(RECORDED, value=RECORDED.value * math.sqrt(max(1.0, RECORDED_ROWS / max(1, rows))))


def _what_matters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Takes what runs that tell the spread have in common: data, model and length of training."""
    alike = ("data.", "model", "train.steps", "train.batch_size")
    flat = flatten(settings).items()
    return {
        key: value for key, value in flat if key.startswith(alike) and key.removeprefix("data.") not in PLACES
    }


def seeds_to_detect(detect: float, spread: Spread) -> int:
    """Finds how many seeds detect a difference of the score with 80% power, or raises a `UserError`."""
    if not (isinstance(detect, (int, float)) and detect > 0):
        raise UserError(f"--detect must be above 0 points, not {detect}.")
    found = seeds_for(detect, spread)
    if found is None:
        raise UserError(
            f"--detect {detect:g}: more than a thousand seeds would be needed "
            f"(standard deviation {spread.value:.2g}, {spread.source}). Give a larger difference."
        )
    return found

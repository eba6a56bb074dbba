"""The records: what the log says follows from their runs, and claims are judged by their rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from records import judge, log

RECORDS = log.records()
TEXT = (log.HERE / "LOG.md").read_text(encoding="utf-8")
INTERVAL = re.compile(r"[+-]?\d+\.\d+ \([+-]\d+\.\d+ to [+-]\d+\.\d+")
CLAIMED = [name for name, record in RECORDS.items() if "claim" in record]

# Computed by hand on the day, of runs that result.json does not hold; the log says so.
NOT_RECORDED = {"-0.2 (-0.8 to +0.4", "+0.6 (-2.0 to +3.2"}


def test_figures_of_the_log_follow_from_the_records() -> None:
    """Every table and outcome in LOG.md is what its result.json gives: nothing is typed in by hand."""
    assert log.with_figures(TEXT) == TEXT


def test_every_record_has_an_entry_and_figures() -> None:
    """Each record has one entry with its figures, the newest first, and there are no others."""
    names = re.findall(r"^### (\S+)$", TEXT, re.MULTILINE)
    told = [
        name for name in names if "series" not in RECORDS[name]["runs"][0]
    ]  # the text has its few numbers
    assert sorted(names) == sorted(RECORDS)
    assert [name[:10] for name in names] == sorted((name[:10] for name in names), reverse=True)
    assert [block[2] for block in log.BLOCK.finditer(TEXT)] == ["claims", *told]
    assert set(names) - set(told) == {"2026-11-26_step-lengths"}


def test_intervals_in_the_text_are_those_of_tables() -> None:
    """What the text between the tables says with an interval stands in a table, too."""
    computed = {found for block in log.BLOCK.finditer(TEXT) for found in INTERVAL.findall(block[0])}
    told = set(INTERVAL.findall(log.BLOCK.sub("", TEXT)))
    assert told and not told - computed - NOT_RECORDED


@pytest.mark.parametrize("name", CLAIMED)
def test_chosen_settings_follow_from_tuning(name: str) -> None:
    """Both arms' learning rates and SAM's rho are those of the best validation scores that tuning found."""
    record = RECORDS[name]
    for comparison in record["comparisons"]:
        reference, arm = (record["arms"][comparison[side]] for side in ("reference", "arm"))
        rate, rho = reference.get("train.learning_rate"), arm.get("sam.rho")
        of = {
            side: [tried for tried in record.get("tuning", ()) if tried["arm"] == comparison[side]]
            for side in ("reference", "arm")
        }
        if of["reference"]:
            assert best(of["reference"], "train.learning_rate", record) == rate
        at_rate = [tried for tried in of["arm"] if tried["settings"]["train.learning_rate"] == rate]
        if len(at_rate) > 1:
            assert best(at_rate, "sam.rho", record) == rho
        at_rho = [tried for tried in of["arm"] if tried["settings"]["sam.rho"] == rho]
        if len(at_rho) > 1:
            assert best(at_rho, "train.learning_rate", record) == arm["train.learning_rate"]


def best(candidates: Sequence[Mapping[str, Any]], setting: str, record: Mapping[str, Any]) -> float:
    """The setting of the best candidate; of equal ones the first of the plan."""
    plan = record["plan"]["tuning"][setting.rpartition(".")[2]]
    ordered = sorted(candidates, key=lambda tried: plan.index(tried["settings"][setting]))
    # Scores are kept to five decimals, so that means of equal ones may differ in the sixth.
    chosen = max(ordered, key=lambda tried: round(fmean(tried["validation"]), 4))
    return float(chosen["settings"][setting])


def test_seeds_of_tuning_are_not_compared() -> None:
    """No seed that settings were chosen on is one that they are compared on."""
    for record in RECORDS.values():
        tuned = {seed for tried in record.get("tuning", ()) for seed in tried["seeds"]}
        assert not tuned & {run["seed"] for run in record["runs"] if "series" not in run}


def test_lengths_of_steps_follow_from_their_record() -> None:
    """The lengths and losses in the text of the entry that has no table are those of its series."""
    _, _, rest = TEXT.partition("### 2026-11-26_step-lengths\n")
    text = rest.partition("\n### ")[0]
    lengths, losses = [], []
    for run in RECORDS["2026-11-26_step-lengths"]["runs"]:
        series = {name: np.array(values) for name, values in run["series"].items()}
        if "length" in series:
            lengths += [f"{np.median(half):.1f}" for half in np.split(series["length"], 2)]
        else:
            at_w, at_w_adv = (
                np.array([part.mean() for part in np.split(series[name], [10, 50, 100, 150])[1:]])
                for name in ("ascent_loss", "loss")
            )
            losses += [[f"{loss:.3f}" for loss in at_w], [f"{more:+.3f}" for more in at_w_adv - at_w]]
    assert set(lengths) <= set(re.findall(r"\b\d+\.\d\b", text)) and len(lengths) == 4
    told = [", ".join(of[:-1]) + f" and {of[-1]}" for of in losses[1:]]  # the first is not told
    assert [row in text for row in told] == [True] * 3


def scores(*gains: float) -> tuple[dict[int, float], dict[int, float]]:
    """A cell in which SAM differs by these amounts."""
    baseline = {seed: 70.0 + seed for seed in range(len(gains))}
    return baseline, {seed: baseline[seed] + gain for seed, gain in enumerate(gains)}


UP, DOWN, LITTLE, WIDE = (2.0, 3.0, 2.5), (-2.0, -3.1, -2.5), (0.1, -0.1, 0.05), (-9.0, 9.0, 1.0)
NEAR = (0.12, -0.1, 0.0)


@pytest.mark.parametrize(
    ("claim", "cells", "word"),
    [
        ({"rule": "gain"}, [UP, UP], "confirmed"),
        ({"rule": "gain"}, [UP, DOWN], "not confirmed"),
        ({"rule": "gain", "cells": [0]}, [UP, DOWN], "confirmed"),
        ({"rule": "gain"}, [LITTLE], "not confirmed"),
        ({"rule": "gain"}, [WIDE], "undecided"),
        ({"rule": "gain"}, [(2.0,)], "undecided"),
        ({"rule": "kept"}, [LITTLE], "confirmed"),
        ({"rule": "kept"}, [(-0.4, -0.5, -0.6)], "confirmed"),
        ({"rule": "kept"}, [DOWN], "not confirmed"),
        ({"rule": "kept"}, [WIDE], "undecided"),
        ({"rule": "every"}, [UP, UP], "confirmed"),
        ({"rule": "every"}, [UP, DOWN], "not confirmed"),
        ({"rule": "every"}, [UP, LITTLE], "undecided"),
        ({"rule": "trend", "ends": 1}, [UP, LITTLE, DOWN], "confirmed"),
        ({"rule": "trend", "ends": 1}, [LITTLE, DOWN, UP], "not confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1]}, [LITTLE, NEAR], "confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1, 2]}, [LITTLE, NEAR, UP], "not confirmed"),
        ({"rule": "enough", "reference": 0, "against": [1]}, [LITTLE, WIDE], "undecided"),
    ],
)
def test_claims_are_judged_by_their_rule(claim: dict[str, Any], cells: list[Any], word: str) -> None:
    """A claim is confirmed, not confirmed or undecided as the intervals of its figures say."""
    assert judge.judge(claim, [scores(*cell) for cell in cells], 2)[0] == word


def test_no_claim_is_decided_early_or_without_spread() -> None:
    """Fewer seeds than planned decide nothing, and equal differences do from six seeds on."""
    rule = {"rule": "gain"}
    assert judge.judge(rule, [scores(*UP)], 3)[0] == "confirmed"
    assert judge.judge(rule, [scores(*UP)], 4)[0] == "undecided"
    assert judge.judge(rule, [scores(*[1.0] * 5)], 2)[0] == "undecided"
    assert judge.judge(rule, [scores(*[1.0] * 6)], 2)[0] == "confirmed"
    # Five decimals of a result.json: these differ by their rounding alone.
    assert judge.judge(rule, [scores(1.0, 1.00001, 1.0, 1.0, 0.99999)], 2)[0] == "undecided"


@pytest.mark.parametrize(
    ("times", "word"),
    [((1.2, 1.21, 1.19), "confirmed"), ((1.4, 1.41, 1.39), "not confirmed"), ((1.0, 1.6, 1.2), "undecided")],
)
def test_cost_is_judged_by_the_ratio_of_times(times: tuple[float, ...], word: str) -> None:
    """SAM's time by that of the baseline, seed by seed, is held against the limit."""
    seconds = dict.fromkeys(range(3), 10.0), {seed: 10.0 * ratio for seed, ratio in enumerate(times)}
    found, _, shown = judge.judge({"rule": "cost", "limit": 1.25}, [seconds], 3)
    assert found == word and math.isclose(shown.difference, fmean(times))

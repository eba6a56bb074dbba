"""docs/results.md: each figure follows from the records, and the records from their protocol."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from records import collect, log, verdicts
from tests.fixtures.reports import write_lines, write_run

RECORDS = {name: record for name, record in log.records().items() if "judged" in record}
JUDGED = verdicts.judged(RECORDS)
PAGE = log.RESULTS.read_text(encoding="utf-8")
NUMBER = re.compile(r"[+-]\d+\.\d+")


def test_figures_of_the_page_follow_from_the_records() -> None:
    """The tables of results.md are what the result.json files give: nothing is typed in by hand."""
    assert log.with_figures(PAGE) == PAGE


def test_figures_in_the_text_stand_in_the_tables() -> None:
    """Every difference and end of an interval in the text stands in a table of the page or the log."""
    pages = (PAGE, (log.HERE / "LOG.md").read_text(encoding="utf-8"))
    computed = {
        number for page in pages for block in log.BLOCK.finditer(page) for number in NUMBER.findall(block[0])
    }
    told = set(NUMBER.findall(log.BLOCK.sub("", PAGE)))
    assert told and not told - computed


@pytest.mark.parametrize("name", RECORDS)
def test_arms_have_the_best_settings_of_tuning(name: str) -> None:
    """Each arm has the settings with the best validation score of its candidates, of equal ones the first."""
    record = RECORDS[name]
    tuned = {tried["arm"] for tried in record["tuning"]}
    assert tuned or record["untuned"]
    for arm in tuned:
        candidates = [tried for tried in record["tuning"] if tried["arm"] == arm]
        best = max(candidates, key=lambda tried: round(fmean(tried["validation"]), 4))["settings"]
        for member in verdicts.members(record, arm):
            shared: dict[str, Any] = {**record["settings"], **record["arms"][member]}
            assert {key: shared[key] for key in best} == best


@pytest.mark.parametrize("name", RECORDS)
def test_pairs_are_whole_and_fresh(name: str) -> None:
    """No seed of tuning is compared, no run stands twice, and every judged pair has seeds in common."""
    record = RECORDS[name]
    runs = [(run["arm"], run["seed"]) for run in record["runs"]]
    assert len(set(runs)) == len(runs)
    assert not {seed for tried in record["tuning"] for seed in tried["seeds"]} & {seed for _, seed in runs}
    judged = [of for of in JUDGED if any(record is RECORDS[name] for record in of.records)]
    assert judged and all(of.verdict.comparison.n for of in judged)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_protocol_is_older_than_the_runs() -> None:
    """The protocol was committed before the first run that a record of it holds."""
    command = ["git", "log", "--format=%at", "--diff-filter=A", "--", "PROTOCOL.md"]
    found = subprocess.run(command, cwd=log.HERE, capture_output=True, text=True, check=False).stdout.split()
    if not found or not RECORDS:
        pytest.skip("no history of the repository here")
    first = min(datetime.fromisoformat(run["started"]) for of in RECORDS.values() for run in of["runs"])
    assert int(found[-1]) < first.timestamp()


def run(arm: str, seed: int, accuracy: float, loss: float) -> dict[str, Any]:
    """A run of one task with two evaluations."""
    scores = {"t": {"accuracy": [50.0, accuracy]}}
    of = {"arm": arm, "seed": seed, "steps": [60, 120], "test": scores, "validation": scores}
    return of | {"outcomes": {"loss of an answer": loss}}


def made_up(gains: tuple[float, ...], **more: Any) -> dict[str, Any]:
    """A record in which the arm differs by these points, and by a hundredth of them in nats."""
    runs = [run("baseline", seed, 70.0 + seed, 1.0) for seed in range(len(gains))]
    runs += [run("late", seed, 70.0 + seed + gain, 1.0 + gain / 100) for seed, gain in enumerate(gains)]
    arms: dict[str, Any] = {"baseline": {}, "late": {}}
    return {"model": "m", "task": "t", "question": "", "planned_seeds": 6, "arms": arms, "runs": runs, **more}


UP = (2.0, 3.0, 2.5, 2.1, 2.9, 2.4)
PAIR = {"reference": "baseline", "arm": "late", "outcome": "accuracy"}


@pytest.mark.parametrize(
    ("gains", "named", "word"),
    [
        (UP, "better", "confirmed"),
        (UP, "worse", "not confirmed"),
        (UP[:5], "better", "undecided"),
        ((0.1, -0.1, 0.0, 0.05, -0.05, 0.1), "better", "not confirmed"),
        ((5.0, -5.0, 1.0, 2.0, -1.0, 3.0), "better", "undecided"),
    ],
)
def test_a_claim_is_judged_by_its_row(gains: tuple[float, ...], named: str, word: str) -> None:
    """Confirmed is the named verdict on all planned seeds; its opposite or equality is not confirmed."""
    (found,) = verdicts.rows([([made_up(gains)], PAIR | {"claim": "a", "named": named})])
    assert found.word == word


def test_tasks_are_averaged_seed_by_seed() -> None:
    """Over several tasks a seed's difference is the mean of its differences."""
    records = [made_up(UP), made_up(tuple(-gain for gain in UP))]
    assert verdicts.row(records, PAIR).verdict.comparison.difference == pytest.approx(
        0.0, abs=1e-12
    )  # rounding


def test_rows_beside_a_claim_share_the_risk() -> None:
    """Of two other rows the p value of each grows by Holm's method; that of a claim does not."""
    loss = PAIR | {"outcome": "loss of an answer"}
    asked = (PAIR | {"claim": "a", "named": "better"}, PAIR, loss)
    alone, first, second = verdicts.rows([([made_up(UP)], of) for of in asked])
    assert alone.verdict.p == alone.verdict.comparison.p
    assert first.verdict.p == pytest.approx(2 * first.verdict.comparison.p) and second.verdict.p > 0


def test_tasks_judged_together_share_the_risk_with_each_task() -> None:
    """Of the mean over two tasks and of each task, three rows, the p value of the clearest is threefold."""
    parts = {str(task): made_up(UP, judged=[PAIR], together=[PAIR]) for task in (1, 2)}
    judged = verdicts.judged(parts)
    assert judged[0].verdict.p == pytest.approx(3 * judged[0].verdict.comparison.p)
    assert [of.records for of in judged] == [[*parts.values()], [parts["1"]], [parts["2"]]]


def test_times_are_compared_seed_by_seed() -> None:
    """A whole run's time is told by that of the baseline's of the same seed, over the tasks of a model."""
    tasks = {}
    for task, slower in (("t", 1.2), ("u", 1.4)):
        made = made_up(UP, alone=True)
        for of in made["runs"]:
            of["seconds"] = (10.0 + of["seed"]) * (slower if of["arm"] == "late" else 1.0)
        tasks[task] = made
    assert "| m | 2 | late | 12 | 1.30 (1.30 to 1.30) | 6 |" in verdicts.times_table(tasks)


def test_forgetting_is_compared_at_equal_score() -> None:
    """What an arm forgets beyond a line in the score is found, and what its score costs is not."""
    runs = []
    for seed in range(6):
        for arm, gain, beyond in (("baseline", 0.0, 0.0), ("late", 3.0, 0.4)):
            for rate, accuracy in (("", 60.0), ("-2", 70.0 + seed)):
                scored = accuracy + gain
                made = run(arm + rate, seed, scored, 1.0)
                runs.append(made | {"outcomes": {"forgetting": 0.1 * scored + beyond}})
    arms = {arm + rate: {} for arm in ("baseline", "late") for rate in ("", "-2")}
    reference, other = verdicts.at_equal_score({"runs": runs, "arms": arms}, ("baseline", "late"))
    assert [other[seed] - reference[seed] for seed in range(6)] == pytest.approx([0.4] * 6)  # no noise


def test_a_record_is_made_of_finished_runs(tmp_path: Path) -> None:
    """A record has the finished runs' scores, the losses to int4 on the same rows, and bare file names."""
    settings = (
        "[train]\nsteps = 200\n[arms.baseline.sam]\nrho = 0.0\n[arms.late.sam]\nrho = 0.1\nstart = 0.2\n"
        '[data.custom]\ntrain = "/rows/t.csv"\n[outcomes.also]\ntypos = "/rows/typos.csv"\n'
    )
    (tmp_path / "experiment.toml").write_text(f"seeds = [1]\n{settings}")
    scores = {"t": {100: {"accuracy": 60.0}, 200: {"accuracy": 75.0}}}
    for arm, state in (("late", "done"), ("baseline", "interrupted")):
        folder = write_run(tmp_path, arm, 1, scores, held_out=scores, state=state)
        (folder / "env.json").write_text('{"cores": 2}')
        answers = [{"prediction": "a", "targets": target} for target in "aab"]
        write_lines(folder / "predictions" / "t-200.jsonl", answers)
        (folder / "outcomes").mkdir()
        measured = {"accuracy after int4": 50.0, "loss of an answer": 0.5, "lost": None}
        sets = {"sets": {"t": {"examples": 2, "outcomes": measured}}}
        (folder / "outcomes" / "step-200.json").write_text(json.dumps(sets))
    record = json.loads(collect.written(collect.collect({"task": "t"}, [tmp_path])))
    files = {"data.custom.train": "t.csv", "outcomes.also.typos": "typos.csv"}
    assert record["settings"] == {"train.steps": 200, **files} and record["environment"] == {"cores": 2}
    assert record["arms"]["late"] == {"sam.rho": 0.1, "sam.start": 0.2}
    (made,) = record["runs"]
    named = collect.collect({"task": "t", "names": {"late": "later"}}, [tmp_path])
    assert [of["arm"] for of in named["runs"]] == ["later"] and "late" not in named["arms"]
    assert made["arm"] == "late" and made["steps"] == [100, 200]
    assert made["validation"] == made["test"] == {"t": {"accuracy": [60.0, 75.0]}}
    expected = {"accuracy after int4": 50.0, "accuracy kept by int4": -50.0, "loss of an answer": 0.5}
    assert made["outcomes"] == expected

"""What follows from the verdict: which model is handed over, and whether seeds are added."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.cli.command import reviews, succeed, write_rows
from tests.families.tiny import write_model
from tests.fixtures.reports import write_experiment, write_run

from lowland.comparison.compare import _decided
from lowland.comparison.export import Candidate, _in_order
from lowland.report.runs import Run
from lowland.report.write import write_report


def candidate(seed: int, step: int, held_out: float | None, score: float) -> Candidate:
    """A kept checkpoint."""
    return Candidate(
        run=Run(arm="sam", seed=seed, state="done"),
        step=step,
        checkpoint=Path(f"{seed}-{step}"),
        held_out=held_out,
        scores={"a": {"accuracy": score}},
    )


def test_seeds_are_compared_on_held_out_rows_only() -> None:
    """With held-out rows their best checkpoint goes first; without, the middle run's last step."""
    chosen = [candidate(0, 5, 80.0, 99.0), candidate(1, 5, 82.0, 70.0), candidate(1, 9, 81.0, 71.0)]
    assert [(one.run.seed, one.step) for one in _in_order(chosen, 9)] == [(1, 5), (1, 9), (0, 5)]
    blind = [candidate(seed, 9, None, score) for seed, score in enumerate([76.0, 86.0, 83.0, 81.0, 85.0])]
    assert [one.run.seed for one in _in_order([*blind, candidate(0, 5, None, 90.0)], 9)] == [2, 4, 1, 3, 0]


@pytest.mark.parametrize(
    ("gain", "arm"), [((0.1, -0.1, 0.2), "baseline"), ((-3, -4, -3.5), "baseline"), ((3, 4, 3.5), "sam")]
)
def test_the_arm_follows_the_verdict(tmp_path: Path, gain: Sequence[float], arm: str) -> None:
    """The arm to use is the reference unless another is better."""
    experiment(tmp_path, {"baseline": (80, 81, 82), "sam": [80 + n + gain[n] for n in range(3)]})
    assert write_report(tmp_path).recommended == arm


def experiment(path: Path, scores: Mapping[str, Sequence[float]], looks: Sequence[int] = ()) -> None:
    """An experiment with these accuracies at its last step."""
    seeds = list(range(len(next(iter(scores.values())))))
    write_experiment(path, metrics={"a": ["accuracy"]}, arms=list(scores), seeds=seeds)
    described = json.loads((path / "experiment.json").read_text())
    (path / "experiment.json").write_text(json.dumps({**described, "looks": list(looks)}))
    for arm, of_arm in scores.items():
        for seed, score in enumerate(of_arm):
            write_run(path, arm, seed, {"a": {200: {"accuracy": score}}})


def test_added_seeds_get_the_interval_that_holds(tmp_path: Path) -> None:
    """After a look the intervals are wider and the report says why; more seeds may be wanted."""
    scores = {"baseline": [80.0, 81, 82, 80, 81.5], "sam": [81.0, 83.5, 83, 82, 83.2]}
    experiment(tmp_path / "fixed", scores)
    experiment(tmp_path / "added", scores, looks=[3])
    fixed, added = (write_report(tmp_path / name) for name in ("fixed", "added"))
    assert "SAM is better" in fixed.answer[1] and "SAM is undecided" in added.answer[1]
    assert any("Seeds were added after a look at 3" in caveat for caveat in added.caveats)
    assert _decided(tmp_path / "fixed") and not _decided(tmp_path / "added")
    (row,), (other,) = (report.comparison.scored[0].rows for report in (fixed, added))
    assert other.paired["sam"].high > row.paired["sam"].high


def test_an_arm_that_always_fails_asks_for_no_more_seeds(tmp_path: Path) -> None:
    """Where one arm is decided and another has failed for every seed, no seed is added for it."""
    scores = {"baseline": (80.0, 81, 82), "sam": (84.0, 85.1, 85.9), "wild": ()}
    experiment(tmp_path, scores)
    assert _decided(tmp_path)


@pytest.mark.parametrize(("before", "rises"), [(70.0, True), (79.8, False)])
def test_curves_that_still_rise_are_told(tmp_path: Path, before: float, rises: bool) -> None:
    """Where an arm is better at the last step than ever before, by half a point, more steps are advised."""
    write_experiment(tmp_path, metrics={"a": ["accuracy"]}, arms=["baseline", "sam"], seeds=[0])
    write_run(tmp_path, "baseline", 0, {"a": {100: {"accuracy": 80.0}, 200: {"accuracy": 79.0}}})
    write_run(tmp_path, "sam", 0, {"a": {100: {"accuracy": before}, 200: {"accuracy": 80.0}}})
    said = "Scores still rise at the last step (SAM): more steps may give another result."
    assert (said in write_report(tmp_path).caveats) is rises


@pytest.mark.slow
def test_seeds_until_it_is_decided(tmp_path: Path) -> None:
    """Seeds are added one by one up to the most, finished ones are kept, and adding more by hand is told."""
    write_model(tmp_path / "model", "bert")  # which learns something: two seeds can decide nothing
    words: list[str | Path] = [
        "compare", "--train", write_rows(tmp_path / "train.jsonl", reviews(40)),
        "--test", write_rows(tmp_path / "dev.jsonl", reviews(24, 100)), "--input", "{text}",
        "--target", "{label}", "--model", tmp_path / "model", "--steps", "1", "--batch-size", "4",
        "--precision", "fp32", "--input-length", "48", "--target-length", "8", "--outcomes", "none",
        "--out", tmp_path / "run",
    ]  # fmt: skip
    result = succeed(*words, "--until-decided", "--seeds", "2", "--max-seeds", "3")
    described = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert "Not decided by 2 seeds; seed 2 is added" in result.out
    assert (described["seeds"], described["looks"]) == ([0, 1, 2], [2, 3])
    again = succeed(*words, "--seeds", "4")
    assert "Seeds were added after a look" in " ".join(again.out.split())
    assert "## The comparison" in (tmp_path / "run" / "model" / "README.md").read_text()

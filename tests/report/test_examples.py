"""What a report says of the test examples, from the predictions that runs have kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tests.fixtures.reports import write_experiment, write_lines, write_run

from lowland.errors import UserError
from lowland.report.comparison import compare
from lowland.report.examples import AnsweredSet, read_examples
from lowland.report.runs import read_experiment
from lowland.report.tables import class_table
from lowland.report.write import write_report
from lowland.statistics import crossed_interval

TARGETS = ["yes", "no"] * 15 + ["no"] * 10
ARMS = ("baseline", "sam")


def write_predicted(
    directory: Path, wrong: dict[str, list[list[int]]], *, metric: str = "accuracy", off: float = 0.0
) -> Path:
    """An experiment whose runs have the given examples wrong, and all others right."""
    write_experiment(directory, metrics={"a": [metric]}, seeds=list(range(len(wrong["sam"]))))
    for arm, of_arm in wrong.items():
        for seed, missed in enumerate(of_arm):
            score = 100 * (1 - len(missed) / len(TARGETS)) + off
            folder = write_run(directory, arm, seed, {"a": {200: {metric: score}}})
            rows = [
                {
                    "inputs": f"text {number}",
                    "targets": target,
                    "prediction": ("no" if target == "yes" else "maybe") if number in missed else target,
                }
                for number, target in enumerate(TARGETS)
            ]
            write_lines(folder / "predictions" / "a-200.jsonl", rows)
    return directory


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Three seeds; example 0 is wrong in every standard run and in none of SAM."""
    wrong = {"baseline": [[0, 2, 5], [0, 7], [0, 8]], "sam": [[5], [7, 2], [8]]}
    return write_predicted(tmp_path / "x", wrong)


def test_interval_on_other_examples(predicted: Path) -> None:
    """The interval over seeds and examples is that of the answers, right 100 and wrong 0."""
    experiment = read_experiment(predicted)
    (found,) = read_examples(experiment, compare(experiment).scored[0])
    assert found.floor == pytest.approx(100 * 25 / 40)
    right = {arm: found.right[arm].astype(float) for arm in ARMS}
    assert right["baseline"].sum(1).tolist() == [37, 38, 38]
    expected = crossed_interval(100 * right["baseline"], 100 * right["sam"])
    assert found.interval("sam") == expected
    report = write_report(predicted)
    row = next(table for table in report.beyond if table.name == "beyond").records[0]
    assert (row["interval_low"], row["interval_high"]) == (expected.low, expected.high)
    # Gained: 0 and 2 in the first seed, 0 in the second and third. Lost: 2 in the second.
    assert row["gained_per_seed"] == pytest.approx(4 / 3)
    assert row["lost_per_seed"] == pytest.approx(1 / 3)


def test_flips_and_classes_are_written(predicted: Path) -> None:
    """The most telling flip comes first in the file, and the classes say what each is taken for."""
    report = write_report(predicted)
    first, *_ = map(json.loads, (report.directory / "flips.jsonl").read_text().splitlines())
    assert (first["inputs"], first["gained"], first["lost"]) == ("text 0", 3, 0)
    assert (first["reference"], first["arm"]) == (["no"] * 3, ["yes"] * 3)
    assert first["arms"] == list(ARMS)
    classes = next(table for table in report.beyond if table.name == "classes")
    # Standard's "yes": 45 answers, wrong are 0 three times, 2 once and 8 once.
    row = next(row for row in classes.records if (row["arm"], row["class"]) == ("baseline", "yes"))
    assert (row["as yes"], row["as no"], row["examples"]) == (40, 5, 45)
    assert row["recall"] == pytest.approx(100 * 40 / 45)
    page = (report.directory / "report.md").read_text()
    assert "on other examples of this kind, too" in page


def test_nothing_learned_is_said_of_constant_answers(tmp_path: Path) -> None:
    """Runs that always answer the commonest class have learned nothing, whatever their score is."""
    always = [number for number, target in enumerate(TARGETS) if target == "yes"]
    report = write_report(write_predicted(tmp_path / "x", {arm: [always] * 3 for arm in ARMS}))
    assert report.headline.startswith("SAM learned nothing, nor did the reference")
    assert report.scores[0].rows[1][-1] == "nothing learned"
    assert "no run is better than 62.5" in report.answer[1]
    console = Console(file=io.StringIO(), width=200)
    report.print(console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-4:] == list(report.answer)


@pytest.mark.parametrize("change", ["no files", "another metric"])
def test_nothing_is_said_where_it_does_not_follow(tmp_path: Path, change: str) -> None:
    """Without predictions, or where the metric is no share of right answers, the report does without."""
    wrong = {arm: [[1], [2]] for arm in ARMS}
    directory = write_predicted(tmp_path / "x", wrong, off=0.1 if change == "another metric" else 0.0)
    if change == "no files":
        (directory / "sam-seed1" / "predictions" / "a-200.jsonl").unlink()
    report = write_report(directory)
    assert report.beyond == ()
    assert not (report.directory / "flips.jsonl").exists()


def test_a_damaged_file_is_named(predicted: Path) -> None:
    """A line that is no prediction is named with its file, its line and what is wrong."""
    file = predicted / "sam-seed1" / "predictions" / "a-200.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], '{"inputs": 3}', *lines[2:]]))
    with pytest.raises(UserError, match=r"a-200\.jsonl, line 2: 'inputs' must be a text, not 3"):
        write_report(predicted)


def test_seeds_that_differ_by_luck_are_told(tmp_path: Path) -> None:
    """Where every seed gains the same examples, the interval over examples is the wider one."""
    rng = np.random.default_rng(0)
    gained = rng.choice(40, 6, replace=False).tolist()
    wrong = {"baseline": [gained, gained, [*gained, 39]], "sam": [[], [], [39]]}
    report = write_report(write_predicted(tmp_path / "x", wrong))
    row = report.beyond[0].records[0]
    assert float(str(row["interval_low"])) < 10 < 15 < float(str(row["interval_high"]))
    assert report.comparison.scored[0].rows[0].paired["sam"].equal_differences


def answered(reference: list[list[str]], arm: list[list[str]], targets: list[str]) -> AnsweredSet:
    """A set of examples and what two arms wrote for them in each seed."""
    told = {"baseline": reference, "sam": arm}
    predictions = {name: dict(enumerate(map(tuple, seeds))) for name, seeds in told.items()}
    inputs = tuple(f"text {place}" for place in range(len(targets)))
    return AnsweredSet("a", "accuracy", inputs, tuple(targets), predictions)


def test_flips_by_hand() -> None:
    """Two seeds and four examples, worked by hand: the example that flips in both seeds comes first."""
    one = answered([list("ynyn"), list("ynny")], [list("yynn"), list("yyyy")], list("yyyy"))
    gained, lost = one.flips("sam")
    assert (gained.sum(1).tolist(), lost.sum(1).tolist()) == ([1, 2], [1, 0])
    rows = one.telling("sam")
    assert [(row["example"], row["gained"], row["lost"]) for row in rows] == [(1, 2, 0), (2, 1, 1)]
    assert (rows[0]["inputs"], rows[0]["reference"], rows[0]["arm"]) == ("text 1", ["n", "n"], ["y", "y"])
    assert len(one.telling("sam", most=1)) == 1


def test_flips_add_up_to_the_difference_of_accuracies() -> None:
    """Gained minus lost is the difference of right answers, and the most telling examples come first."""
    rng = np.random.default_rng(0)
    reference, arm = (np.where(rng.random((5, 40)) < 0.7, "y", "n").tolist() for _ in range(2))
    one = answered(reference, arm, ["y"] * 40)
    gained, lost = one.flips("sam")
    assert gained.sum() - lost.sum() == one.right["sam"].sum() - one.right["baseline"].sum()
    telling = [abs(int(str(row["gained"])) - int(str(row["lost"]))) for row in one.telling("sam")]
    assert telling == sorted(telling, reverse=True)


LABELS = ["maybe", "no", "yes"]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "x"])), min_size=1))
def test_classes_are_those_of_scikit_learn(answers: list[tuple[str, str]]) -> None:
    """Precision, recall, F1 and confusion of each class, of odd answers too, by scikit-learn."""
    # Every class is a target, in a set that is large enough to have classes.
    answers = [*answers, *((label, label) for label in LABELS * 2)]
    targets, given_ = [pair[0] for pair in answers], [pair[1] for pair in answers]
    one = answered([given_], [given_], targets)
    found = one.confusion("sam")
    assert found is not None
    columns, counts = found
    assert columns == LABELS + ["(other)"] * ("x" in given_)
    named = [text if text in LABELS else "(other)" for text in given_]
    assert counts.tolist() == confusion_matrix(targets, named, labels=columns)[:3].tolist()
    scores = precision_recall_fscore_support(targets, named, labels=LABELS, zero_division=0.0)
    rows = [row for row in class_table([one]).records if row["arm"] == "sam"]
    for place, kind in enumerate(("precision", "recall", "f1")):
        assert [row[kind] for row in rows] == pytest.approx(100 * scores[place])
    assert [row["examples"] for row in rows] == scores[3].tolist()

"""Outcomes beside the score, in a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report.comparison import Measured, compare
from lowland.report.outcomes import outcome_named, read_outcomes
from lowland.report.runs import read_experiment
from lowland.report.write import write_report
from lowland.statistics import Kind, compare_pairs, holm

ARMS = ("baseline", "sam")
ALIKE = "0f"  # the folder of what was measured alike


def write_outcomes(
    directory: Path, values: Mapping[str, Sequence[Sequence[float | None]]], arms: Sequence[str] = ARMS
) -> Path:
    """An experiment of three seeds whose scores are equal, with outcomes: name -> arm -> seed."""
    write_experiment(directory, metrics={"a": ["accuracy"]}, arms=arms)
    for place, arm in enumerate(arms):
        for seed in range(3):
            write_run(
                directory, arm, seed, {"a": {200: {"accuracy": 80.0 + seed + 0.1 * place * (seed % 2)}}}
            )
            outcomes = {name: of_arms[place][seed] for name, of_arms in values.items()}
            file = directory / f"{arm}-seed{seed}" / "outcomes" / ALIKE / "step-200.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"settings": {}, "sets": {"a": {"outcomes": outcomes}}}))
    (directory / "outcomes.json").write_text(json.dumps({"folder": ALIKE}))
    return directory


def read(directory: Path) -> list[Measured]:
    """Its outcomes at the last step."""
    experiment = read_experiment(directory)
    return read_outcomes(experiment, compare(experiment).scored[0])[0]


CALIBRATION = [[9.0, 9.5, 9.2], [4.0, 4.4, 4.1]]
LOSS = [[1.2, 1.3, 1.1], [1.0, 1.6, 0.6]]


def test_verdicts_of_outcomes(tmp_path: Path) -> None:
    """Lower calibration error is better, and all verdicts share the risk by Holm's method."""
    values = {"calibration error": CALIBRATION, "loss of an answer": LOSS}
    rows = read(write_outcomes(tmp_path / "x", values))
    found = {row.outcome.name: row.verdicts["sam"] for row in rows}
    assert found["calibration error"].kind is Kind.BETTER
    assert found["loss of an answer"].kind is Kind.UNDECIDED
    raw = [compare_pairs(*of_arms) for of_arms in values.values()]
    assert [verdict.p for verdict in found.values()] == pytest.approx(holm([one.p for one in raw]))
    assert [verdict.comparison.low for verdict in found.values()] == [one.low for one in raw]


def test_rounding_is_a_family_of_its_own(tmp_path: Path) -> None:
    """Outcomes after rounding share the risk among themselves, and make no other verdict stricter."""
    names = ["loss of an answer", "loss of an answer after int8", "calibration error",
             "loss of an answer after int4"]  # fmt: skip
    values = {name: CALIBRATION if name == "calibration error" else LOSS for name in names}
    rows = read(write_outcomes(tmp_path / "x", values))
    assert [row.outcome.name for row in rows] == names
    p = {name: compare_pairs(*of_arms).p for name, of_arms in values.items()}
    plain, rounded = (holm([p[name] for name in names[start::2]]) for start in (0, 1))
    assert [row.verdicts["sam"].p for row in rows] == pytest.approx(
        [plain[0], rounded[0], plain[1], rounded[1]]
    )


def test_the_answer_names_the_strongest_outcome(tmp_path: Path) -> None:
    """Where the score is equal and calibration better, the answer says so and for what the arm is good."""
    report = write_report(write_outcomes(tmp_path / "x", {"calibration error": CALIBRATION}))
    assert "equal within 0.5 points" in report.answer[1]
    assert report.answer[2].startswith(
        "Other outcomes: calibration error on a, where SAM is better: -5.1 points"
    )
    assert report.answer[3] == "Advice: use SAM where calibration error on a counts, else Baseline."
    table = next(table for table in report.beyond if table.name == "outcomes")
    named = ("a", "calibration error (points)")
    assert table.rows == (
        (*named, "Baseline", "9.2 ± 0.3", "-", "3", "-"),
        (*named, "SAM", "4.2 ± 0.2", "-5.1 (-5.2 to -4.9)", "3", "better"),
    )
    assert (report.directory / "tables" / "outcomes.csv").is_file()


def test_every_arm_is_compared_with_the_reference(tmp_path: Path) -> None:
    """With three arms each of the others has its row and verdict, and the answer names the best of them."""
    values = {"calibration error": [*CALIBRATION, [3.0, 3.4, 3.1]]}
    report = write_report(write_outcomes(tmp_path / "x", values, ("baseline", "sam", "late")))
    table = next(table for table in report.beyond if table.name == "outcomes")
    rows = [row for row in table.records if "verdict" in row]
    assert [(row["arm"], row["verdict"]) for row in rows] == [("sam", "better"), ("late", "better")]
    p = [compare_pairs(CALIBRATION[0], values["calibration error"][place]).p for place in (1, 2)]
    assert [row["p_adjusted"] for row in rows] == pytest.approx(holm(p))
    assert report.answer[0].startswith("Compared: SAM, late with Baseline over 3 seeds")


def test_missing_values_leave_their_pair_out(tmp_path: Path) -> None:
    """A likelihood that was not finite is null in the file, and its pair does not count."""
    values: dict[str, list[list[float | None]]] = {"loss of a token": [[1.0, None, 1.2], [0.9, 1.0, 1.1]]}
    (row,) = read(write_outcomes(tmp_path / "x", values))
    assert row.verdicts["sam"].comparison.n == 2
    assert row.arms["baseline"].n == 2


def test_names_say_unit_and_direction() -> None:
    """An outcome after rounding is measured as it is without, and any other name is a metric in percent."""
    after = outcome_named("loss of an answer after int4")
    assert (after.better, after.unit, after.name) == ("lower", "nats", "loss of an answer after int4")
    assert (outcome_named("accuracy after int8").better, outcome_named("f1").margin) == ("higher", 0.5)


def test_what_was_measured_otherwise_is_left_out(tmp_path: Path) -> None:
    """A report has the outcomes that its experiment measured, and no others of the same runs."""
    directory = write_outcomes(tmp_path / "x", {"loss of a token": LOSS})
    before = read(directory)
    for run in directory.glob("*-seed*"):
        other = run / "outcomes" / "1f" / "step-200.json"
        other.parent.mkdir()
        other.write_text(json.dumps({"settings": {}, "sets": {"a": {"outcomes": {"loss of a token": 9.0}}}}))
    assert read(directory) == before and before
    (directory / "outcomes.json").unlink()
    assert not read(directory)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A damaged file is refused in one sentence."""
    directory = write_outcomes(tmp_path / "x", {"loss of a token": LOSS})
    file = directory / "sam-seed2" / "outcomes" / ALIKE / "step-200.json"
    bins = {"a": {"outcomes": {}, "bins": [{"low": "x"}]}}
    file.write_text(json.dumps({"settings": {}, "sets": bins}))
    with pytest.raises(UserError, match=r"step-200\.json: 'low' must be a number, not 'x'"):
        write_report(directory)
    file.write_text("{")
    with pytest.raises(UserError, match=r"step-200\.json: this is not valid JSON"):
        write_report(directory)

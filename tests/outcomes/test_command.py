"""Outcomes beside the score, through the real command line, on a tiny model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import call, reviews, succeed, write_rows
from tests.fixtures.models import write_checkpoint

from lowland.families.recognise import load_family
from lowland.outcomes.likelihood import OUTCOMES
from lowland.outcomes.quantized import INT4, rounded_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first one waits for four runs

NAMES = [outcome.name for outcome in OUTCOMES]


def words(folder: Path, *more: str | Path) -> list[str | Path]:
    """A comparison of two seeds on a user's rows, of a tiny random T5.1.1, with a further test set."""
    return [
        "compare", "--train", folder / "train.jsonl", "--eval", folder / "dev.jsonl", "--input", "{text}",
        "--target", "{label}", "--model", folder / "model", "--seeds", "2", "--steps", "2",
        "--batch-size", "8", "--precision", "fp32", "--input-length", "48", "--target-length", "8",
        "--evaluate-every", "1", "--held-out", "8", "--also", f"other={folder / 'other.jsonl'}",
        "--out", folder / "run", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a comparison, done."""
    folder = tmp_path_factory.mktemp("outcomes")
    write_checkpoint(folder / "model", "t5.1.1")
    write_rows(folder / "train.jsonl", reviews(40))
    write_rows(folder / "dev.jsonl", reviews(24, 100))
    write_rows(folder / "other.jsonl", reviews(6, 300))
    succeed(*words(folder))
    return folder


def records(run: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of the kept models of a run, the last one and the chosen one."""
    files = {file.stem: file for file in (run / "outcomes").glob("*/*.json")}
    assert sorted(files) == sorted(folder.name for folder in (run / "checkpoints").iterdir())
    return {step: json.loads(file.read_text()) for step, file in files.items()}


def test_everything_is_measured(measured: Path) -> None:
    """Each kept model has likelihood, calibration and forgetting; after either rounding also its score."""
    for arm in ("baseline", "sam"):
        for seed in (0, 1):
            for record in records(measured / "run" / f"{arm}-seed{seed}").values():
                also, of_set = record["sets"].pop("other"), record["sets"].pop("train")
                (general,) = record["sets"].values()
                assert math.isfinite(general["outcomes"]["forgetting"])
                assert also["examples"] == 6 and list(also["outcomes"]) == ["accuracy", *NAMES]
                assert of_set["examples"] == 20  # the least that are measured, of 24
                assert sum(one["answers"] for one in of_set["bins"]) == 20
                after = [f"{n} after {r}" for r in ("int8", "int4") for n in ("accuracy", *NAMES)]
                assert list(of_set["outcomes"]) == [*NAMES, *after]
                values = [*also["outcomes"].values(), *of_set["outcomes"].values()]
                assert all(value is not None and math.isfinite(value) for value in values)


def test_likelihood_is_a_loop_over_labels(measured: Path) -> None:
    """The loss of an answer is that of the model's file, scored label by label, also after rounding."""
    run = measured / "run" / "sam-seed0"
    family = load_family(str(run / "checkpoints" / "step-2"))
    rows = [json.loads(line) for line in (run / "predictions" / "train-2.jsonl").read_text().splitlines()]

    def loss() -> float:
        logs = [
            family.likelihoods([row["inputs"]], [[row["targets"]]], input_length=48, target_length=8)[0][0]
            for row in rows[:20]
        ]
        return -sum(logs) / len(logs)

    found = records(run)["step-2"]["sets"]["train"]["outcomes"]
    # Batches and padding change the order of sums in fp32.
    assert found["loss of an answer"] == pytest.approx(loss(), rel=1e-5)
    with rounded_weights(family.loaded.model, INT4):
        assert found["loss of an answer after int4"] == pytest.approx(loss(), rel=1e-5)


def test_outcomes_are_in_the_report(measured: Path) -> None:
    """The report has a table for either step, and the answer counts the verdicts of the first."""
    report = measured / "run" / "report"
    table = (report / "tables" / "outcomes.csv").read_text().splitlines()
    outcomes = 2 + 2 * len(NAMES) + 2 * (1 + len(NAMES))
    assert len(table) == 1 + 2 * outcomes  # a row for each of two arms
    assert len((report / "tables" / "outcomes-last-step.csv").read_text().splitlines()) == len(table)
    answer = json.loads((report / "report.json").read_text())["answer"]
    assert f"{outcomes} verdicts" in answer[2]


def test_the_same_command_measures_nothing_again(measured: Path) -> None:
    """What was measured is kept, also where the same runs are measured by other settings in between."""
    files = sorted((measured / "run").glob("*-seed*/outcomes/*/*.json"))
    before = [file.read_bytes() for file in files]
    other = succeed(*words(measured, "--outcomes", "likelihood", "--outcome-examples", "7"))
    assert "Measuring likelihood of" in other.out and other.out.count("done before") == 4
    more = sorted({*(measured / "run").glob("*-seed*/outcomes/*/*.json")} - {*files})
    assert len(more) == len(files)
    assert list(json.loads(more[0].read_text())["sets"]["train"]["outcomes"]) == NAMES
    assert json.loads(more[0].read_text())["sets"]["train"]["examples"] == 7
    assert "Measuring" not in succeed(*words(measured)).out
    assert before == [file.read_bytes() for file in files]
    assert "int4" in (measured / "run" / "report" / "tables" / "outcomes.csv").read_text()
    for file in more:
        file.unlink()


def test_mistakes_are_one_sentence(measured: Path, tmp_path: Path) -> None:
    """An unknown outcome, a missing file and a damaged one are each answered with one sentence."""
    for more, said in (
        (("--outcomes", "likely"), "Must be none or some of likelihood, quantized, forgetting"),
        (("--also", "other"), "is no KEY=VALUE"),
        (("--also", "train=x.jsonl"), "an evaluation set has this name"),
        (("--also", f"new={tmp_path / 'x.jsonl'}"), "x.jsonl"),
        (("--outcome-examples", "-1"), "Must be a whole number >= 0"),
    ):
        result = call(*words(measured, *more))
        assert result.code == 2
        assert said in result.err
        assert result.err.count("\n") == 1
    file = next((measured / "run" / "sam-seed1" / "outcomes").glob("*/*.json"))
    content = file.read_text()
    try:
        file.write_text('{"sets": 3}')
        result = call("report", measured / "run")
        assert result.code == 2
        assert "'sets' must be an object, not 3" in result.err
    finally:
        file.write_text(content)

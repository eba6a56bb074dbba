"""`lowland outcomes`, through the real command line, on a tiny model."""

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


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of two seeds on a user's rows, of a tiny random T5.1.1, with its outcomes."""
    folder = tmp_path_factory.mktemp("outcomes")
    write_checkpoint(folder / "model", "t5.1.1")
    train, dev = (
        write_rows(folder / "train.jsonl", reviews(40)),
        write_rows(folder / "dev.jsonl", reviews(12, 100)),
    )
    succeed(
        "compare", "--train", train, "--eval", dev, "--input", "{text}", "--target", "{label}",
        "--model", folder / "model", "--seeds", "2", "--steps", "2", "--batch-size", "8",
        "--precision", "fp32", "--input-length", "48", "--target-length", "8", "--evaluate-every", "2",
        "--out", folder / "run",
    )  # fmt: skip
    succeed("outcomes", folder / "run", "--examples", "10")
    return folder / "run"


def record(folder: Path, arm: str, seed: int) -> dict[str, Any]:
    """The outcomes of one model."""
    found: dict[str, Any] = json.loads((folder / "outcomes" / f"{arm}-seed{seed}.json").read_text())
    return found


def test_everything_is_measured(measured: Path) -> None:
    """Each arm and seed has likelihood and calibration, and them and the score after either rounding."""
    arms = sorted({path.stem.rpartition("-seed")[0] for path in (measured / "outcomes").glob("*.json")})
    assert len(arms) == 2
    names = [outcome.name for outcome in OUTCOMES]
    for arm in arms:
        for seed in (0, 1):
            (of_set,) = record(measured, arm, seed)["sets"].values()
            assert of_set["examples"] == 10
            assert sum(one["answers"] for one in of_set["bins"]) == 10
            expected = [*names, *(f"{n} after {r}" for r in ("int8", "int4") for n in ("accuracy", *names))]
            assert list(of_set["outcomes"]) == expected
            assert all(value is not None and math.isfinite(value) for value in of_set["outcomes"].values())


def test_likelihood_is_a_loop_over_labels(measured: Path) -> None:
    """The loss of an answer is that of the model's file, scored label by label, also after rounding."""
    family = load_family(str(measured / "sam-seed0" / "checkpoints" / "step-2"))
    (file,) = (measured / "sam-seed0" / "predictions").glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()][:10]

    def loss() -> float:
        logs = [
            family.likelihoods([row["inputs"]], [[row["targets"]]], input_length=48, target_length=8)[0][0]
            for row in rows
        ]
        return -sum(logs) / len(logs)

    (of_set,) = record(measured, "sam", 0)["sets"].values()
    # Batches and padding change the order of sums in fp32.
    assert of_set["outcomes"]["loss of an answer"] == pytest.approx(loss(), rel=1e-5)
    with rounded_weights(family.loaded.model, INT4):
        assert of_set["outcomes"]["loss of an answer after int4"] == pytest.approx(loss(), rel=1e-5)


def test_outcomes_are_in_the_report(measured: Path) -> None:
    """The report has the table, and the answer counts the outcomes' verdicts."""
    page = (measured / "report" / "report.md").read_text()
    assert "Outcomes of the models beside the score" in page
    table = (measured / "report" / "tables" / "outcomes.csv").read_text().splitlines()
    assert len(table) == 1 + len(OUTCOMES) + 2 * (1 + len(OUTCOMES))
    answer = json.loads((measured / "report" / "report.json").read_text())["answer"]
    assert f"{len(table) - 1} other verdicts" in answer[2]


def test_the_same_command_measures_nothing_again(measured: Path) -> None:
    """Models that were measured by these settings are kept; by others they are measured anew."""
    before = {path: path.stat().st_mtime_ns for path in (measured / "outcomes").glob("*.json")}
    assert succeed("outcomes", measured, "--examples", "10").err.count("measured before") == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_forgetting_is_left_out_without_sentinels(measured: Path, tmp_path: Path) -> None:
    """A model whose tokenizer has no sentinels has no loss on general text, and the rest is measured."""
    (tmp_path / "general.txt").write_text("One text.\n\nAnother one, which is longer.")
    before = record(measured, "sam", 0)
    succeed("outcomes", measured, "--examples", "10", "--general", tmp_path / "general.txt")
    after = record(measured, "sam", 0)
    assert after["settings"]["general"] and after["sets"].keys() == before["sets"].keys()


def test_mistakes_are_one_sentence(measured: Path, tmp_path: Path) -> None:
    """Another folder, an unknown rounding and a damaged file are each answered with one sentence."""
    for words, said in (
        ((tmp_path,), "no directory of an experiment"),
        ((measured, "--rounding", "int2"), "Must be one of int8, int4"),
        ((measured, "--examples", "0"), "Must be >= 1"),
    ):
        result = call("outcomes", *words)
        assert result.code == 2
        assert said in result.err
        assert "Traceback" not in result.err
    file = measured / "outcomes" / "sam-seed1.json"
    content = file.read_text()
    try:
        file.write_text('{"sets": 3}')
        result = call("report", measured)
        assert result.code == 2
        assert "these are no outcomes of a model. Remove the file." in result.err
    finally:
        file.write_text(content)

"""The records: what they say follows from their raw lines, and the way that they are made."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from records import checkpoints, claims, control, judge, page, replicate, results, steps
from records.plan import read_plan
from tests.cli.command import files, reviews, write_rows
from tests.model_fixtures import write_checkpoint

from lowland.errors import UserError
from lowland.report.runs import read_experiment

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "records"
PLANS = sorted((RECORDS / "plans").glob("*.toml"))

TINY = """
seconds = 1

[claim]
letter = "g"
name = "tiny"
question = "does it run?"
statement = "It runs"
rule = "gain"
step = "last-step"
cells = [1]

[axis]
"data.label_noise" = [0.0, 0.4]

[tuning]
seeds = 1
learning_rate = [0.001, 0.01]
rho = [0.05, 0.1]
cells = [0]

[comparison]
seeds = 2
first = 3

[settings]
model = "MODEL"

[settings.data]
held_out = 8

[settings.data.custom]
train = "TRAIN"
evaluation = "DEV"
input = "{text}"
target = "{label}"

[settings.train]
steps = 4
batch_size = 8
evaluate_every = 2
precision = "fp32"
input_length = 48
target_length = 8
"""


@pytest.mark.parametrize("folder", sorted(path.parent for path in RECORDS.glob("*/result.json")), ids=str)
def test_results_follow_from_the_raw_lines(folder: Path) -> None:
    """Every record's result and page are what its plan, its chosen settings and its raw lines give."""
    written = json.loads((folder / "result.json").read_text())
    computed = results.compute(folder)
    # Means are sums of floats, whose last digit another NumPy may round otherwise.
    assert rounded(computed) == rounded(written)
    assert (folder / "README.md").read_text() == page.page(written, page.again(folder))


def test_the_table_of_claims_follows_from_the_records() -> None:
    """The table in records/README.md is the one that the records give: nothing is typed in by hand."""
    assert claims.claims(RECORDS) in (RECORDS / "README.md").read_text()


def test_every_claim_has_one_plan() -> None:
    """The plans are those of the claims a to w, each readable, with a cost and settings that build."""
    studies = [replicate.Study(read_plan(path), Path("runs"), None) for path in PLANS]
    assert [study.plan.claim["letter"] for study in studies] == list("abcdefghijklmnopqrstuvw")
    for study in studies:
        assert " h at most" in study.cost()
        for cell in range(len(study.plan.cells)):
            config = study.config(cell, "sam", study.seeds, {"train.learning_rate": 0.01})
            assert config.train.learning_rate == 0.01 and config.data.held_out
        assert not set(study.seeds) & set(study.tuning_seeds)


@pytest.mark.parametrize("folder", sorted(RECORDS.glob("*_checkpoints")), ids=str)
def test_tables_of_checkpoints_follow_from_the_raw_lines(folder: Path) -> None:
    """The scores of two checkpoints are those of their evaluations, and the record's page has their table."""
    written = json.loads((folder / "scores.json").read_text())
    lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    for task in written["tasks"]:
        for model, scores in enumerate(task["scores"]):
            found = {
                line["seed"]: sum(line["metrics"].values()) / len(line["metrics"])
                for line in lines
                if (line["stage"], line["split"]) == ("comparison", "evaluation")
                and (line["task"], line["model"]) == (task["task"], model)
            }
            assert scores == pytest.approx([found[seed] for seed in sorted(found)])
    table = checkpoints.page(written["tasks"], written["models"])
    assert table == (folder / "table.md").read_text()
    assert table.strip() in (folder / "README.md").read_text()


def rounded(value: Any) -> Any:
    """The same with numbers to nine digits."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def write_plan(folder: Path) -> Path:
    """A plan of a tiny model on made-up rows."""
    write_checkpoint(folder / "model", "t5.1.1")
    places = {
        "MODEL": folder / "model",
        "TRAIN": write_rows(folder / "train.jsonl", reviews(40)),
        "DEV": write_rows(folder / "dev.jsonl", reviews(8, 100)),
    }
    text = TINY
    for name, place in places.items():
        text = text.replace(f'"{name}"', json.dumps(str(place)))
    (folder / "plan.toml").write_text(text)
    return folder / "plan.toml"


@pytest.mark.timeout(400)  # nine runs and two commands
def test_a_plan_is_run_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command tunes, compares on other seeds and writes the record, and a second one repeats nothing."""
    plan, to = write_plan(tmp_path), tmp_path / "records"
    to.mkdir()
    (to / "README.md").write_text(f"before\n{claims.BEGIN}\n{claims.END}\nafter\n")
    for module in (page, claims):
        monkeypatch.setattr(module, "HERE", tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "tiny.toml").write_text(plan.read_text())
    words = [str(plan), "--runs", str(tmp_path / "runs"), "--to", str(to)]
    assert replicate.main(words) == 0
    (record,) = to.glob("*_tiny")
    result = json.loads((record / "result.json").read_text())
    assert [cell["cell"] for cell in result["cells"]] == [
        {"data.label_noise": 0.0},
        {"data.label_noise": 0.4},
    ]
    for cell in result["cells"]:
        assert set(cell["chosen"]["sam"]) == {"train.learning_rate", "sam.rho"}
        assert set(cell["chosen"]["standard"]) == {"train.learning_rate"}
        assert cell["held-out"]["seeds"] == 2 and set(cell["held-out"]["scores"]) == {"3", "4"}
    runs = [json.loads(line) for line in (record / "runs.jsonl").read_text().splitlines()]
    tuned = {run["seed"] for run in runs if run["stage"] == "tuning"}
    compared = {run["seed"] for run in runs if run["stage"] == "comparison"}
    assert result["outcome"]["value"] == result["cells"][1]["last-step"]["difference"]
    assert "or the last (the result)." in (record / "README.md").read_text()
    assert tuned == {1000} and compared == {3, 4}
    # Two rates for standard, two rhos and then one more rate for SAM.
    assert len([run for run in runs if run["stage"] == "tuning"]) == 2 + 2 + 1
    assert str(tmp_path) not in (record / "runs.jsonl").read_text()
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    readme = (to / "README.md").read_text()
    assert (
        readme.startswith("before\n") and readme.endswith("after\n") and f"{record.name}/README.md" in readme
    )
    assert rounded(results.compute(record)) == rounded(result)

    before = files(tmp_path / "runs")
    assert replicate.main(words) == 0
    assert files(tmp_path / "runs") == before

    earlier = record.rename(to / "2020-01-01_tiny")
    content = files(earlier)
    assert replicate.main(words) == 0
    assert files(earlier).keys() == content.keys() and list(to.glob("*_tiny")) == [earlier]
    plan.write_text(plan.read_text().replace("It runs", "It walks"))
    content = files(earlier)
    assert replicate.main(words) == 0
    assert files(earlier) == content and record.is_dir()
    assert files(tmp_path / "runs") == before
    assert claims.claims(to).count("_tiny/README.md") == 2

    assert replicate.main([*words, "--seeds", "998"]) == 2
    assert "Seeds from 3 on leave room for 997, not 998." in capsys.readouterr().err
    assert replicate.main([*words, "--seeds", "1"]) == 2
    assert "holds 2 seeds, and this would replace them by 1" in capsys.readouterr().err
    plan.write_text(plan.read_text().replace("It walks", "It flies"))
    assert replicate.main(words) == 2
    assert "a record of another plan, made today" in capsys.readouterr().err
    assert files(tmp_path / "runs") == before

    lines = (record / "evaluations.jsonl").read_text().replace('"accuracy": 0.0', '"accuracy": 99.0')
    lines = lines.replace('"accuracy": 50.0', '"accuracy": 98.0')
    (record / "evaluations.jsonl").write_text(lines)
    assert rounded(results.compute(record)) != rounded(result)


def scores(*differences: float, base: float = 70.0) -> dict[str, dict[int, float]]:
    """A cell in which SAM differs by these amounts."""
    standard = {seed: base + seed for seed in range(len(differences))}
    return {"standard": standard, "sam": {seed: standard[seed] + d for seed, d in enumerate(differences)}}


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
    assert judge.judge(claim, [scores(*cell) for cell in cells], {})["word"] == word


def test_no_claim_is_decided_early_or_without_spread() -> None:
    """Fewer seeds than planned decide nothing, and equal differences do from six seeds on."""
    rule = {"rule": "gain"}
    assert judge.judge(rule, [scores(*UP)], {}, 3)["word"] == "confirmed"
    found = judge.judge(rule, [scores(*UP)], {}, 4)
    assert found["word"] == "undecided"
    assert "3 of 4 planned seeds" in page.sentence(found)
    assert judge.judge(rule, [scores(*[1.0] * 5)], {})["word"] == "undecided"
    assert judge.judge(rule, [scores(*[1.0] * 6)], {})["word"] == "confirmed"


@pytest.mark.parametrize(
    ("text", "replacement", "said"),
    [
        ('rule = "gain"', 'rule = "grow"', "rule 'grow' is not one of gain"),
        ('rule = "gain"', 'rule = "trend"', "lacks ends"),
        ('letter = "g"', "", "lacks letter"),
        ("cells = [1]", "cells = [2]", "there are cells 0 to 1"),
        ("seeds = 2", "seeds = 0", "seeds of comparison must be a number above 0"),
        ("[0.0, 0.4]", '[0.0, 0.4]\n"sam.rho" = [0.1]', "axis must be one setting"),
        ("first = 3", "first = 999", "first must leave all seeds below 1000"),
        ("last-step", "best", "step 'best' is not one of held-out, last-step"),
        ("seconds = 1", "", "lacks seconds"),
        ("seconds = 1", "seconds =", "not a plan"),
    ],
)
def test_mistakes_in_plans_are_told_before_any_run(
    tmp_path: Path, text: str, replacement: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that could not be judged is refused in a sentence with its file, exit code 2."""
    plan = tmp_path / "plan.toml"
    plan.write_text(TINY.replace(text, replacement))
    assert replicate.main([str(plan), "--cost"]) == 2
    err = capsys.readouterr().err
    assert said in err and str(plan) in err


def test_a_candidate_that_diverges_is_worst(tmp_path: Path) -> None:
    """A learning rate with which training fails is not chosen, and does not stop the plan."""
    path = write_plan(tmp_path)
    path.write_text(path.read_text().replace("[0.001, 0.01]", "[1e30, 0.01]"))
    study = replicate.Study(read_plan(path), tmp_path / "runs", None)
    rates = [{"train.learning_rate": rate} for rate in (1e30, 0.01)]
    assert study.choose(0, "standard", rates) == {"train.learning_rate": 0.01}
    with pytest.raises(UserError, match="Training fails with each of"):
        study.choose(0, "standard", [{"train.learning_rate": rate} for rate in (1e30, 1e31)])


@pytest.mark.timeout(300)
def test_a_cell_alone_runs_its_seeds_side_by_side(tmp_path: Path) -> None:
    """With one cell left and several jobs, its seeds are the jobs; runs that diverge fail it as ever."""
    study = replicate.Study(read_plan(write_plan(tmp_path)), tmp_path / "runs", None, jobs=2)
    good = study.config(0, "standard", study.seeds, {replicate.RATE: 0.01})
    study.execute("comparison", [good])
    path = study.path("comparison", good)
    assert sorted(log.name for log in (path / "jobs").glob("*.log")) == ["seed3.log", "seed4.log"]
    assert [run.state for run in read_experiment(path).runs] == ["done", "done"]
    with pytest.raises(UserError, match="Every run failed"):
        study.execute("comparison", [study.config(0, "standard", study.seeds, {replicate.RATE: 1e30})])


@pytest.mark.parametrize(
    ("times", "word"),
    [((1.2, 1.21, 1.19), "confirmed"), ((1.4, 1.41, 1.39), "not confirmed"), ((1.0, 1.6, 1.2), "undecided")],
)
def test_cost_is_judged_by_the_ratio_of_times(times: tuple[float, ...], word: str) -> None:
    """SAM's time by that of standard training, seed by seed, is held against the limit."""
    seconds = {(0, "standard", seed): 10.0 for seed in range(3)}
    seconds |= {(0, "sam", seed): 10.0 * ratio for seed, ratio in enumerate(times)}
    found = judge.judge({"rule": "cost", "reference": 0, "limit": 1.25}, [scores(*LITTLE)], seconds)
    assert found["word"] == word and math.isclose(found["value"], sum(times) / 3)


CHECKPOINTS = """
seconds = 1

[tuning]
seeds = 1
learning_rate = [0.001, 0.01]

[comparison]
seeds = 2

[settings.data]
held_out = 4
evaluation_limit = 4

[settings.train]
batch_size = 4
precision = "fp32"
input_length = 32
target_length = 8

[[tasks]]
name = "facts/continents"
steps = 2
"""


def test_two_checkpoints_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint and its copy score alike, nothing runs twice, and other weights are other runs."""
    plan = tmp_path / "plan.toml"
    plan.write_text(CHECKPOINTS)
    monkeypatch.setattr(checkpoints, "PLAN", plan)
    for name in ("one", "copy"):
        write_checkpoint(tmp_path / name, "t5.1.1")
    shutil.copyfile(tmp_path / "one/model.safetensors", tmp_path / "copy/model.safetensors")
    words = [str(tmp_path / "one"), str(tmp_path / "copy"), "--runs", str(tmp_path / "runs")]
    words += ["--to", str(tmp_path)]
    assert checkpoints.main(words) == 0
    (record,) = tmp_path.glob("*_checkpoints")
    (task,) = json.loads((record / "scores.json").read_text())["tasks"]
    assert task["scores"][0] == task["scores"][1] and len(task["scores"][0]) == 2
    assert "no difference detected" in capsys.readouterr().out
    # Two rates and two seeds of each checkpoint.
    assert len((record / "runs.jsonl").read_text().splitlines()) == 2 * (2 + 2)
    before = files(tmp_path / "runs")
    assert checkpoints.main(words) == 0
    assert files(tmp_path / "runs") == before
    write_checkpoint(tmp_path / "copy", "t5")
    assert checkpoints.main(words) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_the_lengths_of_steps(tmp_path: Path) -> None:
    """Every step of every rate has its length, in proportion to the rate; the first is the distance."""
    words = [str(write_plan(tmp_path)), "--learning-rate", "0.01", "0.005", "--out", str(tmp_path / "out")]
    assert steps.main(words) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "steps.jsonl").read_text().splitlines()]
    assert [(line["learning_rate"], line["step"]) for line in lines] == [
        (rate, step) for rate in ("0.01", "0.005") for step in (1, 2, 3, 4)
    ]
    first, half = lines[0], lines[4]
    assert first["loss"] == half["loss"]
    # In fp32 the weights hold the step to some digits less than they have.
    assert first["from_start"] == first["length"] == pytest.approx(2 * half["length"], rel=1e-3)
    for line in lines:
        assert 0 < line["length_without_table"] < line["length"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "sam.jsonl").read_text().splitlines()]
    assert [(line["rho"], line["step"]) for line in lines] == [
        (rho, n) for rho in (0.02, 0.2) for n in (1, 2, 3, 4)
    ]
    # From one start and on the same examples, the larger radius reaches the higher loss.
    assert lines[0]["ascent_loss"] == lines[4]["ascent_loss"]
    assert lines[0]["loss"] < lines[4]["loss"]
    assert (tmp_path / "out" / "steps.png").stat().st_size > 0
    assert steps.main([str(tmp_path / "none.toml"), *words[1:]]) == 2


@pytest.mark.parametrize("folder", sorted(RECORDS.glob("*_control")), ids=str)
def test_the_table_of_the_control_follows_from_its_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control's settings, scores and table are those that its recorded runs give, without new ones."""

    def untrained(run: control.Digits) -> None:
        raise AssertionError(f"{run} is not recorded")

    monkeypatch.setattr(control, "train", untrained)
    runs = control.Control(folder / "runs.jsonl")
    cells = [selected for cell in runs.cells() for selected in cell]
    assert cells == json.loads((folder / "scores.json").read_text())
    assert control.page(cells) == (folder / "table.md").read_text()
    assert control.page(cells).strip() in (folder / "README.md").read_text()


def test_a_control_goes_on_and_shares_everything_but_the_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a radius of nothing SAM scores as standard training does, and what is done is not done again."""
    for name, value in {
        "STEPS": 4, "EVALUATE_EVERY": 2, "SEEDS": 2, "TUNING_SEEDS": 1, "RHOS": (0.0,), "LABEL_NOISE": (0.4,),
        "OPTIMIZERS": {"sgd": (0.1, 0.01), "adamw": (0.001,)},
    }.items():  # fmt: skip
        monkeypatch.setattr(control, name, value)
    assert control.main(["--out", str(tmp_path)]) == 0
    cells = json.loads((tmp_path / "scores.json").read_text())
    assert len(cells) == 4 and "no difference detected" in capsys.readouterr().out
    for cell in cells:
        assert cell["scores"]["standard"] == cell["scores"]["sam"]
        assert cell["chosen"]["standard"]["learning_rate"] == cell["chosen"]["sam"]["learning_rate"]
    before = {name: (tmp_path / name).read_bytes() for name in ("runs.jsonl", "scores.json", "table.md")}
    lines = before["runs.jsonl"].splitlines(keepends=True)
    (tmp_path / "runs.jsonl").write_bytes(b"".join(lines[:-1]))
    assert control.main(["--out", str(tmp_path)]) == 0
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_the_controls_labels_are_as_wrong_as_asked() -> None:
    """Of the training labels the share that was asked for is wrong, whole, and the evaluation's are right."""
    run = {"optimizer": "sgd", "learning_rate": 0.1, "rho": None, "seed": 3}
    parts = control.rows_of(control.Digits(**run, label_noise=0.4))
    clean = control.rows_of(control.Digits(**run, label_noise=0.0))
    right = {(16 * row).astype(int).tobytes(): label for row, label in zip(*control.digits(), strict=True)}
    for pixels, labels in clean.values():
        for row, label in zip(pixels.numpy(), labels, strict=True):
            assert right[(16 * row).astype(int).tobytes()] == label
    differ = {name: int((parts[name][1] != clean[name][1]).sum()) for name in parts}
    assert differ == {"train": 320, "held_out": 80, "evaluation": 0}
    for name, (pixels, _) in parts.items():
        assert (pixels == clean[name][0]).all()

"""How records are made: plans that are run, checkpoints that are compared, steps and controls."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from records import checkpoints, claims, control, page, replicate, results, steps
from records.plan import read_plan
from tests.cli.command import files, reviews, write_rows
from tests.model_fixtures import write_checkpoint
from tests.test_records import rounded

from lowland.errors import UserError
from lowland.report.runs import read_experiment

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

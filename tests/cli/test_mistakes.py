"""What a user gets wrong: exit code 2, one sentence that says what and where, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import SMALL, Result, call, reviews, write_rows

ON_TASK = "compare facts/continents"
ON_ROWS = "compare --train {d}/train.jsonl --eval {d}/dev.jsonl --input {{text}} --target {{label}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good and bad files; the working directory is an empty one beside it."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_rows(data / "train.jsonl", reviews(20))
    write_rows(data / "dev.jsonl", reviews(4, start=50))
    lines = (data / "train.jsonl").read_text().splitlines()
    (data / "broken.jsonl").write_text("\n".join([*lines[:2], '{"text": "a",', *lines[2:]]) + "\n")
    (data / "empty.jsonl").write_text("")
    (data / "short.tsv").write_text("text\tlabel\na\tyes\nb\n")
    (data / "nolabel.jsonl").write_text('{"text": "a", "label": null}\n')
    (data / "bad.toml").write_text("[train\nsteps = 3\n")
    (data / "unknown.toml").write_text("[train]\nstep = 3\n")
    (data / "kind.toml").write_text('[train]\nsteps = "many"\n')
    (data / "notes").mkdir()
    (data / "notes" / "todo.txt").write_text("mine\n")
    return data


def check(result: Result, expected: list[str]) -> None:
    """Checks that a mistake is answered well."""
    assert result.code == 2, result.out
    assert result.err.startswith("lowland: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert result.out == ""
    for part in expected:
        assert part in result.err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("comparr", ["Unknown verb 'comparr'", "compare"]),
        ("compare", ["nothing to train on", "lowland tasks"]),
        (f"{ON_TASK} --roh 0.1", ["--roh", "--rho"]),
        (f"{ON_TASK} --rho", ["--rho", "value is missing"]),
        (f"{ON_TASK} --steps 1.5", ["--steps", "whole number", "'1.5'"]),
        (f"{ON_TASK} --schedule liner", ["--schedule", "linear", "'liner'"]),
        (f"{ON_TASK} --seeds 1,x", ["--seeds", "'1,x'"]),
        (f"{ON_TASK} --seeds 1,1", ["seeds", "different"]),
        (f"{ON_TASK} --seeds 0", ["seeds"]),
        ("train facts/continents --seed -1", ["seeds", ">= 0"]),
        ("train facts/continents --arm sgd", ["--arm", "sam or standard"]),
        ("compare fact/continents", ["Unknown task or mixture 'fact/continents'", "facts/continents"]),
        (f"{ON_TASK} --rho -1", ["rho=-1", ">= 0"]),
        (f"{ON_TASK} --rho nan", ["rho=nan", "finite"]),
        (f"{ON_TASK} --rho inf", ["rho=inf", "finite"]),
        (f"{ON_TASK} --ascent 0", ["ascent=0", "(0, 1]"]),
        (f"{ON_TASK} --ascent 2.0", ["ascent=2.0", "(0, 1]"]),
        (f"{ON_TASK} --ascent 64", ["ascent=64", "batch size"]),
        (f"{ON_TASK} --m 3", ["m=3", "divide"]),
        (f"{ON_TASK} --m 32", ["ascent=0.25", "32"]),
        (f"{ON_TASK} --steps 0", ["steps=0", ">= 1"]),
        (f"{ON_TASK} --dropout 1", ["dropout=1.0"]),
        (f"{ON_TASK} --learning-rate 0", ["learning_rate=0.0"]),
        (f"{ON_TASK} --fraction 0", ["fraction=0.0"]),
        (f"{ON_TASK} --fraction nan", ["fraction=nan"]),
        (f"{ON_TASK} --held-out nan", ["held_out=nan"]),
        (f"{ON_TASK} --held-out 1.5", ["held_out=1.5"]),
        (f"{ON_TASK} --held-out 100000 --held-out-limit 100000", ["facts/continents", "--held-out"]),
        (f"{ON_TASK} --preset dem", ["preset 'dem'", "demo"]),
        (f"{ON_TASK} --config {{d}}/no.toml", ["no.toml"]),
        (f"{ON_TASK} --config {{d}}/bad.toml", ["bad.toml", "line 1"]),
        (f"{ON_TASK} --config {{d}}/unknown.toml", ["train.step", "train.steps"]),
        (f"{ON_TASK} --config {{d}}/kind.toml", ["train.steps='many'", "whole number"]),
        (f"{ON_TASK} --model {{d}}/nowhere", ["nowhere", "directory"]),
        (f"{ON_TASK} --model {{d}}/notes", ["notes", "config.json"]),
        (f"{ON_TASK} --out {{d}}/notes", ["notes", "--out"]),
        (f"{ON_TASK} --out {{d}}/empty.jsonl", ["empty.jsonl", "--out"]),
        ("compare glue/sst2", ["glue/sst2", "SST-2/train.tsv"]),
        ("compare glue/sst2 --data-dir {d}/nowhere", ["nowhere"]),
        ("compare glue/sst2 --data-dir {d}/notes", ["glue/sst2", "train.tsv", "SST-2"]),
        ("compare --train {d}/train.jsonl --eval {d}/dev.jsonl --input {{text}}", ["--target is missing"]),
        (f"{ON_ROWS} --target {{{{labe}}}}", ["train.jsonl, line 1", "'labe'", "'label'"]),
        (f"{ON_ROWS} --input {{{{text", ["{text", "brace"]),
        (f"{ON_ROWS} --input {{{{text.__class__}}}}", ["text.__class__"]),
        (f"{ON_ROWS} --input review", ["review", "no field"]),
        (f"{ON_ROWS} --metric acuracy", ["acuracy", "accuracy"]),
        (f"{ON_ROWS} --metric pearson", ["pearson", "number"]),
        (f"{ON_ROWS} --name ../up", ["../up"]),
        (f"{ON_ROWS} --name facts/continents facts/continents", ["facts/continents", "--name"]),
        (f"{ON_ROWS} --train {{d}}/broken.jsonl", ["broken.jsonl, line 3", "JSON"]),
        (f"{ON_ROWS} --train {{d}}/empty.jsonl", ["empty.jsonl", "empty"]),
        (f"{ON_ROWS} --train {{d}}/short.tsv", ["short.tsv, line 3", "'label'"]),
        (f"{ON_ROWS} --train {{d}}/nolabel.jsonl", ["nolabel.jsonl, line 1", "'label'"]),
        (f"{ON_ROWS} --train {{d}}/no.jsonl", ["no.jsonl", "does not exist"]),
        (f"{ON_ROWS} --train {{d}}/notes/todo.txt", ["todo.txt", ".jsonl"]),
        ("eval --model embedded", ["nothing to score"]),
        ("eval facts", ["--model", "Missing"]),
        ("eval facts --model {d}/nowhere", ["nowhere"]),
        ("eval facts --model embedded --limit 0", ["--limit", "at least 1"]),
        ("eval facts --model embedded --batch-size 0", ["--batch-size", "at least 1"]),
        ("eval --eval {d}/dev.jsonl --target {{label}} --model embedded", ["--input is missing"]),
        ("predict --model embedded", ["Missing", "--input"]),
        ("report {d}/notes", ["notes"]),
        ("report {d}/nowhere", ["nowhere"]),
        ("report", ["DIR"]),
        ("tasks glue/sst", ["glue/sst2"]),
        ("doctor --batch-size 0", ["--batch-size", "at least 1"]),
        ("doctor now", ["'now'"]),
    ],
)  # fmt: skip
def test_mistake(folder: Path, command: str, expected: list[str]) -> None:
    """A mistake gets exit code 2 and a sentence that names what and where; no file is left."""
    before = sorted(folder.rglob("*"))
    check(call(*command.format(d=folder).split()), expected)
    assert list(Path.cwd().iterdir()) == []
    assert sorted(folder.rglob("*")) == before


def test_directory_of_another_experiment(experiment: Path) -> None:
    """A directory with an experiment of other settings is refused, with both values, and left alone."""
    before = (experiment / "experiment.toml").read_bytes()
    result = call("compare", "facts/continents", *SMALL, "--rho", "0.5", "--out", experiment)
    check(result, [str(experiment), "sam.rho: 0.15 there, 0.5 here", "--out"])
    assert (experiment / "experiment.toml").read_bytes() == before


def test_lock_alone_is_no_obstacle(tmp_path: Path) -> None:
    """A directory that holds nothing but the lock of a killed process is used: only the model is wrong."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").touch()
    result = call("compare", "facts/continents", "--model", tmp_path / "none", "--out", tmp_path / "out")
    check(result, ["none", "directory"])

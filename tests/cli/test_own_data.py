"""A user's own files: from rows to a comparison, to a model, and to predictions."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from tests.cli.command import SMALL, call, reviews, succeed, trajectory, write_rows
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

TEMPLATES = ["--input", "review: {text}", "--target", "{label}"]


@pytest.mark.parametrize("suffix", [".csv", pytest.param(".jsonl", marks=pytest.mark.slow)])
def test_formats_agree(tmp_path: Path, own_experiment: Path, suffix: str) -> None:
    """The same rows give the same trajectory whether they come as TSV, CSV, JSON or JSONL."""
    train = write_rows(tmp_path / f"train{suffix}", reviews(40))
    dev = write_rows(tmp_path / "dev.json", reviews(8, start=100))
    metrics = ["--metric", "accuracy", "--metric", "macro_f1"]
    succeed(
        "train", "--train", train, "--eval", dev, *TEMPLATES, *metrics, *SMALL, "--out", tmp_path / "out"
    )  # fmt: skip
    assert trajectory(tmp_path / "out" / "sam-seed0") == trajectory(own_experiment / "sam-seed0")


def test_model_loads_with_transformers(own_experiment: Path, tmp_path: Path) -> None:
    """What transformers' own from_pretrained and generate write is what `lowland predict` writes."""
    model = AutoModelForSeq2SeqLM.from_pretrained(own_experiment / "model")
    tokenizer = AutoTokenizer.from_pretrained(own_experiment / "model")
    rows = reviews(3, start=7)
    expected = []
    for row in rows:
        ids = tokenizer(f"review: {row['text']}", return_tensors="pt")
        written = model.generate(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            max_new_tokens=62,
            do_sample=False,
        )
        expected.append(tokenizer.decode(written[0], skip_special_tokens=True))
    source = write_rows(tmp_path / "new.jsonl", [{"id": i, "text": r["text"]} for i, r in enumerate(rows)])
    result = succeed("predict", "--model", own_experiment / "model", "--input", source, "--precision", "fp32")
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["prediction"] for line in lines] == expected
    assert [(line["id"], line["text"]) for line in lines] == [(i, r["text"]) for i, r in enumerate(rows)]
    assert result.err == ""


def test_predict_table(own_experiment: Path, tmp_path: Path) -> None:
    """Rows come back in the columns of the file with one more, and no cell is changed, '=1+1' neither."""
    source = tmp_path / "new.csv"
    source.write_text('text,note\n"warm, ""good""",=1+1\ncold,\n', encoding="utf-8")
    output = tmp_path / "done.csv"
    result = succeed("predict", "--model", own_experiment / "model", "--input", source, "--output", output)
    assert result.out == ""
    rows = list(csv.reader(output.read_text().splitlines()))
    assert rows[0] == ["text", "note", "prediction"]
    assert [row[:2] for row in rows[1:]] == [['warm, "good"', "=1+1"], ["cold", ""]]


def test_predict_reads_what_comparisons_read(own_experiment: Path, tmp_path: Path) -> None:
    """A table with semicolons, packed by gzip, is read for predictions as it is for training."""
    plain, packed = write_rows(tmp_path / "new.csv", reviews(2)), tmp_path / "new.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(b",", b";")))
    model = own_experiment / "model"
    result = succeed("predict", "--model", model, "--input", packed)
    assert result.out == succeed("predict", "--model", model, "--input", plain).out


def test_predict_takes_the_model_of_an_experiment(own_experiment: Path, tmp_path: Path) -> None:
    """An experiment's directory stands for the model to use in it, with a word."""
    rows = write_rows(tmp_path / "new.jsonl", reviews(2))
    result = succeed("predict", "--model", own_experiment, "--input", rows)
    assert result.out == succeed("predict", "--model", own_experiment / "model", "--input", rows).out
    assert "The model to use of this experiment is" in result.err


def test_predict_by_task(experiment: Path, tmp_path: Path) -> None:
    """A model of one registered task writes its inputs as the task does, and needs no answers in the rows."""
    question = "on which continent is Chad?"
    rows = write_rows(tmp_path / "new.jsonl", [{"question": question}])
    written = write_rows(tmp_path / "written.jsonl", [{"x": f"continents question: {question}"}])
    model = experiment / "model"
    (by_task,) = succeed("predict", "--model", model, "--input", rows).out.splitlines()
    (by_hand,) = succeed(
        "predict", "--model", model, "--input", written, "--template", "{x}"
    ).out.splitlines()
    assert json.loads(by_task)["prediction"] == json.loads(by_hand)["prediction"]


def test_eval_reproduces_the_log(own_experiment: Path, experiment: Path) -> None:
    """`lowland eval` gives an exported model the scores that its run logged, for own rows and for a task."""
    dev = own_experiment.parent / "dev.tsv"
    own = ["--eval", dev, "--target", "{label}", "--metric", "accuracy", "--metric", "macro_f1"]
    for folder, what, name, logged_as in (
        (own_experiment, own, "dev", "train"),
        (experiment, ["facts/continents", "--limit", "8"], "facts/continents", "facts/continents"),
    ):
        result = succeed("eval", *what, "--model", folder / "model", "--precision", "fp32", "--json")
        (found,) = json.loads(result.out)["sets"].items()
        assert found[0] == name
        logged = [
            json.loads(line)["metrics"]
            for log in folder.glob(f"*/eval/{logged_as}.jsonl")
            for line in log.read_text().splitlines()
            if json.loads(line)["split"] == "evaluation"
        ]
        card = (folder / "model" / "README.md").read_text()
        assert found[1]["metrics"] in logged
        for value in found[1]["metrics"].values():
            assert f"| {value:.2f} |" in card


def test_eval_table_and_predictions(own_experiment: Path, tmp_path: Path) -> None:
    """The table names set, number and score, and the predictions lie in a file with inputs and targets."""
    dev = own_experiment.parent / "dev.tsv"
    result = succeed(
        "eval", "--eval", dev, "--target", "{label}", "--limit", "3", "--name", "mine",
        "--model", own_experiment / "model", "--predictions", tmp_path / "predictions",
    )  # fmt: skip
    assert "mine" in result.out
    assert "accuracy" in result.out
    lines = (tmp_path / "predictions" / "mine.jsonl").read_text().splitlines()
    assert [json.loads(line)["inputs"] for line in lines] == [
        f"review: {row['text']}" for row in reviews(3, start=100)
    ]


def test_recipe(own_experiment: Path, experiment: Path) -> None:
    """An exported model says how its inputs were written: the template of own files, or the task."""
    own, task = (
        json.loads((folder / "model" / "lowland.json").read_text()) for folder in (own_experiment, experiment)
    )
    assert (own["tasks"], own["template"]) == (["train"], "review: {text}")
    assert (task["tasks"], task["template"]) == (["facts/continents"], None)


def test_predict_mistakes(own_experiment: Path, tmp_path: Path) -> None:
    """What predict cannot do is said in one sentence with file and line, and no output is written."""
    model = str(own_experiment / "model")
    output = tmp_path / "done.csv"
    rows = write_rows(tmp_path / "new.jsonl", [{"text": "a"}, {"texts": "b"}])
    done = write_rows(tmp_path / "done.jsonl", [{"text": "a", "prediction": "b"}])
    for words, expected in (
        (
            ["--model", model, "--input", str(rows)],
            "new.jsonl, line 2: the field 'text' is missing; did you mean 'texts'?",
        ),
        (["--model", model, "--input", str(done)], "--field"),
        (["--model", model, "--input", str(tmp_path / "no.csv")], "no.csv does not exist"),
        (["--model", "embedded", "--input", str(rows)], "--template"),
        (["--model", str(tmp_path / "no"), "--input", str(rows)], "is no directory"),
        (["--model", model, "--input", str(rows), "--task", "glue/sst"], "glue/sst2"),
    ):
        result = call("predict", *words, "--output", str(output))
        assert result.code == 2
        assert expected in result.err
        assert "Traceback" not in result.err
        assert not output.exists()
    assert call("predict", "--model", model, "--input", str(rows), "--output", "x.xlsx").code == 2
    words = ["--model", model, "--input", str(tmp_path / "no.csv"), "--output", str(rows)]
    assert call("predict", *words).err.endswith("no.csv does not exist.\n")

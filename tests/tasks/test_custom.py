"""A user's own data: templates, files, metrics, and what is said about the data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.errors import UserError
from lowland.tasks.custom import CustomTask
from lowland.tasks.fields import Template


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    """Writes rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make(
    folder: Path, train: list[dict[str, Any]], evaluation: list[dict[str, Any]], **options: object
) -> CustomTask:
    """A task of two files of reviews."""
    arguments: dict[str, Any] = {
        "input_template": "review: {text}",
        "target_template": "{label}",
        **options,
    }
    files = jsonl(folder / "train.jsonl", *train), jsonl(folder / "test.jsonl", *evaluation)
    return CustomTask("mine", *files, **arguments)


GOOD = {"text": "good", "label": "yes"}
BAD = {"text": "bad", "label": "no"}
FINE = {"text": "fine", "label": "yes"}


def test_templates_write_fields_and_plain_braces() -> None:
    """A template writes fields in their places, doubled braces as one, and numbers as text."""
    template = Template("{{a}} {x}: {#1 String} {n} {b}{x}")
    assert template.fields == ("x", "#1 String", "n", "b")
    assert template.fill({"x": "{y}", "#1 String": "s", "n": 1.5, "b": True}) == "{a} {y}: s 1.5 True{y}"


@given(st.text(max_size=30), st.text(max_size=30))
def test_templates_never_look_into_values(before: str, value: str) -> None:
    """Whatever text stands around and in a field comes out unchanged, braces too."""
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert Template(escaped + "{x}").fill({"x": value}) == before + value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "empty braces"),
        ("{ }", "empty braces"),
        ("{a.b}", "reaches into"),
        ("{a[0]}", "reaches into"),
        ("{a.__class__}", "reaches into"),
        ("{a!r}", "':' or '!'"),
        ("{a:>10}", "':' or '!'"),
        ("{a:{b}}", "':' or '!'"),
        ("{a", "unbalanced"),
        ("a}", "unbalanced"),
    ],
)
def test_templates_understand_nothing_else(text: str, message: str) -> None:
    """Attributes, indices, conversions, formats and unbalanced braces are refused at once."""
    with pytest.raises(UserError, match=message):
        Template(text)


def test_custom_data_are_read_and_scored(tmp_path: Path) -> None:
    """Two files and two templates make a task; accuracy is the metric where none is chosen."""
    task = make(tmp_path, [GOOD, BAD], [FINE])
    data = task.load()
    assert [(example.inputs, example.targets) for example in data.train] == [
        ("review: good", "yes"),
        ("review: bad", "no"),
    ]
    assert list(data.evaluation) == ["mine"]
    assert data.warnings == ()
    assert task.metrics == ("accuracy",)
    assert task.evaluate(data.evaluation["mine"], ["yes"]) == {"accuracy": 100.0}
    assert task.evaluate(data.evaluation["mine"], ["Yes"]) == {"accuracy": 0.0}


def test_files_of_different_kinds_go_together(tmp_path: Path) -> None:
    """The training file may be TSV with bare quotes and the evaluation file CSV."""
    train, evaluation = tmp_path / "train.tsv", tmp_path / "test.csv"
    train.write_text('text\tlabel\n"so" good"\t1\nbad\t0\n', encoding="utf-8")
    evaluation.write_text('text,label\n"so ""fine""",1\n', encoding="utf-8")
    data = CustomTask("mine", train, evaluation, "{text}", "{label}", ("f1", "accuracy")).load()
    assert data.train[0].inputs == '"so" good"'
    assert data.evaluation["mine"][0].inputs == 'so "fine"'


@pytest.mark.parametrize("answers", [["Rome", "Roma"], "Rome|Roma"])
def test_questions_may_have_several_answers(tmp_path: Path, answers: object) -> None:
    """The answers' field is a list or a text with bars; any answer counts, in training the target is one."""
    row = {"text": "capital of Italy?", "label": "Rome", "all": answers}
    task = make(tmp_path, [row], [row | {"text": "which city?"}], metrics=("qa",), answers="all")
    data = task.load()
    assert data.evaluation["mine"][0].answers == ("Rome", "Roma")
    assert task.evaluate(data.evaluation["mine"], ["the roma"]) == {"em": 100.0, "f1": 100.0}


def test_without_answers_the_target_is_the_answer(tmp_path: Path) -> None:
    """A metric of answers takes the target where no field with answers is named."""
    task = make(tmp_path, [GOOD], [FINE], metrics=("qa", "exact_match"))
    scores = task.evaluate(task.load().evaluation["mine"], ["Yes!"])
    assert scores == {"em": 100.0, "f1": 100.0, "exact_match": 0.0}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"txt": "x", "label": "yes"}, ["line 2", "'text' is missing", "did you mean 'txt'"]),
        ({"text": "x"}, ["line 2", "'label' is missing"]),
        ({"text": "x", "label": ""}, ["line 2", "target is empty", "label"]),
        ({"text": "x", "label": " "}, ["line 2", "target is empty"]),
        ({"text": "x", "label": None}, ["line 2", "'label'", "target is empty"]),
        ({"text": None, "label": "yes"}, ["line 2", "'text'", "empty (null)"]),
        ({"text": ["x"], "label": "yes"}, ["line 2", "'text'", "it is ['x']"]),
        ({"text": {"a": 1}, "label": "yes"}, ["line 2", "'text'", "it is {'a': 1}"]),
    ],
)
def test_a_wrong_row_is_reported_with_file_line_and_field(
    tmp_path: Path, row: dict[str, Any], words: list[str]
) -> None:
    """A row that does not fill the templates stops the reading with a sentence that names its place."""
    with pytest.raises(UserError) as caught:
        make(tmp_path, [GOOD, row], [FINE]).load()
    for word in ["train.jsonl", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ("acuracy",)}, "Unknown metric 'acuracy'"),
        ({"metrics": ("qa", "f1")}, "two numbers of the name 'f1'"),
        ({"input_template": "text"}, "input template 'text' has no field"),
        ({"target_template": "yes"}, "target template 'yes' has no field"),
    ],
)
def test_wrong_choices_are_refused_at_once(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Metrics and templates are checked before any file is read."""
    with pytest.raises(UserError, match=message):
        make(tmp_path, [GOOD], [FINE], **options)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "a b", ".hidden"])
def test_a_name_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    """A name that could not be a file's name, or would lie elsewhere, is refused."""
    with pytest.raises(UserError, match="must be made of letters"):
        CustomTask(name, tmp_path / "a.csv", tmp_path / "b.csv", "{a}", "{b}")


@pytest.mark.parametrize(
    ("labels", "metric", "message"),
    [
        (("a", "b", "c"), "f1", "two classes"),
        (("1", "two", "3"), "pearson", "needs numbers, but a target is 'two'"),
        (("1", "nan", "3"), "spearman", "needs numbers"),
    ],
)
def test_metrics_are_checked_against_the_targets(
    tmp_path: Path, labels: tuple[str, ...], metric: str, message: str
) -> None:
    """A metric that does not suit the targets is refused when the files are read, not after training."""
    rows = [{"text": str(number), "label": label} for number, label in enumerate(labels)]
    with pytest.raises(UserError, match=message):
        make(tmp_path, rows[:2], rows[2:], metrics=(metric,)).load()


def test_warnings_count_what_is_odd(tmp_path: Path) -> None:
    """Torn inputs, overlap and unseen labels are each reported with their numbers."""
    torn = {"text": "bad", "label": "yes"}
    strange = {"text": "odd", "label": "maybe"}
    warnings = make(tmp_path, [GOOD, GOOD, BAD, torn], [GOOD, strange]).load().warnings
    assert [warning.split(": ", 1)[1] for warning in warnings] == [
        "1 training inputs occur with more than one target.",
        "1 of 2 evaluation inputs occur in training too, which makes the model look better than it is.",
        "1 of 2 evaluation targets never occur in training: 'maybe' (1).",
    ]


def test_one_file_is_split(tmp_path: Path) -> None:
    """A fraction of one file is for evaluation: the same rows each time, and equal inputs on one side."""
    rows = [{"text": f"row {index // 2}", "label": "yes" if index % 4 < 2 else "no"} for index in range(40)]
    path = jsonl(tmp_path / "all.jsonl", *rows)
    data = CustomTask("mine", path, None, "{text}", "{label}", split=0.2).load()
    train, evaluation = data.train, data.evaluation["mine"]
    assert (len(train), len(evaluation)) == (32, 8)
    assert not {example.inputs for example in train} & {example.inputs for example in evaluation}
    assert data == CustomTask("mine", path, None, "{text}", "{label}", split=0.2).load()
    for split, evaluated in ((None, None), (0.2, path), (1.0, None), (0.0, None)):
        with pytest.raises(UserError, match="split"):
            CustomTask("mine", path, evaluated, "{text}", "{label}", split=split)


def test_rows_without_a_target_are_left_out_if_asked(tmp_path: Path) -> None:
    """Rows whose target is empty or null are an error, or left out and counted if asked."""
    train = [GOOD, {"text": "a", "label": ""}, BAD, {"text": "b", "label": None}, {"text": "c", "label": " "}]
    with pytest.raises(UserError, match=r"train.jsonl, line 2: .*'label'.*--skip-empty"):
        make(tmp_path, train, [FINE]).load()
    data = make(tmp_path, train, [FINE], skip_empty=True).load()
    assert [example.targets for example in data.train] == ["yes", "no"]
    assert any("3 rows have an empty target and are left out" in warning for warning in data.warnings)


def test_classes_are_those_of_the_training(tmp_path: Path) -> None:
    """Rows that are scored alone have the classes of the model's training, and its positive class."""
    path = jsonl(tmp_path / "dev.jsonl", {"text": "a", "label": "ham"}, {"text": "b", "label": "ham"})
    alone = CustomTask("mine", None, path, "{text}", "{label}", ("f1",))
    assert alone.evaluate(alone.load().evaluation["mine"], ["ham", "ham"]) == {"f1": 100.0}
    task = CustomTask("mine", None, path, "{text}", "{label}", ("f1",), classes=("ham", "spam"))
    data = task.load()
    assert math.isnan(task.evaluate(data.evaluation["mine"], ["ham", "ham"])["f1"])
    assert task.labels(data.evaluation["mine"]) == ("ham", "spam")
    assert any("none of its 2 targets is 'spam'" in warning for warning in data.warnings)

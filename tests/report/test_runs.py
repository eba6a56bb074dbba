"""Reading an experiment's directory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.fixtures.reports import write_experiment, write_run

from lowland.errors import UserError
from lowland.report.comparison import compare
from lowland.report.runs import read_experiment

SCORES = {"facts/capitals": {100: {"em": 40.0}, 200: {"em": 50.0}}}


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """An experiment with one finished pair."""
    directory = write_experiment(tmp_path / "run", metrics={"facts/capitals": ["em"]}, seeds=[0])
    for arm in ("baseline", "sam"):
        write_run(directory, arm, 0, SCORES)
    return directory


def test_reads_what_was_written(experiment: Path) -> None:
    """A directory comes back as typed data, with one run for every planned arm and seed."""
    found = read_experiment(experiment)
    assert (found.name, found.arms, found.seeds, found.steps) == ("example", ("baseline", "sam"), (0,), 200)
    assert found.metrics == {"facts/capitals": ("em",)}
    run = found.finished("sam")[0]
    assert run.evaluated("evaluation") == {
        100: {"facts/capitals": {"em": 40.0}},
        200: {"facts/capitals": {"em": 50.0}},
    }
    assert not run.evaluated("held_out")


def test_missing_unfinished_and_failed_runs_are_data(tmp_path: Path) -> None:
    """A run that is missing, running or failed has that state and is not among the finished ones."""
    directory = write_experiment(tmp_path / "run", metrics={"facts/capitals": ["em"]}, seeds=[0, 1, 2])
    write_run(directory, "sam", 1, SCORES, state="running", seconds=None)
    write_run(directory, "sam", 2, SCORES, state="failed", error="Out of memory.")
    found = read_experiment(directory)
    assert [run.state for run in found.runs if run.arm == "sam"] == ["missing", "running", "failed"]
    assert found.finished("sam") == {}
    assert found.runs[-1].error == "Out of memory."


def test_a_finished_experiment_without_its_runs_is_told(experiment: Path) -> None:
    """A finished experiment whose links lead nowhere was moved: it is refused before its report is lost."""
    (experiment.parent / "runs").mkdir()
    moved = experiment.parent / "runs" / "1234-seed0"
    (experiment / "sam-seed0").rename(moved)
    (experiment / "sam-seed0").symlink_to("../runs/1234-seed0")
    record = json.loads((experiment / "experiment.json").read_text())
    (experiment / "experiment.json").write_text(json.dumps(record | {"finished": "today"}))
    assert read_experiment(experiment).finished("sam")
    moved.rename(experiment.parent / "elsewhere")
    with pytest.raises(UserError, match=r"sam-seed0 is a link to \.\./runs/1234-seed0, which is not there"):
        read_experiment(experiment)
    (experiment / "experiment.json").write_text(json.dumps(record | {"finished": None}))
    assert read_experiment(experiment).finished("sam") == {}  # it has not begun


def test_a_cut_last_line_is_ignored(experiment: Path) -> None:
    """What a kill leaves of a last line, even within a letter, is dropped."""
    file = experiment / "sam-seed0" / "eval" / "facts" / "capitals.jsonl"
    with file.open("ab") as stream:
        stream.write('{"step": 300, "split": "é'.encode()[:-1])
    run = read_experiment(experiment).finished("sam")[0]
    assert run.evaluated_steps == (100, 200)


def test_a_step_scored_again_counts_once(experiment: Path) -> None:
    """After a resumed run has scored a step a second time the later line counts."""
    file = experiment / "sam-seed0" / "eval" / "facts" / "capitals.jsonl"
    line = {"step": 200, "split": "evaluation", "metrics": {"em": None}, "examples": 1, "seconds": 1.0}
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    run = read_experiment(experiment).finished("sam")[0]
    assert run.evaluated_steps == (100, 200)
    assert math.isnan(run.evaluated("evaluation")[200]["facts/capitals"]["em"])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: this is not valid JSON"),
        ("[]", "line 2: expected a JSON object, not list"),
        ('{"split": "evaluation", "metrics": {"em": 1}}', "line 2: the field 'step' is missing"),
        (
            '{"step": true, "split": "evaluation", "metrics": {"em": 1}}',
            "line 2: 'step' must be a whole number",
        ),
        (
            '{"step": 1, "split": "test", "metrics": {"em": 1}}',
            "line 2: 'split' must be evaluation or held_out",
        ),
        ('{"step": 1, "split": "evaluation", "metrics": {}}', "line 2: 'metrics' lacks 'em'"),
        (
            '{"step": 1, "split": "evaluation", "metrics": {"em": "x"}}',
            "line 2: 'em' must be a number, not 'x'",
        ),
    ],
)
def test_a_malformed_line_is_named(experiment: Path, line: str, problem: str) -> None:
    """A line that contradicts the layout is an error with its file, its number and the field."""
    file = experiment / "sam-seed0" / "eval" / "facts" / "capitals.jsonl"
    first = file.read_text().splitlines()[0]
    file.write_text(f"{first}\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_experiment(experiment)
    assert f"{file}, {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("arms", {"sam": 1}, "'arms' must give an object of changed settings for each arm"),
        ("arms", {}, "'arms' must give an object of changed settings for each arm"),
        ("arms", {"../sam": {}}, "'arms' holds a name that no arm can have"),
        ("seeds", [0, 0], "'seeds' must be a list of different whole numbers"),
        ("seeds", ["../x"], "'seeds' must be a list of different whole numbers"),
        ("metrics", {}, "'metrics' must give a list of names for each evaluation set"),
        ("metrics", {"a": "em"}, "'metrics' must give a list of names for each evaluation set"),
        ("steps", "many", "'steps' must be a whole number, not 'many'"),
    ],
)
def test_a_malformed_plan_is_named(experiment: Path, field: str, value: object, problem: str) -> None:
    """A field of experiment.json that makes no sense is an error that names it."""
    file = experiment / "experiment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(UserError) as caught:
        read_experiment(experiment)
    assert f"{file}: {problem}" in str(caught.value)


def test_a_directory_of_something_else_is_refused(experiment: Path, tmp_path: Path) -> None:
    """A directory without experiment.json is refused, and a single run's points to its experiment."""
    with pytest.raises(UserError, match="is not an experiment's directory"):
        read_experiment(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a single run; give its experiment instead"):
        read_experiment(experiment / "sam-seed0")


def test_what_is_not_planned_is_left_out(experiment: Path) -> None:
    """A run or a set of scores that experiment.json does not list is in no table."""
    write_run(experiment, "sam", 7, SCORES)
    write_run(experiment, "sam", 0, SCORES | {"other": {200: {"em": 1.0}}})
    found = compare(read_experiment(experiment))
    assert [run.title for run in found.runs["sam"]] == ["SAM seed 0"]
    assert [row.evaluation_set for row in found.scored[0].rows] == ["facts/capitals"]

"""`lowland.compare` in Python: the same runs as the command line's, from files and from rows in memory."""

from __future__ import annotations

import json
import math
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import SMALL, call, reviews, succeed, trajectory, write_rows

import lowland
from lowland.cli import command_parser
from lowland.comparison.api import _file_of
from lowland.config.experiment import ExperimentConfig
from lowland.config.options import settings_by_option
from lowland.errors import UserError

TRAIN, TEST = reviews(40), reviews(8, start=100)
SETTINGS = {
    "train.steps": 4,
    "train.batch_size": 8,
    "train.log_every": 1,
    "train.precision": "fp32",
    "data.evaluation_limit": 8,
    "data.held_out_limit": 8,
    "outcomes.measure": [],
}
"""Those of `SMALL`."""


def compare(directory: Path, train: Any = TRAIN, test: Any = TEST, **more: Any) -> Any:
    """A comparison of one seed that takes seconds."""
    return lowland.compare(
        train=train, test=test, input="review: {text}", target="{label}", name="river",
        out=directory, quiet=True, **{"settings": SETTINGS, "seeds": 1, **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a comparison of rows in memory in `out`."""
    folder = tmp_path_factory.mktemp("api")
    compare(folder / "out")
    return folder


def test_the_same_runs_as_the_command_line(folder: Path, tmp_path: Path) -> None:
    """Rows in memory train bit for bit what the command line trains on a file of them."""
    train, test = write_rows(tmp_path / "a.jsonl", TRAIN), write_rows(tmp_path / "b.jsonl", TEST)
    own = ["--train", train, "--test", test, "--input", "review: {text}", "--target", "{label}"]
    succeed("compare", *own, "--name", "river", *SMALL, "--seeds", "1", "--out", tmp_path / "out")
    for run in ("baseline-seed0", "sam-seed0"):
        assert trajectory(folder / "out" / run) == trajectory(tmp_path / "out" / run)


@pytest.mark.parametrize("kind", ["file", "columns", "pandas", "datasets"])
def test_rows_of_any_kind_find_the_same_runs(folder: Path, kind: str, tmp_path: Path) -> None:
    """A file, columns, a frame and a data set of `datasets` are the same rows: nothing is trained again."""
    before = sorted((folder / "runs").glob("*-seed0"))
    train: Any = write_rows(tmp_path / "train.csv", TRAIN)
    if kind == "columns":
        train = {name: [row[name] for row in TRAIN] for name in TRAIN[0]}
    elif kind != "file":
        module = pytest.importorskip(kind)
        train = module.DataFrame(TRAIN) if kind == "pandas" else module.Dataset.from_list(TRAIN)
    result = compare(folder / kind, train=train)
    assert sorted((folder / "runs").glob("*-seed0")) == before
    assert len(result.answer) == 4


def test_what_comes_back(folder: Path) -> None:
    """A finished comparison is read again, with its table, verdicts, answer, model and a page of HTML."""
    report = folder / "out" / "report" / "report.json"
    before = report.stat().st_mtime_ns
    result = compare(folder / "out")
    assert report.stat().st_mtime_ns == before
    assert list(result.answer) == json.loads(report.read_text())["answer"] == str(result).split("\n")
    assert set(result.verdicts) == {"sam"}
    assert (result.model / "model.safetensors").is_file()
    rows = result.table()
    rows = rows if isinstance(rows, list) else rows.to_dict("records")
    assert {row["arm"] for row in rows} == {"baseline", "sam"}
    page = result._repr_html_()
    assert "<table>" in page and "<svg" in page and "river" in page


def test_a_model_that_was_taken_away_comes_again(folder: Path, tmp_path: Path) -> None:
    """Without its model a comparison is not finished: the best undamaged checkpoint is handed over."""
    shutil.copytree(folder, tmp_path / "all", symlinks=True)
    out = tmp_path / "all" / "out"
    card = (out / "model" / "README.md").read_text()
    found = re.search(r"Arm (\w+), seed 0, step (\d+) of", card)
    assert found is not None
    shutil.rmtree(out / "model")
    runs = sorted((tmp_path / "all" / "runs").glob("*-seed0"))
    logs = [(run / "train.jsonl").stat().st_mtime_ns for run in runs]
    weights = out / f"{found[1]}-seed0" / "checkpoints" / f"step-{found[2]}" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    rows = tomllib.loads((out / "experiment.toml").read_text())["data"]["custom"]
    result = compare(out, train=rows["train"], test=rows["evaluation"])
    assert (result.model / "model.safetensors").is_file()
    assert found[0] not in (result.model / "README.md").read_text()
    assert [(run / "train.jsonl").stat().st_mtime_ns for run in runs] == logs


def test_missing_values_of_a_frame_are_missing(tmp_path: Path) -> None:
    """NA, NaT and nan of a pandas frame are null in the rows that are read, and never their names."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": pandas.array(["a", None], dtype="string"),
            "number": pandas.array([1, None], dtype="Int64"),
            "day": [pandas.Timestamp("2024-01-02"), pandas.NaT],
            "share": [0.5, float("nan")],
        }
    )
    path, _ = _file_of(frame, tmp_path)
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert rows[0] == {"text": "a", "number": 1, "day": "2024-01-02T00:00:00.000", "share": 0.5}
    assert rows[1] == dict.fromkeys(frame.columns)


def test_a_tilde_is_the_home_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`out` may begin with `~`: the comparison in the home directory is read again."""
    monkeypatch.setenv("HOME", str(folder))
    assert compare("~/out").directory == folder / "out"  # type: ignore[arg-type]


def test_options_are_keywords(folder: Path) -> None:
    """Keywords named as the command line's options set the same settings: the same runs are found again."""
    before = sorted((folder / "runs").glob("*-seed0"))
    result = compare(
        folder / "options", settings={}, steps=4, batch_size=8, log_every=1, precision="fp32", eval_limit=8,
        held_out_limit=8, outcomes=[], metric="accuracy",
    )  # fmt: skip
    assert sorted((folder / "runs").glob("*-seed0")) == before
    assert set(result.verdicts) == {"sam"}


def test_every_setting_of_the_command_line_is_a_keyword() -> None:
    """Each option of `lowland compare` that stands for a setting is known in Python by its name."""
    made = {
        (option.removeprefix("--"), action.dest)
        for action in command_parser("compare")._actions
        for option in action.option_strings
        if "." in action.dest or action.dest in ("model", "lora", "merge")
    }
    assert set(settings_by_option(ExperimentConfig).items()) == made


def test_own_arms_and_epochs(folder: Path) -> None:
    """Arms are names with the settings that they change; epochs are as many passes over the training rows."""
    settings = {name: value for name, value in SETTINGS.items() if name != "train.steps"}
    result = lowland.compare(
        train=TRAIN, test=TEST, input="review: {text}", target="{label}", seeds=[3], epochs=0.5,
        arms={"baseline": {}, "late": {"sam.rho": 0.1, "sam.start": 0.5}}, settings=settings,
        out=folder / "arms", quiet=True,
    )  # fmt: skip
    assert set(result.verdicts) == {"late"}
    log = (folder / "arms" / "late-seed3" / "train.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["step"] == 3  # half of 40 rows in batches of 8


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"train": [1, 2]}, "Rows must be a file, dictionaries"),
        ({"train": []}, "There are no rows"),
        ({"train": "nowhere.csv"}, r"nowhere\.csv"),
        ({"arms": ["baseline", "sgd"]}, "Unknown arm 'sgd'"),
        ({"epochs": 2}, "Steps and epochs"),
        ({"arms": {"baseline": None}}, "Invalid arms"),
        ({"train": [{"text": "a", "label": math.inf}]}, "of texts, numbers and lists"),
        ({"seeds": 2.5}, "Invalid seeds=2.5"),
        ({"jobs": 0}, "Invalid jobs=0. Must be a whole number >= 1"),
        ({"tune": "2"}, "Invalid tune='2'"),
        ({"settings": {"train.batch_size": 8}, "epochs": "3"}, "Invalid epochs='3'"),
        ({"detect": "1"}, "must be above 0 points, not 1"),
        ({"train": {"text": ["a"], "label": []}}, "Rows must be a file"),
        ({"grid": {"rho": [0.1]}}, "Did you mean arms?"),
        ({"arms": {"a": {"rho": 0.1}}}, "Unknown setting 'rho'. Did you mean sam.rho?"),
        ({"lr": 0.1}, "Unknown keyword of lowland.compare 'lr'. Did you mean learning_rate?"),
        ({"num_train_epochs": 3}, "Did you mean epochs?"),
        ({"output_dir": "x"}, "Did you mean out?"),
        ({"batchsize": 3}, "Did you mean batch_size"),
        ({"rho": "large"}, "sam.rho='large'"),
        ({"settings": {"train.steps": 4}, "steps": 5}, "steps is given in settings, too"),
    ],
)
def test_mistakes(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    """What is wrong is one sentence, and nothing is trained."""
    with pytest.raises(UserError, match=sentence):
        compare(tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_few_rows_are_not_passed_over_hundreds_of_times(tmp_path: Path) -> None:
    """Own rows without --steps get a default by epochs, which the plan tells."""
    train = write_rows(tmp_path / "train.csv", reviews(600))
    own = ["compare", "--train", train, "--split", "0.2", "--input", "{text}", "--target", "{label}"]
    said = " ".join(succeed(*own, "--plan").out.split())
    assert "150 steps of 32 examples" in said and "10 epochs" in said
    assert "Steps and epochs both say" in call(*own, "--steps", "3", "--epochs", "2").err

"""The same command after the data or the weights were corrected: nothing old is shown for new data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.command import SMALL, Result, reviews, succeed, write_rows
from tests.durability.harness import write_task


def compare(folder: Path, *more: str) -> Result:
    """Compares on rows and a tiny model in a folder."""
    own = ["--train", folder / "train.jsonl", "--eval", folder / "dev.jsonl", "--model", folder / "model"]
    texts = ["--input", "{text}", "--target", "{label}", "--target-length", "4"]
    seeds = [] if "--seeds" in more else ["--seeds", "1"]
    return succeed("compare", *own, *texts, *SMALL, "--steps", "1", *seeds, *more, "--out", folder / "out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows and a tiny model, compared once."""
    write_task(tmp_path)
    write_rows(tmp_path / "train.jsonl", reviews(20))
    write_rows(tmp_path / "dev.jsonl", reviews(8, start=100))
    compare(tmp_path)
    return tmp_path


def edit_label(folder: Path) -> None:
    """Corrects one label of the rows to train on."""
    file = folder / "train.jsonl"
    file.write_text(file.read_text().replace('"yes"', '"no"', 1))


def drop_row(folder: Path) -> None:
    """Takes out a row that is scored."""
    file = folder / "dev.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def edit_weight(folder: Path) -> None:
    """Changes one byte of the weights to start from."""
    file = folder / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("edit", [edit_label, drop_row, edit_weight])
def test_an_edit_makes_new_runs(folder: Path, edit: Callable[[Path], None]) -> None:
    """After an edit both arms are trained anew, and the links lead to them."""
    before = {link.name: link.resolve() for link in (folder / "out").glob("*-seed*")}
    edit(folder)
    result = compare(folder)
    assert "done before" not in result.out
    after = {link.name: link.resolve() for link in (folder / "out").glob("*-seed*")}
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())
    assert all(run.is_dir() for run in [*before.values(), *after.values()])


def test_more_seeds_are_not_averaged_with_those_of_before(folder: Path) -> None:
    """With a seed more after an edit, both seeds are trained on the new rows and scored against them."""
    drop_row(folder)
    result = compare(folder, "--seeds", "2")
    assert "done before" not in result.out
    for seed in (0, 1):
        (file,) = (folder / "out" / f"sam-seed{seed}" / "eval").glob("*.jsonl")
        scored = [json.loads(line) for line in file.read_text().splitlines()]
        assert {line["examples"] for line in scored if line["split"] == "evaluation"} == {7}


def test_an_edit_undone_finds_the_runs_of_before(folder: Path) -> None:
    """What was trained on the rows as they are again is not trained again, nor are rows that were moved."""
    copy = shutil.copy(folder / "train.jsonl", folder / "copy.jsonl")
    edit_label(folder)
    compare(folder)
    shutil.copy(copy, folder / "train.jsonl")
    assert compare(folder).out.count("done before") == 2
    assert compare(folder, "--seeds", "2").out.count("done before") == 2


def test_an_edit_undone_is_reported_on_again(folder: Path) -> None:
    """After an edit and its undoing the directory is of the rows as they are, not of those in between."""
    file, described = folder / "dev.jsonl", folder / "out" / "experiment.json"

    def shown() -> tuple[object, set[Path]]:
        links = {link.resolve() for link in (folder / "out").glob("*-seed*")}
        return json.loads(described.read_text())["content"], links

    first, content = shown(), file.read_text()
    drop_row(folder)
    compare(folder)
    assert shown() != first
    file.write_text(content)
    said = compare(folder).out
    assert shown() == first
    assert said.count("done before") == 2

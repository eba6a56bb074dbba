"""Machines that lack what most have: a home, a folder for temporary files, names that are text."""

from __future__ import annotations

import errno
import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import call, reviews, write_rows

from lowland.cli import COMMANDS, command_parser
from lowland.cli.trouble import disk_error, machine_trouble
from lowland.config.experiment import build_config


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with neither a home nor an entry in the password file, as in many containers."""

    def nobody(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
def test_a_tilde_without_a_home_is_told() -> None:
    """A path that begins with ~ is answered with a sentence where there is no home."""
    result = call(
        "eval", "--eval", "~/dev.csv", "--input", "{text}", "--target", "{label}", "--model", "embedded"
    )
    assert result.code == 2
    assert "begins with ~" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_may_begin_with_a_tilde(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out=~/x`, which no shell expands, is in the home directory, and so is every file and directory."""
    monkeypatch.setenv("HOME", "/homes/ada")
    for action in command_parser(command)._actions:
        if action.metavar in ("FILE", "DIR") or action.dest == "model":
            read: Any = action.type
            assert read("~/x") == "/homes/ada/x", action.dest


def test_every_path_of_a_file_may_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """In settings from TOML and Python, `~` is the home directory, wherever a path is expected."""
    monkeypatch.setenv("HOME", "/homes/ada")
    own = {"train": "~/a.csv", "evaluation": "~/b.csv", "input": "~{text}", "target": "{label}"}
    outcomes = {"general": "~/c.txt", "also": {"more": "~/d.csv"}}
    layer = {"model": "~/t5", "data": {"custom": own, "data_dir": "~/glue"}, "outcomes": outcomes}
    found = build_config(layer).to_dict()
    assert found["data"]["custom"].pop("input") == "~{text}"
    assert "~" not in str(found)
    assert str(found).count("/homes/ada/") == 6


def test_a_file_in_the_place_of_a_directory_is_told() -> None:
    """Where results are to go to a file, what to do is to name another directory, and not to free space."""
    said = str(disk_error(FileExistsError(errno.EEXIST, "File exists", "rows.csv")))
    assert said == "rows.csv: File exists. Give another directory with --out."


def test_names_that_are_not_utf_8_are_refused() -> None:
    """A name in Latin-1 is refused before anything is done, with its bytes."""
    name = os.fsdecode(b"m\xe9ls.jsonl")
    for words in (
        ["train", "--train", name, "--split", "0.2", "--input", "{text}", "--target", "{label}"],
        ["compare", "facts", "--out", name],
        ["report", name],
    ):
        result = call(*words)
        assert result.code == 2
        assert r"m\xe9ls.jsonl is not UTF-8" in result.err and result.err.count("\n") == 1


def lowland(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in which LOWLAND is the command line."""
    here = command.replace("LOWLAND", f"{sys.executable} -m lowland")
    return subprocess.run(["bash", "-c", here], cwd=folder, capture_output=True, text=True, check=False)


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    """A command that is started in a folder that was removed since ends in a sentence."""
    done = lowland(
        "mkdir gone && cd gone && rmdir ../gone && LOWLAND compare facts/continents --plan", tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No such file or directory" in done.stderr


def test_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A full disk behind standard output ends in a sentence, and a reader that has seen enough in nothing."""
    full = lowland("LOWLAND tasks > /dev/full", tmp_path)
    assert (full.returncode, full.stderr.count("\n")) == (2, 1)
    assert "No space left on device. What was saved before is whole. Free some space" in full.stderr
    assert lowland("LOWLAND tasks | true", tmp_path).stderr == ""


def test_a_folder_whose_name_is_not_utf_8_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work goes on in a folder of such a name, as long as no word names it."""
    folder = tmp_path / os.fsdecode(b"d\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_rows(Path("dev.jsonl"), reviews(2))
    own = ["--eval", "dev.jsonl", "--input", "{text}", "--target", "{label}", "--predictions", "out"]
    result = call("eval", *own, "--model", "embedded", "--target-length", "2")
    assert result.code == 0, result.err
    assert (folder / "out" / "dev.jsonl").is_file()


def test_a_machine_without_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, torch itself cannot be loaded: that is told in a sentence."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    sentence = machine_trouble(caught.value)
    assert sentence is not None and "temporary directory" in sentence


def test_a_terminal_that_lacks_characters_is_no_obstacle() -> None:
    """Where the terminal cannot show a text, it is shown escaped."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "lowland", "tasks", "日本"]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 2
    assert b"\\u65e5\\u672c" in done.stderr
    listed = subprocess.run([*command[:-1], "facts/capitals"], capture_output=True, env=environment)
    assert listed.returncode == 0, listed.stderr


@pytest.mark.slow  # loads the libraries in a process of its own
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_predictions_are_utf_8_whatever_the_terminal(tmp_path: Path, encoding: str) -> None:
    """What predict writes to standard output is UTF-8, as its files are."""
    (tmp_path / "rows.jsonl").write_text('{"text": "日本 \U0001f600"}\n', encoding="utf-8")
    script = (
        "import sys; from lowland.cli import main; from lowland.runs import predict as made; "
        "made.predict = lambda *a, **k: ['größe']; sys.exit(main(sys.argv[1:]))"
    )
    words = [
        "predict",
        "--model",
        "embedded",
        "--template",
        "{text}",
        "--input",
        str(tmp_path / "rows.jsonl"),
    ]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "日本 \U0001f600", "prediction": "größe"}

"""A disk that is full, read-only or gone: one sentence, code 2, and what was saved before is whole."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.durability.harness import Machine, check_trust, differences, picture

from lowland.errors import UserError
from lowland.runs.directory import RunDirectory
from lowland.runs.guard import locked


def check_sentence(codes: list[int], output: str, *said: str) -> None:
    """Checks that a command ended with code 2 and one sentence, of which some words are given."""
    assert codes == [2], output
    assert "Traceback" not in output
    last = output[output.rindex("lowland: ") :]
    assert last.count("\n") == 1
    for words in said:
        assert words in last


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.ENOSPC, "No space left on device. What was saved before is whole. Free some space"),
        (errno.EROFS, "Read-only file system. Make it writable, or give another directory"),
        (errno.EIO, "Input/output error. What was saved before is whole."),
    ],
)
@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.5])
def test_a_disk_that_refuses(machine: Machine, folder: Path, error: int, said: str, share: float) -> None:
    """From any operation on: the command names the file and the reason, and goes on once the disk works."""
    out = folder / "out"
    at = int(machine.operations("train") * share)
    known: dict[Path, int] = {}
    ended = machine.run("train", out, at=at, error=error)
    check_sentence(ended.codes, ended.output, str(out), said)
    known = check_trust(out, known)
    ended = machine.run("train", out)
    assert ended.codes == [0], ended.output
    assert differences(picture(out), machine.reference("train")) == []


@pytest.mark.slow
@pytest.mark.parametrize("most", [2_000, 16_000, 30_000])
def test_files_that_cannot_grow(machine: Machine, folder: Path, most: int) -> None:
    """Where the system lets no file grow beyond a size, whichever library writes it, a sentence says so."""
    out = folder / "out"
    ended = machine.run("train", out, largest_file=most)
    check_sentence(ended.codes, ended.output, "File too large")
    check_trust(out, {})
    assert machine.run("train", out).codes == [0]
    assert differences(picture(out), machine.reference("train")) == []


@pytest.mark.parametrize("kind", [shutil.rmtree, lambda path: path.rename(path.with_name("elsewhere"))])
def test_a_directory_that_vanishes(tmp_path: Path, kind: Callable[[Path], object]) -> None:
    """A run whose directory was taken away stops with its name rather than beginning a second one."""
    run = RunDirectory(tmp_path / "out", "sam", 0)
    run.start("", {}, 10)
    kind(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="vanished") as caught:
        run.update(step=3)
    assert caught.value.filename == str(run.path)
    with pytest.raises(FileNotFoundError, match="vanished"):
        run.save_state(3, lambda folder: folder.mkdir(parents=True))
    assert not run.path.exists()


def test_the_lock_names_its_owner(tmp_path: Path) -> None:
    """A second command in a directory is refused with process, host and time of the first."""
    with locked(tmp_path):
        owner = json.loads((tmp_path / ".lock").read_text())
        with pytest.raises(UserError) as caught, locked(tmp_path):
            pass
    for value in owner.values():
        assert str(value) in str(caught.value)
    assert set(owner) == {"process", "host", "since"}


@pytest.mark.parametrize("left", ['{"process": 1, "host": "other", "since": "long ago"}', "process 1", ""])
def test_a_lock_of_the_dead_does_not_hold(tmp_path: Path, left: str) -> None:
    """What a killed command has left in the lock's file does not keep the next one out."""
    (tmp_path / ".lock").write_text(left)
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["since"] != "long ago"


def test_a_lock_without_a_name_still_holds(tmp_path: Path) -> None:
    """A lock whose owner has not written its name yet keeps others out all the same."""
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by another process"), locked(tmp_path):
            pass

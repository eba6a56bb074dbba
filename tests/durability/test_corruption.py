"""Whatever happens to a saved file is found, named, and the one before is used."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.durability.harness import Machine, differences, picture

from lowland.files import SUMS, DamagedError, check_sums, write_sums
from lowland.models.load import load_model
from lowland.train.state import read_values

DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "one bit": lambda whole, chance: _flip(whole, chance, 1),
    "a byte": lambda whole, chance: _flip(whole, chance, 255),
    "cut short": lambda whole, chance: whole[: chance.randrange(len(whole))],
    "last byte": lambda whole, chance: whole[:-1],
    "zeros at the end": lambda whole, chance: whole + b"\0" * 8,
    "a page of zeros": lambda whole, chance: b"\0" * min(512, len(whole)) + whole[512:],
    "empty": lambda whole, chance: b"",
}


def _flip(whole: bytes, chance: random.Random, mask: int) -> bytes:
    damaged = bytearray(whole)
    damaged[chance.randrange(len(whole))] ^= mask if mask > 1 else 1 << chance.randrange(8)
    return bytes(damaged)


@pytest.fixture(scope="module")
def interrupted(machine: Machine, memory: Path) -> Path:
    """A training that was stopped after its second evaluation, with two states and the best checkpoint."""
    out = memory / "interrupted" / "out"
    for at in range(machine.operations("train") // 2, 10, -5):
        if out.exists():
            shutil.rmtree(out)
        assert machine.run("train", out, at=at).killed
        states = {path.name for path in (out / "sam-seed0" / "states").glob("step-*")}
        if states == {"step-2", "step-4"} and not list((out / "runs").rglob(".*.aside")):
            return out
    raise AssertionError("no interruption left the states of both evaluations")


@pytest.fixture(scope="module")
def finished(machine: Machine, memory: Path) -> Path:
    """A training that came to its end."""
    out = memory / "finished" / "out"
    assert machine.run("train", out).codes == [0]
    return out


def damaged_files(folder: Path, times: int) -> Iterator[Path]:
    """Damages each file of a folder in each way, several times; each is whole again afterwards."""
    chance = random.Random(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for damage in DAMAGES.values():
            for _ in range(times):
                damaged = damage(whole, chance)
                if damaged == whole:
                    continue
                path.write_bytes(damaged)
                yield path
        path.unlink()
        yield path
        path.write_bytes(whole)


def test_every_damage_to_a_state_is_found(interrupted: Path) -> None:
    """Each file of a state, flipped at random places, cut, emptied or missing, is found and named."""
    state = interrupted / "sam-seed0" / "states" / "step-4"
    cases = 0
    for path in damaged_files(state, 30):
        with pytest.raises(DamagedError, match=path.name):
            read_values(state)
        cases += 1
    read_values(state)
    print(f"{cases} damages to a state were found")
    assert cases > 300


@pytest.mark.parametrize("which", ["sam-seed0/checkpoints/step-5", "model"])
def test_every_damage_to_a_checkpoint_is_found(finished: Path, folder: Path, which: str) -> None:
    """Each file of a checkpoint and of the exported model, however it is damaged, is found and named."""
    checkpoint = folder / "checkpoint"
    shutil.copytree(finished / which, checkpoint)
    (checkpoint / "README.md").unlink(missing_ok=True)  # there to be edited
    cases = 0
    for path in damaged_files(checkpoint, 20):
        with pytest.raises(DamagedError, match=path.name):
            check_sums(checkpoint)
        cases += 1
    check_sums(checkpoint)
    print(f"{cases} damages to a checkpoint were found")
    assert cases > 600


def test_a_damaged_model_is_not_loaded(finished: Path, folder: Path) -> None:
    """A damaged model is refused with the name of the file, unless its checksums are removed."""
    model = folder / "model"
    shutil.copytree(finished / "model", model)
    weights = model / "model.safetensors"
    weights.write_bytes(_flip(weights.read_bytes(), random.Random(0), 1)[:-1] + b"\1")
    with pytest.raises(ValueError, match=rf"damaged: .*model\.safetensors.*remove {SUMS}"):
        load_model(str(model), dropout=None)
    (model / SUMS).unlink()
    load_model(str(model), dropout=None)


def test_sums_are_those_of_sha256sum(folder: Path) -> None:
    """The checksums are lines as sha256sum writes them, under a comment."""
    (folder / "a").write_bytes(b"abc")
    write_sums(folder)
    head, line = (folder / SUMS).read_text().splitlines()
    assert head.startswith("# ")
    assert line == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a"


@pytest.mark.parametrize("name", ["weights.safetensors", "tensors.safetensors", "state.json"])
def test_the_state_before_is_used(machine: Machine, interrupted: Path, folder: Path, name: str) -> None:
    """Where the newest state is damaged, the run names the file and goes on from the one before."""
    out = folder / "out"
    shutil.copytree(interrupted, out, symlinks=True)
    file = (out / "sam-seed0").resolve() / "states" / "step-4" / name
    file.write_bytes(file.read_bytes()[:-7])
    ended = machine.run("train", out)
    assert ended.codes == [0]
    assert f"{file} is not as it was written" in ended.output.replace("\n", "")
    assert "resumes after step 2" in ended.output
    assert differences(picture(out), machine.reference("train")) == []


def test_without_a_good_state_nothing_is_thrown_away(
    machine: Machine, interrupted: Path, folder: Path
) -> None:
    """Where no state is undamaged, the command ends with one sentence and code 2 and removes nothing."""
    out = folder / "out"
    shutil.copytree(interrupted, out, symlinks=True)
    for state in (out / "sam-seed0" / "states").iterdir():
        (state / "state.json").write_text("{}")
    before = picture(out)
    ended = machine.run("train", out)
    assert ended.codes == [2]
    assert "No saved state" in ended.output and "Traceback" not in ended.output
    kept = {name for name in before if name.startswith("runs/") and not name.endswith(".aside")}
    assert kept and kept <= set(picture(out))


def test_a_finished_run_outlives_its_status(machine: Machine, finished: Path, folder: Path) -> None:
    """A finished run whose status cannot be read is not begun anew: one sentence says what to do."""
    out = folder / "out"
    shutil.copytree(finished, out, symlinks=True)
    (out / "sam-seed0" / "status.json").write_text('{"state": "don')
    ended = machine.run("train", out)
    assert ended.codes == [2]
    assert "status.json cannot be read" in ended.output
    assert (out / "sam-seed0" / "checkpoints" / "step-5" / "model.safetensors").exists()


def test_a_damaged_best_checkpoint_is_passed_over(machine: Machine, finished: Path, folder: Path) -> None:
    """Where the best checkpoint is damaged, its file is named and the model is made of the next best."""
    out = folder / "out"
    shutil.copytree(finished, out, symlinks=True)
    best, other = sorted(
        (out / "sam-seed0" / "checkpoints").iterdir(),
        key=lambda folder: (
            (folder / "model.safetensors").read_bytes() != (out / "model" / "model.safetensors").read_bytes()
        ),
    )
    file = best / "config.json"
    file.write_bytes(file.read_bytes() + b" ")
    shutil.rmtree(out / "report")  # a finished experiment with its report is only shown again
    ended = machine.run("train", out)
    assert ended.codes == [0]
    assert f"{file} is not as it was written" in ended.output.replace("\n", "")
    assert (out / "model" / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_logs_are_as_they_were(machine: Machine, interrupted: Path, folder: Path, damage: str) -> None:
    """Logs that were torn or removed while a run was interrupted come back from its state, line by line."""
    out = folder / "out"
    shutil.copytree(interrupted, out, symlinks=True)
    for log in [*(out / "sam-seed0").rglob("*.jsonl")]:
        if "predictions" not in log.parts:
            log.write_bytes(log.read_bytes()[:-9] + b"\xff") if damage == "torn" else log.unlink()
    assert machine.run("train", out).codes == [0]
    assert differences(picture(out), machine.reference("train")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", [0.25, 0.45])
def test_a_signal_leaves_a_last_state(
    machine: Machine, folder: Path, number: signal.Signals, where: float
) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end a run with its state saved and code 130, and it goes on."""
    out = folder / "out"
    ended = machine.run("train", out, at=int(machine.operations("train") * where), number=number)
    assert ended.codes == [130]
    assert "The same command resumes" in ended.output and "Traceback" not in ended.output
    assert list((out / "sam-seed0" / "states").glob("step-*"))
    again = machine.run("train", out)
    assert again.codes == [0] and "resumes after step" in again.output
    assert differences(picture(out), machine.reference("train")) == []

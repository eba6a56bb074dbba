"""Commands that are killed anywhere go on with the same command and end as if they had not been."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.durability.harness import COMMANDS, Machine, check_trust, differences, picture

Record = Callable[[str, object], None]

PARTS = 4
"""Tests that the operations are dealt out to, so that several can run at the same time."""


def kill_until_done(
    machine: Machine, name: str, out: Path, chance: random.Random, processes: int = 1, most: int = 40
) -> int:
    """Kills a command again and again, at operations on files or at times, until one comes to its end.

    Returns:
        How many commands were killed.
    """
    known: dict[Path, int] = {}
    kills = 0
    reference = machine.reference(name, processes)
    operations = machine.operations(name, processes)
    while True:
        if kills == most:
            ended = machine.run(name, out, processes=processes)
        elif chance.random() < 0.5:
            ended = machine.run(name, out, processes=processes, at=chance.randint(1, operations))
        else:
            rank, seconds = chance.randrange(processes), chance.uniform(0.02, 2.5)
            ended = machine.run(name, out, processes=processes, seconds=seconds, rank=rank)
        if not ended.killed:
            assert set(ended.codes) == {0}, ended.output
            break
        kills += 1
        known = check_trust(out, known)
    assert differences(picture(out), reference) == []
    return kills


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_kills(machine: Machine, folder: Path, record_property: Record) -> None:
    """A training that is killed at five operations on files, spread over all of them, ends bit for bit."""
    operations = machine.operations("train")
    known: dict[Path, int] = {}
    for at in (5, operations // 4, operations // 3, operations // 4, 9):
        assert machine.run("train", folder / "out", at=at).killed
        known = check_trust(folder / "out", known)
    assert machine.run("train", folder / "out").codes == [0]
    assert differences(picture(folder / "out"), machine.reference("train")) == []
    record_property("kills", 5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_before_every_operation(
    machine: Machine, folder: Path, record_property: Record, part: int
) -> None:
    """Wherever between two operations on files a run is killed, it loses nothing and ends bit for bit."""
    operations, reference = machine.operations("train"), machine.reference("train")
    numbers = range(1 + part, operations + 1, PARTS)
    for at in numbers:
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        assert machine.run("train", out, at=at).killed
        check_trust(out, {})
        ended = machine.run("train", out)
        assert ended.codes == [0], ended.output
        assert differences(picture(out), reference) == [], f"after a kill before operation {at}"
    record_property("kills", len(numbers))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize("seed", range(4))
def test_kills_at_random(
    machine: Machine, folder: Path, record_property: Record, name: str, seed: int
) -> None:
    """A command that is killed again and again, at any time, loses nothing and ends bit for bit."""
    chance = random.Random(f"{name}{seed}")
    record_property("kills", kill_until_done(machine, name, folder / "out", chance))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_kills_of_two_processes(machine: Machine, folder: Path, record_property: Record, seed: int) -> None:
    """Two processes of which either is killed, again and again, lose nothing and end bit for bit."""
    chance = random.Random(seed)
    record_property("kills", kill_until_done(machine, "compare", folder / "out", chance, processes=2))

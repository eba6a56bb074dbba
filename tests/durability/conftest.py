"""The machine that is shared by all tests of durability."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.durability.harness import Machine


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory, where there is one: waiting for the disk takes longer than all the rest."""
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if os.access(in_memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def machine(memory: Path) -> Iterator[Machine]:
    """A process that has imported everything, from which commands are forked."""
    folder = memory / "machine"
    folder.mkdir()
    machine = Machine(folder)
    yield machine
    machine.stop()


@pytest.fixture
def folder(memory: Path) -> Iterator[Path]:
    """An empty folder of the test's own."""
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)

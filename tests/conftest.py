"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["LOWLAND_CACHE"] = ""  # nothing is kept from one run of the tests to the next

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The optional folder `shared` beside the checkout, with reference material; skips where it is absent."""
    folder = Path(os.environ.get("LOWLAND_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            f"{folder} is not here: this test compares with reference material kept outside the project"
        )
    return folder


@pytest.fixture(autouse=True)
def forget_accelerators() -> Iterator[None]:
    """Lets every test choose its own precision: Accelerate keeps that of a process's first Accelerator."""
    yield
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state()

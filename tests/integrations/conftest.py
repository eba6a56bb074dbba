"""Fixtures of the adapters' tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_garbage_collection() -> Iterator[None]:
    """Keeps what is imported out of the garbage collections with which every Trainer starts a run."""
    import transformers  # noqa: F401 # before the freeze

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()

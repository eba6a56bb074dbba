"""Experiments that several tests look at, each run once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.command import SMALL, reviews, succeed, write_rows


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison on a task that the package carries: one seed, both arms."""
    out = tmp_path_factory.mktemp("experiment") / "out"
    succeed("compare", "facts/continents", *SMALL, "--seeds", "1", "--out", out)
    return out


@pytest.fixture(scope="session")
def own_experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a user's TSV files, which lie beside it as `train.tsv` and `dev.tsv`."""
    folder = tmp_path_factory.mktemp("own")
    train = write_rows(folder / "train.tsv", reviews(40))
    dev = write_rows(folder / "dev.tsv", reviews(8, start=100))
    succeed(
        "train", "--train", train, "--eval", dev, "--input", "review: {text}", "--target", "{label}",
        "--metric", "accuracy", "--metric", "macro_f1", *SMALL, "--out", folder / "out",
    )  # fmt: skip
    return folder / "out"

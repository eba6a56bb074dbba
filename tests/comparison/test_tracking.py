"""Curves of runs go to Accelerate's trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking
from accelerate.utils import LoggerType
from tests.cli.command import SMALL, call, succeed


class Recorder(tracking.GeneralTracker):
    """A tracker that keeps what it is given, in the place of TensorBoard's."""

    made: list[Recorder] = []  # noqa: RUF012
    name = "tensorboard"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str) -> None:
        super().__init__(_blank=True)
        self.run_name, self.folder = run_name, Path(logging_dir)
        self.logged: list[tuple[dict[str, Any], int]] = []
        self.finished = False
        Recorder.made.append(self)

    def start(self) -> None:
        """Begins."""

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Keeps the values."""
        assert step is not None
        self.logged.append((values, step))

    def finish(self) -> None:
        """Ends."""
        self.finished = True


def test_every_run_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has a tracker of its name, with losses and scores by step, that is finished; results stay."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Recorder)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    Recorder.made.clear()
    command = ["compare", "facts/continents", *SMALL, "--seeds", "1", "--out", tmp_path / "out"]
    succeed(*command, "--tracker", "tensorboard")
    assert [made.run_name for made in Recorder.made] == ["baseline-seed0", "sam-seed0"]
    for made in Recorder.made:
        assert made.finished
        assert made.folder == tmp_path / "out" / "tensorboard"
        losses = [step for values, step in made.logged if "train/loss" in values]
        scores = [step for values, step in made.logged if "facts/continents/em" in values]
        assert losses == sorted(losses) and losses and scores


def test_a_tracker_that_is_not_installed(tmp_path: Path) -> None:
    """A tracker that is not installed is told before anything is trained, with the command to type."""
    if LoggerType.WANDB in tracking.get_available_trackers():
        pytest.skip("wandb is installed here")
    out = tmp_path / "out"
    result = call("compare", "facts/continents", *SMALL, "--out", out, "--tracker", "wandb")
    assert result.code == 2
    assert "pip install wandb" in result.err
    assert not out.exists()

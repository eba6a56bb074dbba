"""How deep the gradient lies below the command line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import SMALL, succeed

import lowland
from lowland.sam import SAMGradient

MOST = 7


@pytest.mark.parametrize("verb", ["compare", "train"])
def test_few_frames_from_the_command_line_to_the_gradient(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the command line's `main` and `SAMGradient.__call__` lie at most seven frames of lowland."""
    package = str(Path(lowland.__file__).parent)
    stacks: list[list[str]] = []
    call = SAMGradient.__call__

    def record(self: SAMGradient, *arguments: Any, **options: Any) -> Any:
        frames = [frame for frame in inspect.stack() if frame.filename.startswith(package)]
        stacks.append([f"{Path(frame.filename).relative_to(package)}:{frame.function}" for frame in frames])
        return call(self, *arguments, **options)

    monkeypatch.setattr(SAMGradient, "__call__", record)
    seeds = ["--seeds", "1"] if verb == "compare" else []
    succeed(verb, "facts/continents", *SMALL, *seeds, "--steps", "1", "--out", tmp_path / "out")
    stack = stacks[0]
    assert stack[-1] == "cli/__init__.py:main"
    assert len(stack[:-1]) <= MOST, stack

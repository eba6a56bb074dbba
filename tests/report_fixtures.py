"""Builds small experiment directories, as training would leave them, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Scores = Mapping[int, Mapping[str, float]]
"""step -> metric -> value."""


def write_lines(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_experiment(
    directory: Path,
    *,
    metrics: Mapping[str, Sequence[str]],
    arms: Sequence[str] = ("baseline", "sam"),
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 200,
    name: str = "example",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `experiment.json` and returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "name": name,
        "command": f"lowland compare {' '.join(metrics)}",
        "created": "2024-01-01T00:00:00",
        "tasks": sorted(set(metrics)),
        "arms": {arm: {"sam.rho": 0.0} if arm == "baseline" else {} for arm in arms},
        "seeds": list(seeds),
        "steps": steps,
        "metrics": {key: list(value) for key, value in metrics.items()},
        "model": "embedded",
        "settings": settings or {"sam": {"rho": 0.15}, "batch_size": 32},
    }
    (directory / "experiment.json").write_text(json.dumps(content))
    return directory


def write_run(
    directory: Path,
    arm: str,
    seed: int,
    evaluation: Mapping[str, Scores],
    *,
    held_out: Mapping[str, Scores] | None = None,
    state: str = "done",
    seconds: float | None = 100.0,
    warnings: Sequence[str] = (),
    error: str | None = None,
) -> Path:
    """Writes a run's status and scores and returns its folder."""
    folder = directory / f"{arm}-seed{seed}"
    lines: dict[str, list[dict[str, Any]]] = {}
    for split, by_name in (("evaluation", evaluation), ("held_out", held_out or {})):
        for name, by_step in by_name.items():
            for step, values in by_step.items():
                line = {
                    "step": step,
                    "split": split,
                    "metrics": dict(values),
                    "examples": 200,
                    "seconds": 1.0,
                }
                lines.setdefault(name, []).append(line)
    for name, records in lines.items():
        write_lines(folder / "eval" / f"{name}.jsonl", records)
    folder.mkdir(parents=True, exist_ok=True)
    status = {
        "state": state,
        "arm": arm,
        "seed": seed,
        "step": 200,
        "steps": 200,
        "train_seconds": seconds,
        "evaluation_seconds": 1.0,
        "weights_sha256": "0" * 64,
        "warnings": list(warnings),
        "error": error,
        "started": "2024-01-01T00:00:00",
        "finished": "2024-01-01T00:02:00",
    }
    (folder / "status.json").write_text(json.dumps(status))
    return folder

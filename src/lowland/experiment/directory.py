"""The run directory: plain files that a person can read, each written whole or appended by the line."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lowland.report.write import write_atomic
from lowland.train import Arm, StepReport


def now() -> str:
    """Gives the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def append_json(path: Path, value: Any) -> None:
    """Appends one JSON line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")


def _lines(log: Path) -> list[dict[str, Any]]:
    """Reads a log; a last line that a kill cut short is left out."""
    lines: list[dict[str, Any]] = []
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


class RunDirectory:
    """The directory of one arm and seed.

    Args:
        experiment: The experiment's directory.
        arm: `standard` or `sam`.
        seed: The seed.
    """

    def __init__(self, experiment: Path, arm: Arm, seed: int) -> None:
        self.path = experiment / f"{arm}-seed{seed}"
        self.arm: Arm = arm
        self.seed = seed
        self._status: dict[str, Any] = {}

    def status(self) -> dict[str, Any]:
        """Reads the status; empty if the run was never started or its status cannot be read."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    @property
    def done(self) -> bool:
        """Whether the run came to its end."""
        return self.status().get("state") == "done"

    @property
    def given_up(self) -> bool:
        """Whether the run failed and the sweep that it belongs to does not try it again."""
        status = self.status()
        return status.get("state") == "failed" and status.get("given_up") is True

    def start(self, config: str, environment: Mapping[str, Any], steps: int) -> None:
        """Begins the run anew; what an earlier one left is removed."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        write_atomic(self.path / "config.toml", config.encode())
        write_json(self.path / "env.json", environment)
        self._status = {
            "state": "running",
            "arm": self.arm,
            "seed": self.seed,
            "step": 0,
            "steps": steps,
            "train_seconds": 0.0,
            "evaluation_seconds": 0.0,
            "weights_sha256": None,
            "warnings": [],
            "error": None,
            "started": now(),
            "finished": None,
        }
        write_json(self.path / "status.json", self._status)

    def rewind(self, step: int, status: Mapping[str, Any]) -> None:
        """Takes the logs back to a step, and the status to what it was then."""
        for log in [*self.path.glob("*.jsonl"), *(self.path / "eval").rglob("*.jsonl")]:
            kept = [line for line in _lines(log) if line["step"] <= step]
            write_atomic(log, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode())
        self._status = dict(status)
        write_json(self.path / "status.json", self._status)

    @property
    def live_status(self) -> dict[str, Any]:
        """The status of the run as this process knows it."""
        return dict(self._status)

    def states(self) -> list[Path]:
        """Lists the saved states from which training can go on, the newest first."""
        folders = [folder for folder in (self.path / "states").glob("step-*") if folder.is_dir()]
        return sorted(folders, key=lambda folder: int(folder.name.removeprefix("step-")), reverse=True)

    def save_state(self, step: int, save: Callable[[Path], None]) -> None:
        """Saves a state aside, puts it in its place, and keeps the one before."""
        target = self.path / "states" / f"step-{step}"
        aside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        try:
            save(aside)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for folder in self.states()[2:]:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, **values: Any) -> None:
        """Ends the run; nothing needs to go on from it any more."""
        self.update(state="done", finished=now(), **values)
        shutil.rmtree(self.path / "states", ignore_errors=True)

    def update(self, **values: Any) -> None:
        """Changes fields of the status."""
        self._status |= values
        write_json(self.path / "status.json", self._status)

    def warn(self, sentences: list[str]) -> None:
        """Adds warnings to the status, each once."""
        known = self._status["warnings"]
        self.update(warnings=[*known, *(sentence for sentence in sentences if sentence not in known)])

    def log(self, report: StepReport) -> None:
        """Logs training. Times are kept apart, so that equal runs have equal logs."""
        values = asdict(report)
        seconds = values.pop("seconds")
        sam = {key: values.pop(key) for key in ("ascent_loss", "ascent_norm", "radius", "moved")}
        append_json(self.path / "train.jsonl", values)
        if any(value is not None for value in sam.values()):
            append_json(self.path / "sam.jsonl", {"step": report.step, **sam})
        append_json(self.path / "timing.jsonl", {"step": report.step, "seconds": round(seconds, 6)})
        self._status["step"] = report.step
        self.update(train_seconds=self._status["train_seconds"] + seconds)

    def evaluation(
        self, name: str, step: int, split: str, metrics: Mapping[str, float], examples: int, seconds: float
    ) -> None:
        """Logs the scores of one evaluation set."""
        line = {
            "step": step,
            "split": split,
            "metrics": dict(metrics),
            "examples": examples,
            "seconds": round(seconds, 3),
        }
        append_json(self.path / "eval" / f"{name}.jsonl", line)
        self.update(evaluation_seconds=self._status["evaluation_seconds"] + seconds)

    def checkpoint(self, step: int) -> Path:
        """Names the directory of a checkpoint."""
        return self.path / "checkpoints" / f"step-{step}"


class Bystander(RunDirectory):
    """The directory as all processes but the first see it: they read, and leave the writing to the first."""

    def start(self, config: str, environment: Mapping[str, Any], steps: int) -> None:
        """Leaves it to the first process."""

    def rewind(self, step: int, status: Mapping[str, Any]) -> None:
        """Leaves it to the first process."""

    def update(self, **values: Any) -> None:
        """Leaves it to the first process."""

    def warn(self, sentences: list[str]) -> None:
        """Leaves it to the first process."""

    def log(self, report: StepReport) -> None:
        """Leaves it to the first process."""

    def save_state(self, step: int, save: Callable[[Path], None]) -> None:
        """Takes part in the saving, which the first process writes."""
        save(self.path)

    def finish(self, **values: Any) -> None:
        """Leaves it to the first process."""

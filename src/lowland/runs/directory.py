"""The run directory: plain files that a person can read, each written whole or appended by the line."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lowland.errors import UserError
from lowland.files import aside_of, put_in_place, remove, remove_asides, write_atomic

if TYPE_CHECKING:  # whether a run is done can be told without torch
    from lowland.train.log import StepReport


def now() -> str:
    """Gives the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Writes a JSON file, whole or not at all."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(), durable=durable)


def append_json(path: Path, value: Any) -> None:
    """Appends one JSON line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON file that may be missing, half-written or of another kind, and is empty then."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def agrees(file: Path, identity: Mapping[str, Any]) -> bool:
    """Tells whether a JSON file holds these values among others."""
    return identity.items() <= read_json(file).items()


Method = TypeVar("Method", bound=Callable[..., Any])


def writing(method: Method) -> Method:
    """Leaves a method to the first of several processes, which writes for all; the others get `None`."""
    return cast(Method, lambda self, *rest, **more: method(self, *rest, **more) if self.writes else None)


class RunDirectory:
    """The directory of one arm and seed. Of processes that train together, only the first one writes."""

    def __init__(
        self, folder: Path, arm: str, seed: int, name: str | None = None, *, writes: bool = True
    ) -> None:
        self.path = folder / (name or f"{arm}-seed{seed}")
        self.arm, self.seed, self.writes = arm, seed, writes
        self.live_status: dict[str, Any] = {}  # as this process knows it

    def status(self) -> dict[str, Any]:
        """Reads the status; empty if the run was never started or its status cannot be read."""
        return read_json(self.path / "status.json")

    @property
    def done(self) -> bool:
        """Whether the run came to its end."""
        return self.status().get("state") == "done"

    @writing
    def start(self, config: str, environment: Mapping[str, Any], steps: int) -> None:
        """Begins the run anew; what an earlier one left is removed, unless it came to its end."""
        if not self.status() and (self.path / "checkpoints").exists():
            raise UserError(
                f"{self.path / 'status.json'} cannot be read, but the run has checkpoints. Restore it, "
                f"or remove {self.path} to begin the run anew."
            )
        remove(self.path)
        self.path.mkdir(parents=True)
        write_atomic(self.path / "config.toml", config.encode())
        write_json(self.path / "env.json", environment)
        self.live_status = {"state": "running", "arm": self.arm, "seed": self.seed, "step": 0, "steps": steps}
        self.live_status |= {"evaluated": 0, "train_seconds": 0.0, "evaluation_seconds": 0.0, "warnings": []}
        self.live_status |= {"weights_sha256": None, "error": None, "started": now(), "finished": None}
        write_json(self.path / "status.json", self.live_status)

    def _logs(self) -> dict[str, Path]:
        found = [*self.path.glob("*.jsonl"), *(self.path / "eval").rglob("*.jsonl")]
        return {str(log.relative_to(self.path)): log for log in found}

    @writing
    def logs(self) -> dict[str, str]:
        """Reads the logs: name -> content. They are small beside the weights and are saved with them."""
        return {name: log.read_text(encoding="utf-8", errors="replace") for name, log in self._logs().items()}

    @writing
    def rewind(self, step: int, logs: Mapping[str, str], status: Mapping[str, Any]) -> None:
        """Takes everything back to the saved state of a step: later ones are damaged."""
        for name, log in self._logs().items():
            if name not in logs:
                log.unlink()
        for name, content in logs.items():
            write_atomic(self.path / name, content.encode())
        for path in (self.path / "predictions").rglob("*.jsonl"):
            if int(path.stem.rpartition("-")[2]) >= step:
                path.unlink()
        for folder in self.states():
            if step_of(folder) > step:
                remove(folder)
        self.live_status = dict(status)
        write_json(self.path / "status.json", self.live_status)

    def states(self) -> list[Path]:
        """Lists the saved states from which training can go on, the newest first."""
        folders = [folder for folder in (self.path / "states").glob("step-*") if folder.is_dir()]
        return sorted(folders, key=step_of, reverse=True)

    def save_state(self, step: int, save: Callable[[Path], None]) -> None:
        """Saves a state aside, puts it in its place, and keeps the one before; all processes take part."""
        if not self.writes:
            save(self.path)
            return
        self._require()
        target = self.path / "states" / f"step-{step}"
        aside = aside_of(target)
        try:
            save(aside)
            put_in_place(aside, target)
        finally:
            remove(aside)
        for folder in self.states()[2:]:
            remove(folder)

    def checkpoints(self) -> list[Path]:
        """Lists the checkpoints, in the order of their steps."""
        return sorted((self.path / "checkpoints").glob("step-*"), key=step_of)

    @writing
    def keep_checkpoints(self, steps: Collection[int]) -> None:
        """Removes the checkpoints of all other steps."""
        for folder in self.checkpoints():
            if step_of(folder) not in steps:
                remove(folder)

    @writing
    def finish(self, **values: Any) -> None:
        """Ends the run; nothing needs to go on from it any more."""
        self.update(durable=True, state="done", finished=now(), **values)
        self.tidy()

    @writing
    def tidy(self) -> None:
        """Removes what killed processes left half-written, and what a run at its end no longer needs."""
        for left in self.path.parent.glob(f".{self.path.name}.*.aside"):
            remove(left)
        if self.path.is_dir():
            remove_asides(self.path)
        if self.done:
            remove(self.path / "states")

    @writing
    def update(self, *, durable: bool = False, **values: Any) -> None:
        """Changes fields of the status."""
        self._require()
        self.live_status |= values
        write_json(self.path / "status.json", self.live_status, durable=durable)

    @writing
    def warn(self, sentences: list[str]) -> None:
        """Adds warnings to the status, each once."""
        known = self.live_status["warnings"]
        self.update(warnings=[*known, *(sentence for sentence in sentences if sentence not in known)])

    @writing
    def log(self, report: StepReport) -> None:
        """Logs training. Times are kept apart, so that equal runs have equal logs."""
        self._require()
        values = asdict(report)
        seconds = values.pop("seconds")
        sam = {key: values.pop(key) for key in ("ascent_loss", "ascent_norm", "radius", "moved")}
        append_json(self.path / "train.jsonl", values)
        if any(value is not None for value in sam.values()):
            append_json(self.path / "sam.jsonl", {"step": report.step, **sam})
        append_json(self.path / "timing.jsonl", {"step": report.step, "seconds": round(seconds, 6)})
        self.live_status["step"] = report.step
        self.update(train_seconds=self.live_status["train_seconds"] + seconds)

    def evaluation(
        self, name: str, step: int, split: str, metrics: Mapping[str, float], examples: int, seconds: float
    ) -> None:
        """Logs the scores of one evaluation set."""
        self._require()
        line = {"step": step, "split": split, "metrics": dict(metrics), "examples": examples}
        append_json(self.path / "eval" / f"{name}.jsonl", {**line, "seconds": round(seconds, 3)})
        self.update(evaluation_seconds=self.live_status["evaluation_seconds"] + seconds)

    def _require(self) -> None:
        """Refuses to begin a second directory where the first one was taken away."""
        if not self.path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "The directory has vanished", str(self.path))


def step_of(folder: Path) -> int:
    """Reads the step of a state or a checkpoint off its name."""
    return int(folder.name.removeprefix("step-"))

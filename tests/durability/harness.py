"""Commands that are killed, what they leave, and whether it can be trusted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.command import write_rows
from tests.conftest import ROOT
from transformers import ByT5Tokenizer, T5Config

from lowland.files import DamagedError, check_sums
from lowland.models.head import build_model
from lowland.models.load import quiet_transformers
from lowland.runs.directory import RunDirectory
from lowland.train.state import read_values

TIMES = {"train_seconds", "evaluation_seconds", "started", "finished", "created", "seconds"}
"""What may differ between equal runs."""

TRAINING = [
    *("--eval-limit", "4", "--held-out", "4", "--batch-size", "4", "--log-every", "1", "--precision", "fp32"),
    *("--target-length", "4", "--optimizer", "adamw", "--schedule", "cosine", "--learning-rate", "0.01"),
    *("--input", "{text}", "--target", "{label}"),
]
"""Dropout is on, as by default; AdamW and the cosine have the most state."""

COMMANDS: dict[str, list[str]] = {
    "train": ["train", "--steps", "5", "--evaluate-every", "2"],
    "compare": ["compare", "--steps", "4", "--evaluate-every", "2", "--seeds", "1"],
    "grid": ["compare", "--grid", "rho=0.05,0.1", "--steps", "3", "--evaluate-every", "2", "--seeds", "1"],
}
"""Commands, to which the options of `write_task` come; a new verb that trains is added here."""


def write_task(folder: Path) -> list[str]:
    """Writes a model of a few thousand weights and a few rows; returns the options that name them."""
    config = T5Config(
        vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    with quiet_transformers():
        build_model(config).save_pretrained(folder / "model")
        ByT5Tokenizer().save_pretrained(folder / "model")
    rows = [
        {"text": f"{index} {'good' if index % 2 else 'bad'}", "label": "ny"[index % 2]} for index in range(28)
    ]
    train, evaluation = (
        write_rows(folder / "train.jsonl", rows[:24]),
        write_rows(folder / "dev.jsonl", rows[24:]),
    )
    return ["--train", str(train), "--eval", str(evaluation), "--model", str(folder / "model"), *TRAINING]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        codes: The exit code of each process, or minus the signal that ended it.
        output: What the first process printed.
        operations: How many operations on files the first process made, where it came to its end.
    """

    codes: list[int]
    output: str
    operations: int

    @property
    def killed(self) -> bool:
        """Whether a signal ended one of its processes."""
        return any(code < 0 for code in self.codes)


@dataclass
class Machine:
    """Runs commands in processes that it can kill.

    Attributes:
        folder: For what it writes itself.
    """

    folder: Path
    _pictures: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._options = write_task(self.folder)
        environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.durability.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def stop(self) -> None:
        """Ends the server."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def run(
        self,
        name: str,
        out: Path,
        *,
        processes: int = 1,
        at: int = 0,
        seconds: float = 0.0,
        rank: int = 0,
        number: signal.Signals = signal.SIGKILL,
        error: int = 0,
        largest_file: int = 0,
        threads: int = 1,
        more: tuple[str, ...] = (),
    ) -> Ended:
        """Runs a command.

        Args:
            name: Of `COMMANDS`.
            out: Its directory.
            processes: How many processes train together.
            at: The operation on a file, from 1, before which the signal comes; 0 for none.
            seconds: Or the time after which it comes.
            rank: The process that gets it then.
            number: The signal.
            error: An error number with which operations on files fail from `at` on, in place of a signal.
            largest_file: The most bytes that a file may have; 0 for no limit.
            threads: How many threads compute.
            more: More options.
        """
        log = self.folder / "log"
        for old in self.folder.glob("log*"):
            old.unlink()
        # All that a command writes is below its directory, to be killed at and looked at.
        request = {
            "words": [*COMMANDS[name], *self._options, *more, "--out", str(out), "--runs", str(out / "runs")],
            "root": str(out),
            "log": str(log),
            "processes": processes,
            "at": at,
            "seconds": seconds,
            "rank": rank,
            "signal": int(number),
            "error": error,
            "largest_file": largest_file,
            "threads": threads,
        }
        assert self._server.stdin is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        codes = json.loads(self._read())
        count = Path(f"{log}0.count")
        return Ended(codes, Path(f"{log}0").read_text(), int(count.read_text()) if count.exists() else 0)

    def reference(self, name: str, processes: int = 1) -> dict[str, Any]:
        """Gives the picture of a command that was not interrupted."""
        key = (name, processes)
        if key not in self._pictures:
            out = self.folder / f"{name}-{processes}"
            ended = self.run(name, out, processes=processes)
            assert set(ended.codes) == {0}, ended.output
            self._pictures[key] = {**picture(out), "operations": ended.operations}
        return {file: content for file, content in self._pictures[key].items() if file != "operations"}

    def operations(self, name: str, processes: int = 1) -> int:
        """Counts the operations on files of a command that was not interrupted."""
        self.reference(name, processes)
        return int(self._pictures[name, processes]["operations"])


def picture(out: Path) -> dict[str, Any]:
    """Reads everything below a directory that equal commands must leave equal: name -> content."""
    return {
        str(path.relative_to(out)): _content(path, out)
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


def _content(path: Path, out: Path) -> Any:
    if "report" in path.parts or path.suffix == ".log":
        return "it is there"  # it tells of times
    if path.name == "experiment.json":
        return {
            key: _without_times(value)
            for key, value in json.loads(path.read_text()).items()
            if key == "seeds"
        }
    if path.suffix == ".json" and path.parent.name not in ("model", *_steps(path)):
        return _without_times(json.loads(path.read_text()))
    if path.name == "timing.jsonl" or "eval" in path.relative_to(out).parts:
        return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    return path.read_bytes().replace(str(out).encode(), b"OUT")


def _steps(path: Path) -> list[str]:
    return [part for part in path.parts if part.startswith("step-")]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return value


def check_trust(out: Path, before: dict[Path, int]) -> dict[Path, int]:
    """Checks that a killed command lost nothing of what it had before.

    Args:
        out: Its directory.
        before: Run -> step of its newest good state, when the last command was killed.

    Returns:
        The same for now; a run that is done is at a step beyond all others.
    """
    found: dict[Path, int] = {}
    for folder in {status.parent for status in out.rglob("status.json") if ".aside" not in str(status)}:
        arm, _, seed = folder.name.partition("-seed")
        run = RunDirectory(folder.parent, arm, int(seed))
        if run.done:
            found[folder] = 10**9
            last = json.loads((folder / "status.json").read_text())["steps"]
            check_sums(folder / "checkpoints" / f"step-{last}")
        elif (newest := _newest(run)) is not None:
            step, best = newest
            found[folder] = step
            if best is not None:
                check_sums(folder / "checkpoints" / f"step-{int(best[1])}")
    lost = {folder: step for folder, step in before.items() if found.get(folder, -1) < step}
    assert not lost, f"lost: {lost}"
    return found


def _newest(run: RunDirectory) -> tuple[int, Any] | None:
    for folder in run.states():
        try:
            return int(folder.name.removeprefix("step-")), read_values(folder)["caller"]["values"].get("best")
        except DamagedError as error:
            raise AssertionError(f"A kill left a damaged state: {error}") from None
    return None


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names the files in which two pictures differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))

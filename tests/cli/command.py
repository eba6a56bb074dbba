"""The command line, called in this process, and what it leaves behind."""

from __future__ import annotations

import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from lowland.cli import main

SMALL = [
    *("--steps", "4", "--batch-size", "8", "--log-every", "1", "--eval-limit", "8"),
    *("--held-out-limit", "8", "--precision", "fp32", "--dropout", "0.1", "--outcomes", "none"),
]
"""Options that make a run take seconds. Dropout is on, so that equal runs need equal random streams."""


@dataclass(frozen=True)
class Result:
    """The exit code of a command and what it printed."""

    code: int
    out: str
    err: str


def call(*words: str | Path) -> Result:
    """Runs `lowland` with these words, on a terminal of 80 columns."""
    out, err = StringIO(), StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in words])
    except SystemExit as exit_:  # argparse leaves this way after --help and --version
        code = int(exit_.code or 0)
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return Result(code, out.getvalue(), err.getvalue())


def succeed(*words: str | Path) -> Result:
    """Runs a command that must succeed."""
    result = call(*words)
    assert result.code == 0, result.err
    return result


@dataclass(frozen=True)
class Trajectory:
    """What decides whether two runs are the same: the log's bytes, the weights' hash, the scores."""

    log: bytes
    weights: str
    scores: tuple[tuple[str, int, str, dict[str, float]], ...]


def trajectory(run: Path) -> Trajectory:
    """Reads the trajectory of a finished run."""
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "done"
    files = sorted((run / "eval").rglob("*.jsonl"))
    lines = [(file.stem, json.loads(line)) for file in files for line in file.read_text().splitlines()]
    scores = tuple((name, line["step"], line["split"], line["metrics"]) for name, line in lines)
    assert scores
    return Trajectory((run / "train.jsonl").read_bytes(), status["weights_sha256"], scores)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Reads all files below a folder: name -> time of the last change in nanoseconds, and content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows in the format of the suffix."""
    columns = list(rows[0])
    match path.suffix:
        case ".jsonl":
            lines = [json.dumps(row) for row in rows]
        case ".json":
            lines = [json.dumps({"data": rows})]
        case ".csv":
            lines = [",".join(columns), *(",".join(f'"{row[name]}"' for name in columns) for row in rows)]
        case _:
            lines = ["\t".join(columns), *("\t".join(str(row[name]) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def reviews(number: int, start: int = 0) -> list[dict[str, Any]]:
    """Makes rows with a text and a label."""
    kinds = (("warm and good", "yes"), ("cold and bad", "no"))
    return [
        {"text": f"the river number {index} was {kinds[index % 2][0]}", "label": kinds[index % 2][1]}
        for index in range(start, start + number)
    ]

"""A cell of a sweep: an ordinary experiment in a directory of its own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.experiment.configuration import ExperimentConfig
from lowland.experiment.directory import RunDirectory
from lowland.experiment.examples import load_tasks
from lowland.experiment.sweep.grid import Point

JOBS = "jobs"
"""The folder with the settings and the logs of processes."""


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """A cell.

    Attributes:
        name: Its name.
        path: Its directory.
        config: The experiment.
        part: Names the part of the cell that a process of its own runs; empty for all of it.
    """

    name: str
    path: Path
    config: ExperimentConfig
    part: str = ""

    @property
    def settings(self) -> Path:
        """The file from which a command line can run the cell."""
        part = f"-{self.part}" if self.part else ""
        return self.path.parent / JOBS / f"{self.name}{part}.toml"

    @property
    def log(self) -> Path:
        """The file for the output of a process that runs it."""
        return self.settings.with_suffix(".log")

    def arguments(self) -> list[str]:
        """Gives the arguments of `lowland` that run the cell."""
        hub = ["--hub"] if self.config.data.hub else []
        return ["compare", "--config", str(self.settings), "--out", str(self.path), *hub]

    def command(self) -> str:
        """Gives the command line that runs the cell, for the record."""
        return shlex.join(["lowland", *self.arguments()])

    def others(self, run: str) -> list[Path]:
        """Lists the directories that runs of a name have, or would have, in the sweep's other cells."""
        return [folder / run for folder in sorted(self.path.parent.glob("*")) if folder != self.path]

    def runs(self) -> Iterator[RunDirectory]:
        """Lists the cell's runs, in the order in which they are run."""
        for seed in self.config.seeds:
            for arm in self.config.arms:
                yield RunDirectory(self.path, arm, seed)

    @property
    def done(self) -> bool:
        """Whether all runs came to their end and the report was written after them."""
        try:
            description = json.loads((self.path / "experiment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return description.get("finished") is not None and all(run.done for run in self.runs())

    def problem(self) -> str | None:
        """Says why the cell is not complete; `None` if it is."""
        left = [run for run in self.runs() if not run.done]
        failed = {run.path.name: status for run in left if (status := run.status()).get("state") == "failed"}
        # What failed in another cell is said there.
        for name, status in sorted(failed.items(), key=lambda item: "copied_from" in item[1]):
            return f"{name}: {status.get('error')}"
        return f"{left[0].path.name} has not finished." if left else None


def build_cells(
    points: Sequence[Point], out: Path, build: Callable[[Mapping[str, Any]], ExperimentConfig]
) -> list[SweepCell]:
    """Builds the cells of a grid.

    Args:
        points: The grid's points.
        out: The sweep's directory.
        build: Builds the configuration of a point's values, dotted setting -> value; the name of a preset
            is under `preset`.

    Raises:
        UserError: If the settings of a cell are invalid; the message names the cell.
    """
    cells = []
    for point in points:
        try:
            config = build(point.values)
            load_tasks(config.data)  # a name that is not known is better said before anything is run
        except UserError as error:
            raise UserError(f"{point.name}: {error}") from None
        cells.append(SweepCell(name=point.name, path=out / point.name, config=config))
    return cells

"""What a sweep will do, before it starts: which runs are new, shared or done before, and the time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.experiment.sweep.cell import SweepCell
from lowland.experiment.sweep.share import find_standard_run, standard_settings
from lowland.experiment.sweep.speed import Speed
from lowland.train import Arm


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """What is left to do in a cell.

    Attributes:
        cell: The cell.
        train: Arm and seed of the runs that it trains.
        share: Seeds whose standard runs it gets from another cell.
        waits_for: Seed -> name of the cell that trains it; none for those that are finished already.
        done: Number of runs that were done before.
    """

    cell: SweepCell
    train: tuple[tuple[Arm, int], ...]
    share: tuple[int, ...]
    waits_for: Mapping[int, str]
    done: int

    @property
    def steps(self) -> int:
        """Optimizer steps that are left."""
        return len(self.train) * self.cell.config.train.steps

    def seconds(self, speed: Speed) -> float | None:
        """Estimates the time that is left; `None` where it is not known."""
        seconds = [speed(self.cell.config, arm) for arm, _ in self.train]
        known = [value for value in seconds if value is not None]
        return sum(known) if len(known) == len(seconds) else None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep will do.

    Attributes:
        cells: Its cells.
    """

    cells: tuple[PlannedCell, ...]

    @property
    def lenders(self) -> set[str]:
        """Names of the cells that train standard runs which others wait for."""
        return {name for planned in self.cells for name in planned.waits_for.values()}

    @property
    def runs(self) -> int:
        """Number of runs that are trained."""
        return sum(len(planned.train) for planned in self.cells)

    @property
    def shared(self) -> int:
        """Number of runs that are copied from another cell rather than trained."""
        return sum(len(planned.share) for planned in self.cells)

    @property
    def done(self) -> int:
        """Number of runs that were done before."""
        return sum(planned.done for planned in self.cells)

    @property
    def steps(self) -> int:
        """Optimizer steps over all runs that are trained."""
        return sum(planned.steps for planned in self.cells)

    def seconds(self, speed: Speed) -> float | None:
        """Estimates the time that one process needs; `None` where it is not known."""
        seconds = [planned.seconds(speed) for planned in self.cells]
        known = [value for value in seconds if value is not None]
        return sum(known) if len(known) == len(seconds) else None


def make_plan(cells: Sequence[SweepCell]) -> Plan:
    """Finds out what is left to do.

    Of the cells that need the same standard run the first one trains it.

    Args:
        cells: The cells of the sweep.
    """
    owners: dict[tuple[str, int], str] = {}
    planned = []
    for cell in cells:
        key = json.dumps(standard_settings(cell.config), sort_keys=True, default=str)
        train: list[tuple[Arm, int]] = []
        share: list[int] = []
        waits_for: dict[int, str] = {}
        done = 0
        for run in cell.runs():
            if run.done:
                done += 1
            elif run.arm == "standard" and find_standard_run(cell, run.seed) is not None:
                share.append(run.seed)
            elif run.arm == "standard" and (key, run.seed) in owners:
                share.append(run.seed)
                waits_for[run.seed] = owners[key, run.seed]
            else:
                train.append((run.arm, run.seed))
                if run.arm == "standard":
                    owners[key, run.seed] = cell.name
        planned.append(
            PlannedCell(
                cell=cell,
                train=tuple(train),
                share=tuple(share),
                waits_for=waits_for,
                done=done,
            )
        )
    return Plan(cells=tuple(planned))

"""What an outcome is, and that of every metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowland.statistics import MARGIN, PairedComparison, Verdict, decide


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Something that is measured on a finished run."""

    name: str  # as in tables
    unit: str  # what its numbers are called, for example `points`
    better: Literal["higher", "lower"]
    margin: float  # difference within which two arms count as equal, in its unit
    floor: float | None = None  # for the best answer that ignores the input; `None` where there is none
    ceiling: float | None = None  # for a perfect model; `None` where there is none

    def judge(self, comparison: PairedComparison, adjusted_p: float | None = None) -> Verdict:
        """Decides between two arms whose pairs were compared; see `lowland.statistics.decide`."""
        return decide(
            comparison,
            margin=self.margin,
            higher_is_better=self.better == "higher",
            floor=self.floor,
            ceiling=self.ceiling,
            adjusted_p=adjusted_p,
            unit=self.unit,
        )


def score(metric: str, floor: float = 0.0) -> Outcome:
    """Returns the outcome of a metric in percent; `floor` is what one and the same answer to all reaches."""
    return Outcome(name=metric, unit="points", better="higher", margin=MARGIN, floor=floor, ceiling=100.0)

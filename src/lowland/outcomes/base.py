"""What an outcome is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowland.statistics import PairedComparison, Verdict, decide


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Something that is measured on a finished run.

    Attributes:
        name: What it is called in tables.
        unit: What its numbers are called, for example `points`.
        better: Whether `higher` or `lower` is better.
        margin: Difference within which two arms count as equal, in its unit.
        description: One line for a reader who does not know it.
        floor: Its value for the best answer that ignores the input; `None` where there is none.
        ceiling: Its value for a perfect model; `None` where there is none.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    margin: float
    description: str
    floor: float | None = None
    ceiling: float | None = None

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

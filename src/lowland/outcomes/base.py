"""What an outcome is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lowland.statistics import PairedComparison, Verdict, compare_pairs, decide

Direction = Literal["higher", "lower"]


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
    better: Direction
    margin: float
    description: str
    floor: float | None = None
    ceiling: float | None = None

    def decide(self, reference: Sequence[float], arm: Sequence[float], **options: Any) -> Verdict:
        """Decides between two arms.

        Args:
            reference: The reference's value for each seed.
            arm: The arm's, in the same order of seeds.
            options: More for `lowland.statistics.decide`, such as `adjusted_p`.
        """
        return self.judge(compare_pairs(reference, arm), **options)

    def judge(self, comparison: PairedComparison, **options: Any) -> Verdict:
        """Decides between two arms whose pairs were compared; see `decide`."""
        return decide(
            comparison,
            margin=options.pop("margin", self.margin),
            higher_is_better=self.better == "higher",
            floor=self.floor,
            ceiling=self.ceiling,
            unit=self.unit,
            **options,
        )

"""What is measured on finished runs beside the score. It decides no run, so that it may be changed later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lowland.settings import check, setting

KINDS = ("likelihood", "quantized", "forgetting")

SHARE = 0.15
"""The part of a run's arithmetic that its outcomes may take, where the number of examples is not given."""

LEAST, MOST = 20, 1000
"""Examples of an evaluation set that this share is spent on, at least and at most."""


@dataclass(frozen=True, kw_only=True)
class OutcomeSettings:
    """What is measured.

    Attributes:
        measure: Which of `KINDS`.
        examples: See its help.
        general: See its help.
        also: Name -> file of a further test set, read as the user's own evaluation file is.
    """

    measure: tuple[str, ...] = KINDS
    examples: int = setting(
        0,
        "first examples of each evaluation set that are measured; 0 for as many as take 15% of a run's "
        f"compute, {MOST:,} at most",
        least=0,
        option="outcome-examples",
        metavar="N",
    )
    general: str = setting(
        "",
        "plain text on which forgetting is measured, instead of the package's ninety sentences",
        metavar="FILE",
    )
    also: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)
        if not all(isinstance(file, str) for file in self.also.values()):
            raise ValueError(f"Invalid also={dict(self.also)!r}. Must be names with files.")
        if strange := [name for name in self.measure if name not in KINDS]:
            raise ValueError(f"Invalid outcomes={strange[0]!r}. Must be none or some of {', '.join(KINDS)}.")

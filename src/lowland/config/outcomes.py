"""What is measured on finished runs beside the score. It decides no run, so that it may be changed later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lowland.settings import check, setting

KINDS = ("likelihood", "quantized", "forgetting")


@dataclass(frozen=True, kw_only=True)
class OutcomeSettings:
    """What is measured; each field says what it is."""

    measure: tuple[str, ...] = setting(
        KINDS,
        "likelihood (with calibration), quantized (both and the score after rounding to int8 and int4), "
        "forgetting (of general text, by models that write), with commas between; none for the score alone",
        option="outcomes",
        metavar="NAMES",
        unset="all",
    )
    examples: int = setting(
        0,
        "first examples of each evaluation set that are measured; 0 for as many as take about 15% of a run's "
        "compute, from 20 to 1,000",
        least=0,
        option="outcome-examples",
        metavar="N",
    )
    general: str = setting(
        "",
        "plain text on which forgetting is measured, instead of the package's ninety sentences",
        metavar="FILE",
    )
    also: Mapping[str, str] = setting(
        dict,
        "a further test set, read as --test is, on which finished models are measured; may be repeated",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.measure == ("none",):
            object.__setattr__(self, "measure", ())
        if not all(isinstance(file, str) for file in self.also.values()):
            raise ValueError(f"Invalid also={dict(self.also)!r}. Must be names with files.")
        if strange := [name for name in self.measure if name not in KINDS]:
            raise ValueError(f"Invalid outcomes={strange[0]!r}. Must be none or some of {', '.join(KINDS)}.")

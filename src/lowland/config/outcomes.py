"""What is measured on finished runs. It decides no run, so that it may be changed later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lowland.settings import check, setting

KINDS = ("likelihood", "quantized", "forgetting")


@dataclass(frozen=True, kw_only=True)
class OutcomeSettings:
    """What is measured beside the score."""

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
        "text on which forgetting is measured, instead of the package's ninety sentences",
        metavar="FILE",
        path=True,
    )
    also: Mapping[str, str] = setting(
        dict,
        "a further test set, read as --test is, on which finished models are measured; may be repeated",
        path=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.measure == ("none",):
            object.__setattr__(self, "measure", ())
        if not all(isinstance(file, str) for file in self.also.values()):
            raise ValueError(f"Invalid also={dict(self.also)!r}. Must be names with files.")
        if strange := [name for name in self.measure if name not in KINDS]:
            raise ValueError(f"Invalid outcomes={strange[0]!r}. Must be none or some of {', '.join(KINDS)}.")


@dataclass(frozen=True, kw_only=True)
class SharpnessSettings:
    """What is measured of how flat the loss is around a model."""

    examples: int = setting(128, "maximum number of examples of each kind, training and held out", least=1)
    batch_size: int = setting(
        32,
        "examples of a batch; each has its own ascent, as in training",
        least=1,
        unset="the experiment's, or 32",
    )
    radii: tuple[float, ...] = setting((0.02, 0.05, 0.1, 0.2), "radii of the ascent", metavar="X,X")
    hessian_examples: int = setting(64, "examples for the Hessian; 0 leaves it out", least=0)
    seed: int = setting(0, "seed for choosing examples", least=0, option="random-seed")

    def __post_init__(self) -> None:
        check(self)
        if not self.radii or not all(radius > 0 and math.isfinite(radius) for radius in self.radii):
            raise ValueError(f"Invalid radii={list(self.radii)!r}. Must be finite numbers > 0.")

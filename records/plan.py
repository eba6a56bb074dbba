"""Plans: what a claim says, how it is judged, and which runs put it to the test."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records.judge import RULES

from lowland.errors import UserError
from lowland.report.selection import Selection

FIRST_TUNING_SEED = 1000
"""Seeds from here on are for tuning; those of the comparison are smaller."""

JUDGED_AT = (Selection.HELD_OUT, Selection.LAST_STEP)
"""Which step's scores a claim may be judged by; the first by default."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan, read.

    Attributes:
        path: Its file.
        claim: What is claimed and how it is judged.
        settings: What all runs share.
        axis: Dotted setting -> its values; the cells are their combinations in order (of one setting).
        tuning: `seeds`, and the values of `learning_rate` and `rho` to choose from; `cells` are the numbers
            of the cells in which to tune, of which each other cell takes the last one before it.
        comparison: `seeds`, the `first` of them (0 by default; a later one where earlier plans have looked at
            the first ones), and whether to `keep` checkpoints.
        seconds: What a run takes on two quiet cores, to plan with.
    """

    path: Path
    claim: Mapping[str, Any]
    settings: Mapping[str, Any]
    axis: Mapping[str, Sequence[Any]]
    tuning: Mapping[str, Any]
    comparison: Mapping[str, Any]
    seconds: float

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """The cells: dotted setting -> value."""
        ((setting, values),) = self.axis.items()
        return [{setting: value} for value in values]

    def tuned_in(self, cell: int) -> int:
        """Gives the number of the cell whose tuning a cell takes."""
        numbers: Sequence[int] = self.tuning.get("cells", range(len(self.cells)))
        return max((number for number in numbers if number <= cell), default=min(numbers))


def read_plan(path: Path) -> Plan:
    """Reads a plan.

    Raises:
        UserError: If it cannot be read, or a part is missing or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        parts = ("claim", "settings", "axis", "tuning", "comparison")
        for part in parts:
            if not isinstance(content[part], dict):
                raise ValueError(f"{part} must be a table")
        plan = Plan(path=path, seconds=float(content["seconds"]), **{part: content[part] for part in parts})
        _check(plan)
    except KeyError as error:
        raise UserError(f"{path}: not a plan, for it lacks {error.args[0]}.") from None
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a plan ({error}).") from None
    return plan


def _check(plan: Plan) -> None:
    """Finds what would fail when the runs are done."""
    if len(plan.axis) != 1 or not all(isinstance(values, list) and values for values in plan.axis.values()):
        raise ValueError("axis must be one setting and a list of its values")
    claim = plan.claim
    for name in ("letter", "name", "question", "statement"):
        if not isinstance(claim[name], str):
            raise ValueError(f"{name} must be text")
    if claim["rule"] not in RULES:
        raise ValueError(f"rule {claim['rule']!r} is not one of {', '.join(RULES)}")
    for name in RULES[claim["rule"]]:
        claim[name]
    numbers = [*claim.get("cells", ()), *claim.get("against", ()), *plan.tuning.get("cells", ())]
    numbers += [claim["reference"]] if "reference" in claim else []
    if not all(number in range(len(plan.cells)) for number in numbers):
        raise ValueError(f"there are cells 0 to {len(plan.cells) - 1}, but {sorted(numbers)} are named")
    for part, seeds in (("tuning", plan.tuning["seeds"]), ("comparison", plan.comparison["seeds"])):
        if not isinstance(seeds, int) or seeds < 1:
            raise ValueError(f"seeds of {part} must be a number above 0")
    first = plan.comparison.get("first", 0)
    if not isinstance(first, int) or not 0 <= first <= FIRST_TUNING_SEED - plan.comparison["seeds"]:
        raise ValueError(f"first must leave all seeds below {FIRST_TUNING_SEED}, where those of tuning begin")
    judged_at(claim)
    if not plan.tuning["learning_rate"]:
        raise ValueError("learning_rate must be a list of values")


def judged_at(claim: Mapping[str, Any]) -> Selection:
    """Gives the step by whose scores a claim is judged.

    Raises:
        ValueError: If there is no such choice.
    """
    name = claim.get("step", JUDGED_AT[0].value)
    for selection in JUDGED_AT:
        if selection.value == name:
            return selection
    raise ValueError(f"step {name!r} is not one of {', '.join(one.value for one in JUDGED_AT)}")


def claim_of(plan: Path) -> Mapping[str, Any]:
    """Reads what a plan claims."""
    claim: Mapping[str, Any] = tomllib.loads(plan.read_text(encoding="utf-8"))["claim"]
    return claim


def same_plan(one: Path, other: Path) -> bool:
    """Says whether two files are the same plan, comments left out."""
    left, right = (tomllib.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    return left == right

"""The settings of SAM: every default, limit and line of help, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from lowland.settings import check, setting

LARGE = 2.0
"""A larger radius is most likely a mistake, except with ASAM, whose radius has another meaning."""

Descent: TypeAlias = Literal["share", "full"]
Direction: TypeAlias = Literal["ascent", "previous", "momentum", "noise", "adversary"]
Ranks: TypeAlias = Literal["shared", "own"]

BEGIN, RISE = 0.05, 0.1
"""What rho="auto" begins with, and the rise of the loss that it then follows."""


@dataclass(frozen=True, kw_only=True)
class SAMConfig:
    """The settings of SAM, validated once, for `lowland.SAM`, Trainers, files and the command line.

    Each field describes itself; `docs/command-line.md` lists them all.

    Raises:
        ValueError: If a value is invalid, or two do not go together.

    Source:
        The paper's defaults: rho 0.15, a = b/4, m = 1.
    """

    rho: float = setting(
        0.15,
        "radius of the perturbation, over all perturbed parameters together; 0 is the baseline, "
        "auto adapts it as rise does, to 0.1",
        least=0,
        most=1000,  # more than the norm of all weights of a small model: a slip
    )
    ascent: float = setting(
        0.25, "fraction of the batch that the ascent uses, its first examples", above=0, most=1, metavar="A"
    )
    ascent_examples: int | None = setting(
        None, "number of examples that the ascent uses, instead of a fraction", least=1, metavar="N"
    )
    m: int = setting(
        1, "number of perturbed points, whose gradients are averaged (m-sharpness)", least=1, metavar="M"
    )
    descent: Descent = setting(
        "share",
        "what each of M points descends on: its share of the batch, or the full batch at M times the cost",
        metavar="NAME",
    )
    direction: Direction = setting(
        "ascent",
        "the perturbation's direction: the gradient of an ascent pass; or, without such a pass, the previous "
        "step's gradient, the momentum of all steps' gradients, noise, or adversary: an adapter that ascends "
        "(Bi-LoRA, with perturb merged)",
        metavar="NAME",
    )
    adaptive: bool = setting(
        False,
        "scale each weight's part of the perturbation by the weight's size (ASAM); use a rho of 0.2 to 2",
    )
    precondition: bool = setting(
        False,
        "divide each weight's part of the perturbation by the root of the optimizer's second moment (AdamW, "
        "AdaFactor)",
    )
    fisher: float | None = setting(
        None,
        "fraction of the weights that are perturbed, those with the largest gradients of the ascent (FSAM)",
        above=0,
        most=1,
    )
    functional: bool = setting(
        False,
        "descend at w_adv with the gradient that the logits have at w (Functional SAM), for one more forward "
        "pass",
    )
    rise: float | None = setting(
        None,
        "adapt rho so that the ascent examples' loss rises by this fraction, such as 0.1; rho is its "
        "initial value",
        above=0,
        most=10,
    )
    start: float = setting(
        0.0,
        "fraction of the steps that are baseline steps before SAM begins",
        least=0,
        below=1,
        option="sam-start",
    )
    warmup: float = setting(
        0.0,
        "fraction of the steps over which rho rises linearly to its value, from the start of SAM on",
        least=0,
        most=1,
        option="sam-warmup",
    )
    every: int = setting(
        1,
        "one of every K steps is a step of SAM, the others are baseline steps",
        least=1,
        option="sam-every",
        metavar="K",
    )
    ranks: Ranks = setting(
        "shared",
        "in several processes: one w_adv shared by all, or each process's own without communication in the "
        "ascent (m is then their number)",
        metavar="NAME",
    )
    perturb: Sequence[str] | Callable[[str, Any], bool] | None = setting(
        None,
        'perturb only parameters whose names match, such as "*layer_norm*", or head for the output layer '
        "(logits-SAM; rho around 1e-4), or merged for the matrices under adapters (Flat-LoRA, Bi-LoRA); may "
        "be repeated; all are trained",
        metavar="PATTERN",
    )

    @property
    def doubt(self) -> str:
        """A warning about a radius that is most likely too large; empty where it may be right."""
        if self.rho <= LARGE or self.adaptive or self.precondition:
            return ""
        return (
            f"rho={self.rho:g} is far above the radii in use, 0.02 to 0.4: the gradient at w_adv may say "
            "nothing of the weights."
        )

    def __post_init__(self) -> None:
        if cast(object, self.rho) == "auto":
            object.__setattr__(self, "rho", BEGIN)
            object.__setattr__(self, "rise", self.rise or RISE)
        if type(cast(object, self.ascent)) is int:
            raise ValueError(
                f"Invalid ascent={self.ascent}. It is a fraction of the batch, such as 0.25, or 1.0 for the "
                f"whole batch; for a number of examples write ascent_examples={self.ascent}."
            )
        if isinstance(self.perturb, str):
            object.__setattr__(self, "perturb", (self.perturb,))
        elif self.perturb is not None and not callable(self.perturb):
            names: Any = self.perturb
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"Invalid perturb={names!r}. Must be patterns of names, or a function of them."
                )
            object.__setattr__(self, "perturb", tuple(names))
        check(self)
        if self.ascent_examples is not None and self.ascent_examples % self.m:
            raise ValueError(
                f"Invalid ascent_examples={self.ascent_examples} with m={self.m}. "
                "The ascent examples must divide into m groups."
            )
        if self.direction != "ascent" and (self.m > 1 or self.every > 1):
            raise ValueError(
                f"Invalid direction={self.direction!r} with m={self.m} and every={self.every}. Without an "
                "ascent pass m=1 and every=1 are needed."
            )
        if self.direction != "ascent" and (self.rise is not None or self.fisher is not None):
            raise ValueError(
                f"rise= and fisher= need an ascent pass, and direction={self.direction!r} has none."
            )
        if self.perturb == ("merged",) and self.direction not in ("noise", "adversary"):
            raise ValueError(
                "perturb='merged' is Flat-LoRA or Bi-LoRA: add direction='noise' or direction='adversary'."
            )
        if self.direction == "adversary" and (self.perturb != ("merged",) or self.adaptive):
            raise ValueError(
                "direction='adversary' is Bi-LoRA: add perturb='merged', and leave adaptive=True out."
            )
        if self.direction in ("noise", "adversary") and self.precondition:
            raise ValueError(
                f"precondition=True needs a gradient, and direction={self.direction!r} has none."
            )
        if self.start + self.warmup > 1:
            raise ValueError(
                f"Invalid warmup={self.warmup:g} with start={self.start:g}. Their sum is above 1."
            )

"""SAM's settings in one value, for loops that build the gradient themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from lowland.sam import SAMGradient


@dataclass(frozen=True, kw_only=True)
class SAMSettings:
    """The settings of `lowland.SAM`.

    Attributes:
        rho: Radius of the perturbation, >= 0; 0 is standard training.
        ascent: Examples of the ascent: a fraction of the batch in (0, 1], or a number of examples.
        m: Number of adversarial points.
        descent: For m > 1: `share` or `full`.
        perturb: Which parameters are perturbed: a predicate or name patterns; all by default.
        adaptive: Whether each weight's part of the perturbation is measured by the weight's size (ASAM).
        ascent_dropout: Whether the ascent drops out as the descent does. See `lowland.SAM` for where not to
            turn it off.
        ascent_bf16: Whether the ascent's forward pass is under bf16 autocast where the descent's is not.
        ranks: Under DDP: one w_adv for all (`shared`), or one a rank (`own`).
        row_gradients: Whether large tables of embeddings are moved only in the rows that occur: less memory
            and time, the same results. Not for compiled models.
        swap: Whether w_adv takes the place of w instead of being written over it: less time, the same
            results. See `lowland.SAM` for where not.

    Raises:
        ValueError: If `lowland.SAM` would not take a value.
    """

    rho: float = 0.15
    ascent: float | int = 0.25
    m: int = 1
    descent: Literal["share", "full"] = "share"
    perturb: Callable[[str, Tensor], bool] | Sequence[str] | None = None
    adaptive: bool = False
    ascent_dropout: bool = True
    ascent_bf16: bool = False
    ranks: Literal["shared", "own"] = "shared"
    row_gradients: bool = False
    swap: bool = False

    def __post_init__(self) -> None:
        if self.ranks not in ("shared", "own"):
            raise ValueError(f"Invalid ranks={self.ranks!r}. Must be 'shared' or 'own'.")
        # The rules are SAM's own. Only names of parameters and ranks need the model.
        SAMGradient(
            torch.nn.ParameterList([torch.zeros(1)]),
            rho=self.rho,
            ascent=self.ascent,
            m=self.m,
            descent=self.descent,
            adaptive=self.adaptive,
            ascent_dropout=self.ascent_dropout,
            ascent_bf16=self.ascent_bf16,
            row_gradients=self.row_gradients,
            swap=self.swap,
        )

    def gradient(self, module: torch.nn.Module, **options: Any) -> SAMGradient:
        """Builds the gradient.

        Args:
            module: The model, with its wrapper if it has one.
            **options: What is left of the arguments of `lowland.SAM`, such as `scaler`.

        Returns:
            The gradient with these settings.
        """
        return SAMGradient(
            module,
            rho=self.rho,
            ascent=self.ascent,
            m=self.m,
            descent=self.descent,
            perturb=self.perturb,
            adaptive=self.adaptive,
            ascent_dropout=self.ascent_dropout,
            ascent_bf16=self.ascent_bf16,
            ranks=self.ranks,
            row_gradients=self.row_gradients,
            swap=self.swap,
            **options,
        )

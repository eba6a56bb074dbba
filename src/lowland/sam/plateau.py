"""Whether SAM holds training at a plateau: the loss does not fall, and w_adv turns the gradient around."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean

WINDOW = 12
"""Measured steps that are looked at together; the mean of their cosines has an error of about 0.07."""

TURNED = 0.75
"""Of sqrt(a/b), the cosine of pure noise: below this share of it the curvature has turned the gradient."""

FALLEN = 0.95
"""Of the loss in the first steps of SAM, below which it is said to have fallen."""

HELD = "SAM is holding training at a plateau: lower rho, or start later."


class PlateauWatch:
    """Reads the loss at w and the cosine of measured steps; says once that SAM holds training.

    Ascent and descent gradient share a of b examples, so that their cosine is sqrt(a/b) where they are
    nothing but noise, and more where there is something to learn. Below that, the gradient has changed its
    direction between w and w_adv: rho times the curvature is larger than the gradient.

    Args:
        share: a/b, the share of the batch that the ascent uses; 0 for a direction of steps before.

    Source:
        Normalised SAM and plateaus: arXiv 2301.06308, 2509.21818. The thresholds are ours.
    """

    def __init__(self, share: float) -> None:
        self._threshold = TURNED * math.sqrt(share)
        self._first: list[float] = []
        self._recent: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._said = False

    def __call__(self, loss: float, cosine: float) -> bool:
        """Takes the loss at w and the cosine of a measured step; true once, when SAM holds training."""
        if len(self._first) < WINDOW:
            self._first.append(loss)
            return False
        self._recent.append((loss, cosine))
        if self._said or len(self._recent) < WINDOW:
            return False
        held = fmean(loss for loss, _ in self._recent) >= FALLEN * fmean(self._first)
        self._said = held and fmean(cosine for _, cosine in self._recent) < self._threshold
        return self._said

"""The schedule of SAM: which steps are its own, and with which radius."""

from __future__ import annotations

import math

from lowland.sam.config import SAMConfig


def scheduled_rho(config: SAMConfig, step: int, steps: int) -> float | None:
    """Computes the radius of a step, counted from 0; `None` for a baseline step.

    Source:
        The warm-up is that of learning rates (Goyal et al., 2017), applied to rho. Normalised SAM is held at
        a plateau where rho times the curvature exceeds the gradient (arXiv 2301.06308), which new heads of
        pre-trained models are at in their first steps.
    """
    first = math.ceil(config.start * steps)
    if step < first or (step - first) % config.every:
        return None
    length = config.warmup * steps
    return config.rho * min(1.0, (step - first + 1) / length) if length else config.rho

"""An interval over seeds and test examples together: both are taken as drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lowland.statistics.interval import CONFIDENCE

LEAST = 0.1  # least variance, as a part of what noise alone gives; see `crossed_interval`


@dataclass(frozen=True, kw_only=True)
class CrossedInterval:
    """The mean difference of two arms, on other examples of this kind, too, and its 95% interval."""

    difference: float
    low: float
    high: float
    seeds: int
    examples: int


def crossed_interval(reference: ArrayLike, arm: ArrayLike) -> CrossedInterval:
    """Computes the interval for the difference of two arms over seeds and test examples together.

    Each difference is taken as a mean, plus an effect of its seed, plus an effect of its example, plus
    noise. The variance of the mean follows from the mean squares of a two-way layout:
    (MS_seeds + MS_examples - MS_noise) / (seeds * examples), with Satterthwaite's degrees of freedom. The
    variance is kept at a tenth of MS_noise, and the degrees of freedom at seeds - 1 at least. In simulations
    the interval then holds the mean in 93 to 98% of experiments, from 5 seeds on in 94 to 96%.

    Only for outcomes that are means over examples, such as accuracy or likelihood; F1 is none.

    Args:
        reference: The reference's outcome for every seed and example. `# (seeds, examples)`
        arm: The arm's, in the same order. `# (seeds, examples)`

    Source:
        Satterthwaite, "An approximate distribution of estimates of variance components" (1946); Clark, "The
        language-as-fixed-effect fallacy" (1973), whose quasi-F has the same denominator.
    """
    before, after = np.asarray(reference, dtype=float), np.asarray(arm, dtype=float)
    if before.shape != after.shape or before.ndim != 2 or min(before.shape) < 2:
        raise ValueError(
            "Both arms need the same seeds and examples, two or more of each; the arrays (seeds, examples) "
            f"have the shapes {before.shape} and {after.shape}."
        )
    differences = after - before
    if not np.isfinite(differences).all():
        raise ValueError("An outcome of an example is not a finite number.")
    difference, reach = mean_and_reach(differences)
    return CrossedInterval(
        difference=float(difference),
        low=float(difference - reach),
        high=float(difference + reach),
        seeds=differences.shape[0],
        examples=differences.shape[1],
    )


def mean_and_reach(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes mean and half width `# (...)` of the interval from differences `# (..., seeds, examples)`."""
    seeds, examples = differences.shape[-2:]
    mean = differences.mean((-2, -1))
    of_seeds, of_examples = differences.mean(-1), differences.mean(-2)
    noise = differences - of_seeds[..., None] - of_examples[..., None, :] + mean[..., None, None]
    ms_seeds = examples * of_seeds.var(-1, ddof=1)
    ms_examples = seeds * of_examples.var(-1, ddof=1)
    ms_noise = (noise**2).sum((-2, -1)) / ((seeds - 1) * (examples - 1))
    sum_ = ms_seeds + ms_examples - ms_noise
    spread = (
        ms_seeds**2 / (seeds - 1)
        + ms_examples**2 / (examples - 1)
        + ms_noise**2 / ((seeds - 1) * (examples - 1))
    )
    # Without any spread the degrees of freedom do not matter: the interval is a point.
    freedom = np.maximum(sum_**2 / np.where(spread > 0, spread, 1.0), seeds - 1)
    variance = np.maximum(sum_, LEAST * ms_noise) / (seeds * examples)
    return mean, special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance)

"""Which test examples one arm has right and the other wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Where two arms differ, seed by seed.

    Attributes:
        gained: For each seed, how many examples the arm has right and the reference wrong.
        lost: For each seed, how many the other way round.
        telling: The examples on which the arms differ, by their place in the test set, and in how many seeds
            each is gained and lost; the most telling first: those that flip the same way in the most seeds.
    """

    gained: tuple[int, ...]
    lost: tuple[int, ...]
    telling: tuple[tuple[int, int, int], ...]


def find_flips(reference: ArrayLike, arm: ArrayLike) -> Flips:
    """Finds the test examples on which two arms differ.

    Args:
        reference: Whether the reference has each example right, for each seed. `# (seeds, examples)`
        arm: Whether the arm has, in the same order. `# (seeds, examples)`

    Raises:
        ValueError: If the two differ in shape.
    """
    before, after = np.asarray(reference, dtype=bool), np.asarray(arm, dtype=bool)
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(
            "Both arms need the same seeds and examples, as an array (seeds, examples); "
            f"these have the shapes {before.shape} and {after.shape}."
        )
    gained, lost = after & ~before, before & ~after
    ups, downs = gained.sum(0), lost.sum(0)
    # Ties in the order of the test set: the sort is stable.
    order = np.argsort(-np.abs(ups - downs), kind="stable")
    return Flips(
        gained=tuple(gained.sum(1).tolist()),
        lost=tuple(lost.sum(1).tolist()),
        telling=tuple((int(i), int(ups[i]), int(downs[i])) for i in order if ups[i] or downs[i]),
    )


def flip_rows(
    flips: Sequence[tuple[int, int, int]],
    inputs: Sequence[str],
    targets: Sequence[str],
    reference: Sequence[Sequence[str]],
    arm: Sequence[Sequence[str]],
) -> list[dict[str, object]]:
    """Writes flips of `Flips.telling` as rows of JSON lines: what was asked, what is right, each answer.

    Args:
        flips: The flips to show.
        inputs: The test examples' inputs.
        targets: Their targets.
        reference: For each seed the reference's predictions of all examples.
        arm: For each seed the arm's.
    """
    return [
        {
            "example": example,
            "inputs": inputs[example],
            "targets": targets[example],
            "gained": gained,
            "lost": lost,
            "seeds": len(reference),
            "reference": [of_seed[example] for of_seed in reference],
            "arm": [of_seed[example] for of_seed in arm],
        }
        for example, gained, lost in flips
    ]

"""Which test examples one arm has right and the other wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A test example on which the arms differ.

    Attributes:
        example: Its place in the test set, from 0.
        gained: In how many seeds the arm has it right and the reference wrong.
        lost: In how many seeds the other way round.
        seeds: Number of seeds.
    """

    example: int
    gained: int
    lost: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Where two arms differ, seed by seed.

    Attributes:
        gained: For each seed, how many examples the arm has right and the reference wrong.
        lost: For each seed, how many the other way round.
        examples: Number of test examples.
        telling: The examples on which the arms differ, the most telling first: those that flip the same way
            in the most seeds.
    """

    gained: tuple[int, ...]
    lost: tuple[int, ...]
    examples: int
    telling: tuple[Flip, ...]


def find_flips(reference: ArrayLike, arm: ArrayLike) -> Flips:
    """Finds the test examples on which two arms differ.

    Args:
        reference: Whether the reference has each example right, for each seed. `# (seeds, examples)`
        arm: Whether the arm has, in the same order. `# (seeds, examples)`

    Returns:
        The flips.

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
        gained=tuple(int(count) for count in gained.sum(1)),
        lost=tuple(int(count) for count in lost.sum(1)),
        examples=before.shape[1],
        telling=tuple(
            Flip(example=int(index), gained=int(ups[index]), lost=int(downs[index]), seeds=len(before))
            for index in order
            if ups[index] or downs[index]
        ),
    )


def flip_rows(
    flips: Sequence[Flip],
    inputs: Sequence[str],
    targets: Sequence[str],
    reference: Sequence[Sequence[str]],
    arm: Sequence[Sequence[str]],
) -> list[dict[str, object]]:
    """Writes flips for a reader: what was asked, what is right, and what each arm wrote in each seed.

    Args:
        flips: The flips to show.
        inputs: The test examples' inputs.
        targets: Their targets.
        reference: For each seed the reference's predictions of all examples.
        arm: For each seed the arm's.

    Returns:
        A row for each flip, ready for a file of JSON lines.
    """
    return [
        {
            "example": flip.example,
            "inputs": inputs[flip.example],
            "targets": targets[flip.example],
            "gained": flip.gained,
            "lost": flip.lost,
            "seeds": flip.seeds,
            "reference": [of_seed[flip.example] for of_seed in reference],
            "arm": [of_seed[flip.example] for of_seed in arm],
        }
        for flip in flips
    ]

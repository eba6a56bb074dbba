"""Which examples one arm has right and the other wrong."""

from __future__ import annotations

import numpy as np
import pytest

from lowland.outcomes.flips import find_flips, flip_rows


def test_by_hand() -> None:
    """Two seeds and four examples, worked by hand: the example that flips in both seeds comes first."""
    reference = [[1, 0, 1, 0], [1, 0, 0, 1]]
    arm = [[1, 1, 0, 0], [1, 1, 1, 1]]
    found = find_flips(reference, arm)
    assert (found.gained, found.lost) == ((1, 2), (1, 0))
    assert found.telling == ((1, 2, 0), (2, 1, 1))


def test_flips_add_up_to_the_difference_of_accuracies() -> None:
    """Gained minus lost over all seeds and examples is the difference of right answers."""
    rng = np.random.default_rng(0)
    reference, arm = rng.random((2, 5, 80)) < 0.7
    found = find_flips(reference, arm)
    assert sum(found.gained) - sum(found.lost) == int(arm.sum()) - int(reference.sum())
    assert sum(ups - downs for _, ups, downs in found.telling) == int(arm.sum()) - int(reference.sum())
    telling = [abs(ups - downs) for _, ups, downs in found.telling]
    assert telling == sorted(telling, reverse=True)


def test_rows_show_what_was_written() -> None:
    """A row holds the example and what each arm wrote in every seed."""
    found = find_flips([[1, 0]], [[1, 1]])
    assert flip_rows(found.telling, ["a", "b"], ["1", "2"], [["1", "0"]], [["1", "2"]]) == [
        {
            "example": 1,
            "inputs": "b",
            "targets": "2",
            "gained": 1,
            "lost": 0,
            "seeds": 1,
            "reference": ["0"],
            "arm": ["2"],
        }
    ]


def test_other_shapes_are_refused() -> None:
    """Arms with other seeds or examples are refused."""
    with pytest.raises(ValueError, match="same seeds and examples"):
        find_flips([[1, 0]], [[1, 0, 1]])

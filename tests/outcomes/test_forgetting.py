"""The rise of the loss on general text."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from lowland.outcomes.forgetting import FORGETTING, forgotten, general_loss
from lowland.statistics import Kind


def test_batches_do_not_change_the_loss() -> None:
    """The loss is a mean over tokens, however they are cut into batches."""
    torch.manual_seed(0)
    logits, tokens = torch.randn(17, 9, dtype=torch.float64), torch.randint(9, (17,))

    def loss(rows: slice) -> tuple[float, int]:
        return float(cross_entropy(logits[rows], tokens[rows], reduction="sum")), len(tokens[rows])

    whole = general_loss(loss, [slice(0, 17)])
    # Sums in fp64.
    assert whole == pytest.approx(float(cross_entropy(logits, tokens)), rel=1e-12)
    assert general_loss(loss, [slice(0, 3), slice(3, 4), slice(4, 17)]) == pytest.approx(whole, rel=1e-12)


def test_forgetting_less_is_better() -> None:
    """An arm whose loss rises less is better."""
    rises = [[forgotten(2.0, after) for after in arm] for arm in ([3.0, 3.1, 3.05], [2.4, 2.5, 2.42])]
    assert FORGETTING.decide(*rises).kind is Kind.BETTER
    with pytest.raises(ValueError, match="no tokens"):
        general_loss(lambda batch: (0.0, 0), [None])

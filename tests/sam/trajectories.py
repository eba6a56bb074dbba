"""What two processes do in the distributed tests: steps that must agree with those of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.sam.ranks import (
    CASES,
    WORLD,
    Net,
    alone,
    assert_same_gradients,
    assert_same_info,
    assert_same_weights,
    case,
    ddp,
    halves,
    joined,
    shard,
)
from tests.sam.toys import SAM, Batch, token_batch
from torch import nn

from lowland import StandardGradient
from lowland.batches.batch import rows


def trajectory(
    rank: int,
    wrap: Callable[[nn.Module], nn.Module],
    ascent: int = 2,
    m: int = 1,
    own: bool = False,
    standard: bool = False,
    unused: bool = False,
    by_parameters: bool = False,
    steps: int = 3,
    parts_of: Callable[[int], list[Batch]] = halves,
    **options: Any,
) -> None:
    """Takes steps of AdamW together and alone: gradients, figures and weights must agree at each."""
    wrapped, other = wrap(Net(unused)), Net(unused)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.05)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.05)
    handed: Any = wrapped.parameters() if by_parameters else wrapped
    other_handed: Any = other.parameters() if by_parameters else other
    together: StandardGradient
    single: StandardGradient
    if standard:
        together, single = StandardGradient(handed, **options), StandardGradient(other)
    elif own:
        together = SAM(handed, rho=0.3, ascent=ascent * WORLD, ranks="own", **options)
        single = SAM(other, rho=0.3, ascent=ascent * WORLD, m=WORLD)
    else:
        together = SAM(handed, rho=0.3, ascent=ascent if by_parameters else ascent * WORLD, m=m, **options)
        expected = {key: value for key, value in options.items() if key != "micro_batch_size"}
        single = SAM(other_handed, rho=0.3, ascent=ascent * WORLD, m=m, **expected)
    for step in range(steps):
        parts = parts_of(step)
        info = together(wrapped, parts[rank])
        expected_info = single(other, joined(parts) if own else alone(parts, ascent, m, "descent" in options))
        assert_same_gradients(wrapped, other)
        if not own and not by_parameters:  # there a rank's figures are its own
            assert_same_info(info, expected_info)
        optimizer.step()
        other_optimizer.step()
        assert_same_weights(wrapped, other)
        for one in (optimizer, other_optimizer):
            one.zero_grad()


FLAVOURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bucket_view": {"gradient_as_bucket_view": True},
    "static_graph": {"static_graph": True},
    "find_unused": {"find_unused_parameters": True},
}


def _enter_flavours() -> None:
    for flavour, options in FLAVOURS.items():
        unused = flavour == "find_unused"
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "_micro_batches": {"micro_batch_size": 4},
            "_m2_share": {"m": 2},
            "_m2_full": {"m": 2, "descent": "full"},
            "_own": {"own": True},
            "_own_micro_batches": {"own": True, "micro_batch_size": 4},
            "_standard_micro_batches": {"standard": True, "micro_batch_size": 4},
            "_some_perturbed": {"perturb": "hidden.*"},
        }
        for name, variant in variants.items():
            if flavour == "static_graph" and "own" in variant:
                continue

            def run(rank: int, options: Any = options, variant: Any = variant, unused: bool = unused) -> None:
                trajectory(rank, ddp(**options), unused=unused, **variant)

            CASES[f"ddp_{flavour}{name}"] = run
    for name, variant in {
        "": {},
        "_micro_batches": {"micro_batch_size": 4},
        "_m2_share": {"m": 2},
        "_m2_full": {"m": 2, "descent": "full"},
        "_standard_micro_batches": {"standard": True, "micro_batch_size": 4},
        "_some_perturbed": {"perturb": "hidden.*"},
    }.items():

        def run_sharded(rank: int, variant: Any = variant) -> None:
            trajectory(rank, shard, **variant)

        CASES[f"fsdp2{name}"] = run_sharded


_enter_flavours()


def uneven(step: int) -> list[Batch]:
    """The ranks have different numbers of examples, and so of micro-batches."""
    first, second = halves(step)
    return [first, rows(second, 0, 3)]


def uneven_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """As `trajectory`, in micro-batches of 2: three passes on one rank, two on the other."""
    wrapped, other = wrap(Net()), Net()
    parts = uneven(0)
    info = SAM(wrapped, rho=0.3, ascent=6, micro_batch_size=2)(wrapped, parts[rank])
    batch = joined([rows(parts[0], 0, 3), parts[1], rows(parts[0], 3, 6)])
    expected = SAM(other, rho=0.3, ascent=6)(other, batch)
    assert_same_gradients(wrapped, other)
    assert_same_info(info, expected)


@case
def ddp_uneven(rank: int) -> None:
    """Under DDP the ranks may have different numbers of examples and micro-batches."""
    uneven_trajectory(rank, ddp())


@case
def fsdp2_uneven(rank: int) -> None:
    """Under FSDP2, where every pass waits for the other ranks, so may they."""
    uneven_trajectory(rank, shard)


@case
def ddp_parameters_only(rank: int) -> None:
    """With the parameters alone DDP's own reductions make the ascent shared; ranks then weigh the same."""

    def equal(step: int) -> list[Batch]:
        return [token_batch([2, 3, 5, 1], seed=step), token_batch([3, 2, 1, 5], seed=step + 9)]

    trajectory(rank, ddp(), by_parameters=True, parts_of=equal)
    trajectory(rank, ddp(), by_parameters=True, parts_of=equal, perturb="1")

"""What to do where an experiment does not fit on a device, or takes days."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from lowland.config.experiment import ExperimentConfig

USABLE = 0.9
"""The part of the free memory that is counted on; the rest is left for what no estimate knows."""

LONG = 86_400.0
"""Seconds from which on an experiment is long."""

DEVICE_SPEED = 1e14
"""Floating-point operations a second that a data-centre GPU reaches in bf16 training, roughly."""

SMALL = 5e8
"""Bytes below which a model is too small to keep such a GPU busy."""

UNITS = (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60))


def gigabytes(size: float) -> str:
    """Writes bytes as GB, or as MB where they are few."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{max(1, math.ceil(size / 1e6))} MB"


def span(seconds: float) -> str:
    """Writes a time in the largest unit of which there are two at least, such as `3 hours`."""
    for name, length in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{math.ceil(seconds)} s"


def advise(
    config: ExperimentConfig,
    *,
    pieces: int,
    fixed: float,
    activations: Callable[[int], float],
    available: float,
    run_seconds: Mapping[str, float],
    runs: Mapping[str, int],
    speed: float,
) -> tuple[str, ...]:
    """Says what to change, and how to spread an experiment over devices.

    Args:
        config: The experiment.
        pieces: Examples of a forward pass.
        fixed: Bytes that are needed whatever the batch.
        activations: Gives the bytes that a forward pass of so many examples needs besides.
        available: Bytes that are free.
        run_seconds: Arm -> time of a run.
        runs: Arm -> runs that are left.
        speed: Floating-point operations a second on this machine.

    Returns:
        Sentences; none where all is well.
    """
    advice: list[str] = []
    needed, room = fixed + activations(pieces), USABLE * available
    if needed > room:
        if fixed + activations(1) > room:
            least = gigabytes((fixed + activations(1)) / USABLE)
            advice.append(
                f"This does not fit: {gigabytes(available)} are free, and even one example at a time needs a "
                f"device with {least}."
            )
        else:
            # A power of two, so that the pieces of a usual batch are alike.
            micro = 1
            while fixed + activations(2 * micro) <= room:
                micro *= 2
            advice.append(
                f"A batch does not fit at once: give --micro-batch-size {micro}, which computes the same in "
                f"{gigabytes(fixed + activations(micro))}."
            )
    seconds = sum(run_seconds[arm] * left for arm, left in runs.items())
    if seconds > LONG:
        seeds = len(config.seeds)
        if seeds > 1:
            advice.append(
                f"The {seeds} seeds do not depend on one another: on devices of their own (--jobs {seeds}, "
                "or on a cluster with --launcher slurm, too) they take as long as one, "
                f"{span(sum(run_seconds[arm] for arm in runs))}."
            )
        advice.append(
            "One run can be spread over the devices of a machine, 8 for example, with "
            "`torchrun --nproc-per-node 8 -m lowland` in place of `lowland`."
        )
        if speed < DEVICE_SPEED / 2 and fixed > SMALL:
            faster = seconds * speed / DEVICE_SPEED
            advice.append(
                f"One device with 100 teraFLOP/s (a data-centre GPU in bf16) would take about {span(faster)}."
            )
        advice.append("A rehearsal of the whole: add --scale 0.001 and, for a small model, --model embedded.")
    return tuple(advice)

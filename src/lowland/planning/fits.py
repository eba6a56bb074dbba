"""Whether an experiment fits on this machine: one that does not would be killed by the system."""

from __future__ import annotations

import shutil
from pathlib import Path

from lowland.errors import UserError
from lowland.planning.advice import gigabytes
from lowland.planning.plan import Plan

FAR = 1.2
"""An estimate of memory may be off by a fifth; what is further above the free memory does not fit."""


def refuse_oversized(plan: Plan, path: Path, jobs: int = 1) -> None:
    """Refuses an experiment that needs far more memory or disk than is free.

    Args:
        plan: What it will do.
        path: Where its results go.
        jobs: Runs at a time, each of which needs the memory.

    Raises:
        UserError: If it does not fit; the sentence says how it would, and how to start it all the same.
    """
    jobs = min(jobs, sum(plan.runs.values())) if plan.device == "CPU" else 1
    needed = jobs * sum(plan.memory.values())
    if needed > FAR * plan.available:
        together = f" for {jobs} runs at a time" if jobs > 1 else ""
        remedy = next(
            (sentence for sentence in plan.advice if "fit" in sentence.partition(":")[0]),
            "Give fewer --jobs." if jobs > 1 else "Give a smaller --batch-size.",
        )
        raise UserError(
            f"Training needs about {gigabytes(needed)} of memory{together}, and {gigabytes(plan.available)} "
            f"are free: the system would kill it. {remedy} --anyway starts it all the same."
        )
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
    free, wanted = shutil.disk_usage(there).free, sum(plan.disk.values())
    if wanted > FAR * free:
        raise UserError(
            f"The results need about {gigabytes(wanted)} of disk, and {gigabytes(free)} are free at {there}. "
            "Give another place with --out. --anyway starts it all the same."
        )

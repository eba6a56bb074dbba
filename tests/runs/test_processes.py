"""The command line on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [
    *(
        "compare",
        "facts/continents",
        "--outcomes",
        "none",
        "--steps",
        "4",
        "--evaluate-every",
        "2",
        "--log-every",
        "1",
    ),
    *("--seeds", "1", "--eval-limit", "8", "--held-out", "10", "--precision", "fp32", "--batch-size", "8"),
    *("--dropout", "0", "--rho", "0.05", "--out"),
]


def losses(folder: Path, arm: str) -> list[float]:
    """The losses in a run's log."""
    lines = (folder / f"{arm}-seed0" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """`torchrun` on two processes gives one process's losses in both arms."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    one, two = tmp_path / "one" / "out", tmp_path / "two" / "out"
    for start, folder in (([sys.executable], one), (torchrun, two)):
        command = [*start, "-m", "lowland", *COMMAND, str(folder)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Results:") == 1
    for arm in ("baseline", "sam"):
        # 1e-4: fp32 sums of two processes in another order, over four steps of AdaFactor.
        assert losses(two, arm) == pytest.approx(losses(one, arm), rel=1e-4)

"""`--deterministic`: the same bits from the same command, and the number of threads of the beginning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.durability.harness import Machine, differences, picture

CODE = """
import torch
from lowland.train.machine import be_deterministic
be_deterministic()
assert torch.are_deterministic_algorithms_enabled()
assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
import os
assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
# An operation that adds in the order in which threads come has no deterministic form on every device.
weights = torch.nn.Embedding(5, 2)
weights(torch.tensor([1, 1, 2])).sum().backward()
print(weights.weight.grad[1].tolist())
"""


def test_the_switches_are_set() -> None:
    """The switch turns on what torch, cuDNN and cuBLAS have for it, and gradients still come."""
    environment = {key: value for key, value in os.environ.items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2.0, 2.0]\n"


def test_a_deterministic_run_repeats(machine: Machine, folder: Path) -> None:
    """Two deterministic runs leave the same bytes, and the number of threads is on record."""
    more = ("--deterministic",)
    for name in ("one", "two"):
        assert machine.run("train", folder / name, more=more).codes == [0]
    assert differences(picture(folder / "one"), picture(folder / "two")) == []
    assert json.loads((folder / "one" / "sam-seed0" / "env.json").read_text())["threads"] == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("deterministic", [True, False])
def test_an_interrupted_run_and_its_threads(machine: Machine, folder: Path, deterministic: bool) -> None:
    """Gone on with more threads, a deterministic run keeps its number, and another one says what differs."""
    out, more = folder / "out", ("--deterministic",) if deterministic else ()
    assert machine.run("train", out, at=machine.operations("train") // 3, more=more).killed
    ended = machine.run("train", out, more=more, threads=2)
    assert ended.codes == [0], ended.output
    assert ("threads 1 then, 2 now" in ended.output) != deterministic
    if deterministic:
        assert machine.run("train", folder / "through", more=more).codes == [0]
        assert differences(picture(out), picture(folder / "through")) == []

"""The examples run, and the documentation shows what they say."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != "toy.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run(*arguments: str) -> str:
    """Runs Python in the examples' folder and returns what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT / "examples",
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def losses(output: str) -> list[float]:
    """The losses that an example prints, step by step."""
    return [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", output)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peft_lora.py", "plain.py"])
def test_loop(name: str) -> None:
    """The example runs, and every step it prints has the radius that was asked for."""
    output = run(name)
    assert output.count("radius 0.0500") == 4


@pytest.mark.slow
def test_trainer() -> None:
    """The Trainer's example logs SAM's figures beside its own."""
    assert run("trainer.py").count("'radius': '0.05'") == 3


@pytest.mark.slow
def test_accelerate() -> None:
    """The Accelerate example takes two steps on one process."""
    assert run("accelerate_loop.py").count("radius 0.0500") == 2


@pytest.mark.slow
@pytest.mark.distributed
def test_accelerate_on_two_processes() -> None:
    """On two processes with twice the batch the Accelerate example takes half the steps."""
    assert run(*TORCHRUN, "accelerate_loop.py").count("radius 0.0500") == 1


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_distributed() -> None:
    """DDP and FSDP2 take the same four steps from the embedded model."""
    ddp, fsdp2 = (run(*TORCHRUN, "distributed.py", kind) for kind in ("ddp", "fsdp2"))
    assert ddp.count("radius 0.0500") == fsdp2.count("radius 0.0500") == 4
    # Sums of fp32 in another order, through four steps of AdamW, printed with four digits.
    assert losses(ddp) == pytest.approx(losses(fsdp2), rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
def test_lightning() -> None:
    """The Lightning example trains and logs the radius."""
    assert "'radius': 0.05" in run("lightning_module.py")


def code_lines(text: str) -> list[str]:
    """The lines of a piece of code without empty ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def holds(example: list[str], block: list[str]) -> bool:
    """Whether lines stand in an example together, at whatever indentation."""
    windows = (example[start : start + len(block)] for start in range(len(example) - len(block) + 1))
    return any(code_lines(textwrap.dedent("\n".join(window))) == block for window in windows)


def test_the_documentation_shows_the_examples() -> None:
    """Every block of Python in your-own-loop.md stands in an example, word for word."""
    page = (ROOT / "docs" / "your-own-loop.md").read_text()
    blocks = [code_lines(block) for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    examples = [code_lines((ROOT / "examples" / name).read_text()) for name in EXAMPLES]
    assert len(blocks) >= 9
    missing = [block for block in blocks if not any(holds(example, block) for example in examples)]
    assert not missing


def test_the_documentation_names_every_example() -> None:
    """your-own-loop.md links to every example."""
    page = (ROOT / "docs" / "your-own-loop.md").read_text()
    assert [name for name in EXAMPLES if f"(../examples/{name})" not in page] == []

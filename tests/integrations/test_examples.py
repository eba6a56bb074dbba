"""The examples run, and the documentation shows what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from examples import label_noise

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


def test_without_a_radius_label_noise_shows_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a radius of nothing SAM scores as the baseline does, and what is done is not done again."""
    for name, value in {
        "STEPS": 4, "EVALUATE_EVERY": 2, "SEEDS": range(6), "TUNING_SEEDS": range(1000, 1001), "RHOS": (0.0,),
        "LABEL_NOISE": (0.4,), "OPTIMIZERS": {"sgd": (0.1, 0.01), "adamw": (0.001,)},
    }.items():  # fmt: skip
        monkeypatch.setattr(label_noise, name, value)
    label_noise.main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("| +0.0 (+0.0 to +0.0) | equal within 0.5 points |") == 4
    file = tmp_path / "runs.jsonl"
    before = file.read_bytes()
    file.write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
    trained = []
    monkeypatch.setattr(
        label_noise, "train", lambda run, train=label_noise.train: trained.append(run) or train(run)
    )
    label_noise.main(["--out", str(tmp_path)])
    assert file.read_bytes() == before and capsys.readouterr().out == printed and len(trained) == 1


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["baseline, sgd, label_noise 0.2, learning_rate 0.03",
                                 "sam, sgd, label_noise 0.2, learning_rate 0.03, rho 0.2"])  # fmt: skip
def test_a_recorded_run_with_wrong_labels_can_be_redone(arm: str) -> None:
    """A run of records/2026-11-26_control, trained again, ends at the recorded accuracy."""
    record = json.loads((ROOT / "records" / "2026-11-26_control" / "result.json").read_text(encoding="utf-8"))
    (old,) = (run for run in record["runs"] if (run["arm"], run["seed"]) == (arm, 3))
    new = label_noise.train(label_noise.Digits(**{"rho": None, **record["arms"][arm]}, seed=3))
    # 797 rows: another machine's sums of floats may move the answers to a few of them.
    assert new["test"][-1] == pytest.approx(old["test"]["digits"]["accuracy"][-1], abs=0.8)
    assert len(new["test"]) == len(old["steps"])


def test_labels_are_as_wrong_as_asked() -> None:
    """Of the training labels the share that was asked for is wrong, whole, and the test set's are right."""
    parts, clean = (
        label_noise.rows_of(label_noise.Digits("sgd", noise, 0.1, None, 3)) for noise in (0.4, 0.0)
    )
    pixels, labels = label_noise.load_digits(return_X_y=True)
    right = {row.astype(int).tobytes(): label for row, label in zip(pixels, labels, strict=True)}
    for rows, of in clean.values():
        for row, label in zip(rows.numpy(), of, strict=True):
            assert right[(16 * row).astype(int).tobytes()] == label
    differ = {name: int((parts[name][1] != clean[name][1]).sum()) for name in parts}
    assert differ == {"train": 320, "validation": 80, "test": 0}
    for name, (rows, _) in parts.items():
        assert (rows == clean[name][0]).all()


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

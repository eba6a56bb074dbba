"""The methods as arms of a comparison, and what a reader is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.command import succeed
from tests.families.tiny import write_model, write_rows

SHORT = [
    *("--steps", "12", "--evaluate-every", "12", "--batch-size", "8", "--log-every", "4"),
    *("--seeds", "1", "--precision", "fp32"),
]


def test_methods_and_rivals_are_arms(tmp_path: Path) -> None:
    """Arms of methods and rivals run side by side; a radius that follows the rise of the loss is logged."""
    words = ["compare", *write_rows(tmp_path), "--model", write_model(tmp_path / "start", "bert")]
    out = tmp_path / "out"
    arms = "auto,functional-preconditioned,ema,smart"
    succeed(*words, *SHORT, "--arms", arms, "--out", out)
    lines = (out / "auto-seed0" / "sam.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["radius"] > 0


@pytest.mark.slow  # three runs
def test_adapters_have_adversaries(tmp_path: Path) -> None:
    """With LoRA, noise and the adversary reach their radius beside the adapters."""
    pytest.importorskip("peft")
    words = ["compare", *write_rows(tmp_path), "--model", write_model(tmp_path / "start", "bert")]
    out = tmp_path / "out"
    arms = ["--arms", "baseline,flat-lora,bi-lora", "--rho", "0.02", "--learning-rate", "0.01"]
    succeed(*words, *SHORT, "--lora", "r=2", *arms, "--out", out)
    for arm in ("flat-lora", "bi-lora"):
        lines = (out / f"{arm}-seed0" / "sam.jsonl").read_text(encoding="utf-8").splitlines()
        # 1e-6: float32.
        assert json.loads(lines[-1])["radius"] == pytest.approx(0.02, abs=1e-6)

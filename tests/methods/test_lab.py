"""The methods as arms of a comparison, and what a reader is told of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.cli.command import succeed
from tests.families.tiny import write_model, write_rows

SHORT = [
    *("--steps", "12", "--evaluate-every", "12", "--batch-size", "8", "--log-every", "4"),
    *("--seeds", "1", "--precision", "fp32"),
]


def test_a_radius_by_itself_is_in_the_card(tmp_path: Path) -> None:
    """The model's card says which radius was found, and arms of methods and rivals run side by side."""
    words = ["compare", *write_rows(tmp_path), "--model", write_model(tmp_path / "start", "bert")]
    out = tmp_path / "out"
    arms = "auto,functional-preconditioned,ema,smart"
    succeed(*words, *SHORT, "--arms", arms, "--out", out)
    card = (out / "model" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"The radius that was found: ([\d.]+) at the end", card)
    assert found is not None and float(found[1]) > 0
    lines = (out / "auto-seed0" / "sam.jsonl").read_text(encoding="utf-8").splitlines()
    assert f'"radius": {found[1][:3]}' in lines[-1]


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

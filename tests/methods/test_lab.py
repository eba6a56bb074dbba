"""The methods as arms of a comparison, and what a reader is told of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.command import succeed
from tests.families.tiny import write_model, write_rows


def test_a_radius_by_itself_is_in_the_card(tmp_path: Path) -> None:
    """The model's card says which radius was found, and arms of methods and rivals run side by side."""
    words = ["compare", *write_rows(tmp_path), "--model", write_model(tmp_path / "start", "bert")]
    short = [
        "--steps",
        "12",
        "--evaluate-every",
        "12",
        "--batch-size",
        "8",
        "--log-every",
        "4",
        "--seeds",
        "1",
    ]
    out = tmp_path / "out"
    arms = "auto,functional-preconditioned,ema,smart"
    succeed(*words, *short, "--precision", "fp32", "--arms", arms, "--out", out)
    card = (out / "model" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"The radius that was found: ([\d.]+) at the end", card)
    assert found is not None and float(found[1]) > 0
    lines = (out / "auto-seed0" / "sam.jsonl").read_text(encoding="utf-8").splitlines()
    assert f'"radius": {found[1][:3]}' in lines[-1]

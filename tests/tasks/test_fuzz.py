"""Properties of the readers and of settings: whatever comes in, there are rows, settings, or one sentence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tasks.fuzz_readers import GOOD, check, mutated

from lowland.config.experiment import ExperimentConfig, build_config
from lowland.config.layers import read_layer
from lowland.errors import UserError
from lowland.report.formats import Table, to_csv, to_latex, to_markdown

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SUFFIX = st.sampled_from(sorted(GOOD))


@FEW
@given(suffix=SUFFIX, content=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, suffix: str, content: bytes) -> None:
    """Any bytes are read as rows or settings, or refused with one sentence."""
    check(suffix, content, tmp_path)


@FEW
@given(suffix=SUFFIX, seed=st.integers(0, 2**32))
def test_damaged_files(tmp_path: Path, suffix: str, seed: int) -> None:
    """A good file that was damaged in a few places is read, or refused with one sentence."""
    check(suffix, mutated(GOOD[suffix], random.Random(seed)), tmp_path)


@pytest.mark.parametrize("suffix", sorted(GOOD))
def test_good_files_are_read(tmp_path: Path, suffix: str) -> None:
    """The files that are damaged above are read as they are."""
    assert check(suffix, GOOD[suffix], tmp_path)


VALUE: Any = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())
)
NAMES = {
    "train": [
        "steps",
        "batch_size",
        "micro_batch_size",
        "learning_rate",
        "schedule",
        "on_non_finite",
        "dropout",
    ],
    "sam": ["rho", "ascent", "m", "descent"],
    "data": ["tasks", "fraction", "held_out", "evaluation_limit", "cap", "temperature", "custom"],
}
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        **{
            section: st.dictionaries(st.sampled_from(names), VALUE) | VALUE
            for section, names in NAMES.items()
        },
        "model": VALUE,
        "seeds": VALUE,
        "arms": VALUE,
    },
)


@FEW
@given(layer=SECTIONS)
def test_any_settings(tmp_path: Path, layer: dict[str, Any]) -> None:
    """Any settings make an experiment whose file makes the same one again, or are refused."""
    try:
        config = build_config({"data": {"tasks": ["facts"]}}, layer)
    except UserError:
        return
    assert isinstance(config, ExperimentConfig)
    path = tmp_path / "experiment.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert build_config(read_layer(path)) == config


NASTY = [
    "<script>alert(1)</script>",
    "![x](http://evil/x.png)",
    '=HYPERLINK("http://evil")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "-2+3",
    "\\input{/etc/passwd}",
    "$\\write18{ls}$ & % #",
    "a | b\n# c",
    "\x1b[31mred\x1b[0m\u202e",
]


@pytest.mark.parametrize("text", NASTY)
def test_reports_escape(text: str) -> None:
    """Nothing that a name holds is mark-up, a command or a formula in any format of a table."""
    table = Table(
        name="t",
        title=text,
        columns=(text, "n"),
        align="lr",
        rows=((text, "1"),),
        records=({text: text, "n": 1},),
    )
    markdown, latex, csv = to_markdown(table), to_latex(table), to_csv(table)
    assert not any(mark in written for mark in ("\x1b", "\u202e") for written in (markdown, latex, csv))
    assert "<script" not in markdown.replace("\\<script", "") and "![x]" not in markdown
    assert "\n# c" not in markdown
    assert "\\input{" not in latex and "\\write18" not in latex
    for line in csv.splitlines():
        for cell in (line, *line.split(",")):
            assert not cell.strip('"').startswith(("=", "+", "@", "-"))

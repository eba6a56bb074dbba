"""The table in the documentation speaks of the suite as it is."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tests.conformance import test_defects, test_devices, test_properties

DOCS = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
CLAIMS = [
    inspect.getdoc(function) or ""
    for module in (test_defects, test_devices, test_properties)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name.startswith("test_")
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim_is_in_the_table(claim: str) -> None:
    """Each claim of the suite is a row of docs/conformance.md, which lowland passes."""
    assert f"| {claim} | passes |" in DOCS.read_text()


def test_table_has_no_other_row() -> None:
    """The table has a row for each claim, and no other."""
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| ") and "lowland" not in line]
    assert len(rows) == len(CLAIMS)

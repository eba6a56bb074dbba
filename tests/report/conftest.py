"""Stand-ins for figures: drawing takes longer than everything else here."""

from __future__ import annotations

import pytest


@pytest.fixture
def drawn() -> None:
    """Asks for real figures in a report."""


@pytest.fixture(autouse=True)
def _sketch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a stand-in for a report's figures, except in tests that ask for `drawn`."""
    if "drawn" not in request.fixturenames:
        files = {"scores.png": b"png", "scores.svg": b"<svg></svg>"}
        draw = lambda report: files if report.scores else {}
        monkeypatch.setattr("lowland.report.write.draw_report", draw)

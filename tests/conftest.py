"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every command that
# they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]

# Other work on the machine makes single examples slow: no test is about time.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The optional folder `shared` beside the checkout, with reference material; skips where it is absent."""
    folder = Path(os.environ.get("LOWLAND_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            f"{folder} is not here: this test compares with reference material kept outside the project"
        )
    return folder


@pytest.fixture(autouse=True)
def forget_accelerators() -> Iterator[None]:
    """Lets every test choose its own precision: Accelerate keeps that of a process's first Accelerator."""
    yield
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints how many commands the tests of durability killed in all, on all workers."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    counts = [dict(report.user_properties) for report in reports if report.when == "call"]
    kills = sum(int(str(count.get("kills", 0))) for count in counts)
    if kills:
        failed = sum("kills" in dict(report.user_properties) for report in reports if report.failed)
        terminalreporter.write_line(f"durability: {kills} kills; {failed} tests found a difference or a loss")

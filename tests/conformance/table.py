"""Prints the table of docs/conformance.md: what each implementation passes.

python -m tests.conformance.table
"""

from __future__ import annotations

import inspect
import os
import platform
import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FILES = ("test_defects.py", "test_devices.py", "test_properties.py")
WORDS = {"passed": "passes", "skipped": "–", "failed": "**fails**"}


class Outcomes:
    """Collects the outcome of every test, the worst of its cases, by implementation."""

    def __init__(self) -> None:
        self.claims: dict[tuple[str, str], str] = {}
        self.outcomes: dict[tuple[str, str, str], str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Takes down each test's claim and the implementation it examines."""
        for item in items:
            assert isinstance(item, pytest.Function)
            test = item.path.name, item.originalname
            self.claims[test] = inspect.getdoc(item.function) or ""
            implementation = item.callspec.params["implementation"]
            item.user_properties.append(("cell", [*test, implementation]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the worst outcome of a test's cases."""
        for name, cell in report.user_properties:
            if name == "cell" and (report.when == "call" or report.failed):
                key = tuple(cell)
                order = ["passed", "skipped", "failed"]
                worst = max(self.outcomes.get(key, "passed"), report.outcome, key=order.index)
                self.outcomes[key] = worst


def main() -> int:
    """Runs the suite on every implementation and prints the table in Markdown."""
    os.environ["LOWLAND_CONFORMANCE"] = "lowland,pytorch-optimizer,plain two-call SAM"
    from tests.conformance.implementations import IMPLEMENTATIONS

    outcomes = Outcomes()
    files = [str(HERE / file) for file in FILES]
    with redirect_stdout(sys.stderr):
        pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *files], plugins=[outcomes])
    names = list(IMPLEMENTATIONS)
    print(f"{date.today():%Y-%m-%d}, PyTorch {torch.__version__}, Python {platform.python_version()}.\n")
    heads = [f"{name} {one.version()}".strip() for name, one in IMPLEMENTATIONS.items()]
    print(f"| Claim | {' | '.join(heads)} |")
    print("|---|" + "---|" * len(names))
    for (where, test), claim in outcomes.claims.items():
        cells = [WORDS[outcomes.outcomes[where, test, name]] for name in names]
        print(f"| {claim} | {' | '.join(cells)} |")
    lowland = [outcome for (_, _, name), outcome in outcomes.outcomes.items() if name == "lowland"]
    return 0 if set(lowland) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())

"""Runs the suite on lowland; on other implementations, too, where LOWLAND_CONFORMANCE names them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.conformance.implementations import IMPLEMENTATIONS, Implementation, NotOffered

NAMES = os.environ.get("LOWLAND_CONFORMANCE", "lowland").split(",")


@pytest.fixture(params=NAMES, scope="session")
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """The implementation that a test examines."""
    return IMPLEMENTATIONS[request.param]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skips a test of what an implementation does not offer."""
    try:
        yield
    except NotOffered:
        pytest.skip("not offered")

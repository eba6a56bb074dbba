"""The lock with hashes says what the lock says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("hash_lock", ROOT / "tools" / "hash_lock.py")
assert _SPEC is not None and _SPEC.loader is not None
hash_lock = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hash_lock)


def test_both_locks_pin_the_same() -> None:
    """The lock with hashes has the pins of the other one, in order, all but PyTorch's."""
    wanted = [pin for pin in hash_lock.pins(hash_lock.LOCK.read_text()) if pin[0] != "torch"]
    assert hash_lock.pins(hash_lock.HASHED.read_text()) == wanted


def test_every_pin_has_hashes() -> None:
    """Every pin is followed by one SHA-256 at least, and nothing else stands in the file."""
    body = hash_lock.HASHED.read_text().removeprefix(hash_lock.HEADER)
    entry = r"[A-Za-z0-9._-]+==[^\s\\]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({entry})+", body)


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("rich-14.1.0-py3-none-any.whl", "14.1.0"),
        ("rich-14.1.0.tar.gz", "14.1.0"),
        ("types-regex-2025.9.18.20250921.tar.gz", "2025.9.18.20250921"),
        ("numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "2.4.0"),
    ],
)
def test_versions_are_read_from_names(filename: str, version: str) -> None:
    """The version of a file is found in its name, for wheels and archives of sources alike."""
    assert version in hash_lock.versions(filename)
    assert "9.9.9" not in hash_lock.versions(filename)

"""The package as a whole: its version, its command, and the habits that no linter checks."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lowland
from lowland.version import __version__

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "benchmarks", "docs", "examples", "records", "src", "tests", "tools")

# An absolute path that only one machine has.
MACHINE_PATH = re.compile(rb"(?<![\w.~/-])/(work|root|home/\w+)/")


def project_files() -> list[Path]:
    """Every file that belongs to the project."""
    inner = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    return [
        path
        for path in (*ROOT.iterdir(), *inner)
        if path.is_file() and not {"__pycache__", ".git"} & {*path.parts}
    ]


def unclear_claims(source: str) -> Iterator[str]:
    """The names of the test functions in `source` whose docstring is not one sentence."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            claim = ast.get_docstring(node) or ""
            if not claim.endswith(".") or re.search(r"[.!?]\s+[A-Z]|\n\n", claim):
                yield node.name


def test_version_is_the_installed_one() -> None:
    """The version in the code, the one it reports and the installed one are the same."""
    assert lowland.__version__ == __version__ == importlib.metadata.version("lowland")


def test_module_runs_as_command() -> None:
    """`python -m lowland --help` explains the command and exits with 0."""
    result = subprocess.run([sys.executable, "-m", "lowland", "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "lowland" in result.stdout


def test_types_are_offered() -> None:
    """The package carries py.typed, so that type checkers read its annotations."""
    assert (importlib.resources.files("lowland") / "py.typed").is_file()


def test_packages_say_what_they_are() -> None:
    """Every folder with code under src/lowland is a regular package with a docstring."""
    folders = {path.parent for path in (ROOT / "src" / "lowland").rglob("*.py")}
    roots = [folder / "__init__.py" for folder in sorted(folders)]
    silent = [
        str(path)
        for path in roots
        if not path.is_file() or not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("docstring", "is_clear"),
    [
        ("Zero stays zero.", True),
        ("A long claim may go\n    on, e.g. like this.", True),
        ("Zero stays zero", False),
        ("Zero stays zero. One does too.", False),
        ("Zero stays zero.\n\n    More.", False),
    ],
)
def test_claims_are_recognized(docstring: str, is_clear: bool) -> None:
    """A docstring counts as a claim where it is one sentence that ends with a full stop."""
    source = f'def test_it():\n    """{docstring}"""\n'
    assert (list(unclear_claims(source)) == []) == is_clear


def test_every_test_states_its_claim() -> None:
    """Every test function states its claim in a docstring of one sentence."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    unclear = [
        f"{path.relative_to(ROOT)}: {name}" for path in files for name in unclear_claims(path.read_text())
    ]
    assert unclear == []


def test_no_machine_paths() -> None:
    """No file of the project names a folder that only one machine has."""
    naming = [
        str(path.relative_to(ROOT)) for path in project_files() if MACHINE_PATH.search(path.read_bytes())
    ]
    assert naming == []

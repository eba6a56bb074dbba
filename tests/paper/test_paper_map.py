"""The pages that map the paper to the code and to presets."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from lowland.cli import command_parser
from lowland.paper.recipes import preset_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)
REFERENCES = sorted({text for text in QUOTED if re.fullmatch(r"[\w/.-]+\.(py|toml|sh)(::[\w.]+)?", text)})
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"(?:^|`)(lowland [^#`\n]+)", RECIPES, re.MULTILINE)))


@cache
def names_of(file: Path) -> set[str]:
    """All that a module defines at its top, with the methods of its classes."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_the_page_names_much() -> None:
    """The pages are read as they are meant: they name files, tests and commands."""
    assert len(REFERENCES) > 25
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_is_named_exists(reference: str) -> None:
    """Every file, function, class and test that the page names exists."""
    name, _, inside = reference.partition("::")
    folder = ROOT if name.startswith(("tests/", "examples/")) else ROOT / "src" / "lowland"
    assert (folder / name).is_file()
    assert not inside or inside in names_of(folder / name)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_given(command: str) -> None:
    """Every command on the page of experiments is understood."""
    name, *words = shlex.split(command)[1:]
    command_parser(name).parse_words(words)


def test_every_preset_is_named() -> None:
    """The page of experiments names the paper's presets in all sizes, and no other."""
    table = "\n".join(line for line in RECIPES.splitlines() if line.startswith("| `paper-"))
    named = re.findall(r"`(paper-[\w-]+)`", table)
    sizes = ("small", "base", "large", "xl")
    expanded = {name.replace("SIZE", size) for name in named for size in sizes}
    assert expanded == set(preset_names()) - {"demo", "paper"}


def test_every_table_and_figure_is_there() -> None:
    """Tables 1 to 9 and Figures 1 and 2 each have a row."""
    assert {f"Table {number}" for number in range(1, 10)} <= set(re.findall(r"Table \d", RECIPES))
    assert {"Figure 1", "Figure 2"} <= set(re.findall(r"Figure \d", RECIPES))


def test_links_lead_somewhere() -> None:
    """Every link within the project leads to a file or folder of it."""
    for target in re.findall(r"\]\(([^):#]+)[#)]", PAGE + RECIPES):
        assert (ROOT / "docs" / target).exists()

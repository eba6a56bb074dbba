"""The page that maps the paper to the code."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from lowland.cli import VERBS, build_verb_parser
from lowland.cli.settings import grid_of
from lowland.paper.recipes import preset_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)
REFERENCES = sorted({text for text in QUOTED if re.fullmatch(r"[\w/.-]+\.(py|toml|sh)(::[\w.]+)?", text)})
COMMANDS = sorted({text for text in QUOTED if text.startswith("lowland ")})


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
    """The page is read as it is meant: it names files, tests and commands."""
    assert len(REFERENCES) > 60
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_is_named_exists(reference: str) -> None:
    """Every file, function, class and test that the page names exists."""
    name, _, inside = reference.partition("::")
    folder = ROOT if name.startswith(("tests/", "examples/")) else ROOT / "src" / "lowland"
    assert (folder / name).is_file()
    assert not inside or inside in names_of(folder / name)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_given(command: str) -> None:
    """Every command on the page is understood, and its presets exist in all sizes."""
    for size in ("small", "base", "large", "xl") if "SIZE" in command else ("",):
        verb, *words = shlex.split(command.replace("SIZE", size))[1:]
        assert verb in VERBS
        if verb == "tasks":
            continue
        arguments = build_verb_parser(verb).parse_words(words)
        presets = [arguments.preset] if "preset" in arguments else []
        if verb == "compare":
            presets += grid_of(arguments).get("preset", ())
        assert presets or verb == "report"
        assert set(presets) <= set(preset_names())


def test_every_table_and_figure_is_there() -> None:
    """Tables 1 to 9 and Figures 1 and 2 each have a row."""
    assert {f"Table {number}" for number in range(1, 10)} <= set(re.findall(r"Table \d", PAGE))
    assert {"Figure 1", "Figure 2"} <= set(re.findall(r"Figure \d", PAGE))


def test_links_lead_somewhere() -> None:
    """Every link of the page leads to a file or folder of the project."""
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists()

"""Recipes: presets that reproduce the paper, and what they say about themselves.

A preset is a TOML file of settings that holds what differs from the preset below. Four keys are no settings:

    extends = "paper-base"      the preset that lies below
    [benchmark.cbqa.train]      settings for tasks of one benchmark, laid over the file's own
    [grid]                      dotted name of a setting -> the values that are compared
    [recipe]                    what the preset reproduces
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lowland.config.layers import Layer, merge
from lowland.errors import UserError, unknown_name

Grid = Mapping[str, Sequence[Any]]  # dotted name of a setting -> the values to go through

PRESETS = resources.files("lowland.paper") / "presets"
NOT_SETTINGS = ("extends", "benchmark", "grid", "recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a preset reproduces, and how."""

    name: str
    settings: Layer  # with those of the presets below
    grid: Grid  # the values that are compared; empty for a single comparison
    description: str = ""  # one line
    tables: tuple[int, ...] = ()  # numbers of the paper's tables
    figures: tuple[int, ...] = ()
    model: str | None = None  # the rows of the tables: the model as the paper calls it
    columns: tuple[str, ...] = ()  # the columns of the tables; empty for all
    swept: str | None = None  # the setting that a block of Table 9 varies

    @property
    def reproduces(self) -> str:
        """The place in the paper, such as `Tables 3 and 8, mT5 Base`; empty where there is none."""
        places = [
            f"{kind}{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
            for kind, numbers in (("Table", self.tables), ("Figure", self.figures))
            if numbers
        ]
        return ", ".join(filter(None, [*places, self.model]))

    @property
    def complete(self) -> bool:
        """Whether the preset says what to train on."""
        return "tasks" in self.settings.get("data", {})

    @property
    def command(self) -> str:
        """The command that runs the recipe, with --hub where it needs more than the package carries."""
        hub = ["--hub"] if "model" in self.settings or not self.complete else []
        words = ["lowland", "compare", *([] if self.complete else ["TASK"]), "--preset", self.name, *hub]
        return shlex.join(words)


def preset_names() -> list[str]:
    """Lists the presets that the package carries."""
    return sorted(Path(entry.name).stem for entry in PRESETS.iterdir() if entry.name.endswith(".toml"))


def read_preset(name: str, tasks: Sequence[str] | None = None) -> Layer:
    """Reads a preset's settings; see `expand`."""
    return expand({"extends": name}, tasks)


def read_recipe(name: str) -> Recipe:
    """Reads what a preset says about itself."""
    own, settings = _read(name), read_preset(name)
    about = own.get("recipe", {}).items()
    said: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in about}
    return Recipe(name=name, settings=settings, grid=own.get("grid", {}), **said)


def expand(layer: Layer, tasks: Sequence[str] | None = None) -> Layer:
    """Lays settings over the presets that they extend; `tasks`, if other ones, decide on the benchmark."""
    files = [layer]
    while "extends" in files[0]:
        name = files[0]["extends"]
        if not isinstance(name, str):
            raise UserError(f"Invalid extends={name!r}. Must be the name of a preset.")
        files.insert(0, _read(name))
    if tasks is None:
        data = [data for file in reversed(files) if isinstance(data := file.get("data", {}), Mapping)]
        tasks = next((of["tasks"] for of in data if of.get("tasks") is not None), [])
    known = {name for file in files for name in file.get("benchmark", {})}
    # A benchmark is the first part of its tasks' names.
    found = sorted({str(task).partition("/")[0] for task in tasks} & known)
    if len(found) > 1:
        raise UserError(
            f"The preset has settings for {' and for '.join(found)}, and the tasks are of both. "
            "Name the tasks of one benchmark, or give the settings yourself without --preset."
        )
    merged: dict[str, Any] = {}
    for file in files:
        settings = {key: value for key, value in file.items() if key not in NOT_SETTINGS}
        merged = merge(merge(merged, settings), file.get("benchmark", {}).get(next(iter(found), None), {}))
    return merged


@cache
def _read(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise unknown_name("preset", name, preset_names())
    return tomllib.loads((PRESETS / f"{name}.toml").read_text(encoding="utf-8"))

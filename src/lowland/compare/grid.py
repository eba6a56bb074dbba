"""The grid of a sweep: which settings take which values, and the points that follow.

A grid is written in one line (`rho=0.02,0.05 fraction=0.05,0.2`), by the name of one of the paper's
(`rho`, `a`, `m`, `fraction`), or in a TOML file.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.config.arms import parse_value
from lowland.errors import UserError, unknown_name

SETTINGS: Mapping[str, str] = {
    "rho": "sam.rho",
    "a": "sam.ascent",
    "ascent": "sam.ascent",
    "ascent-examples": "sam.ascent_examples",
    "m": "sam.m",
    "descent": "sam.descent",
    "direction": "sam.direction",
    "sam-start": "sam.start",
    "sam-warmup": "sam.warmup",
    "sam-every": "sam.every",
    "adaptive": "sam.adaptive",
    "fraction": "data.fraction",
    "label-noise": "data.label_noise",
    "task": "data.tasks",
    "learning-rate": "train.learning_rate",
    "batch-size": "train.batch_size",
    "steps": "train.steps",
    "optimizer": "train.optimizer",
    "dropout": "train.dropout",
    "model": "model",
    "preset": "preset",
    "seed": "seeds",
    "seeds": "seeds",
}
"""Short name -> setting. Every other setting goes by its own name, such as `train.z_loss`."""

SHORT: Mapping[str, str] = {setting: short for short, setting in reversed(list(SETTINGS.items()))}
"""Setting -> the short name that is used in the names of points, the first one above."""

PAPER: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "rho": {"sam.rho": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)},
    # 8, 24, 32, 64 and 128 of the paper's 128 examples, as fractions, so that they fit any batch.
    "a": {"sam.ascent": (0.0625, 0.1875, 0.25, 0.5, 1.0)},
    # The paper's points each descend on the whole batch, at m times the cost.
    "m": {"sam.m": (1, 2, 4), "sam.descent": ("full",)},
    # The paper names the ends, 2% and 80%, 5% (Tables 6 and 7) and 20%.
    "fraction": {"data.fraction": (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)},
}
"""The paper's grids. Source: Table 9 and Figures 1 and 2."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a grid.

    Attributes:
        name: Its name, which is also that of its cell's directory.
        values: Setting -> value.
    """

    name: str
    values: Mapping[str, Any]


class Grid:
    """Settings and the values that they take; a sweep has a cell for every combination.

    Attributes:
        axes: Setting -> its values.
        points: Combinations that are given one by one; each is combined with the axes.
    """

    def __init__(self) -> None:
        self.axes: dict[str, tuple[Any, ...]] = {}
        self.points: list[dict[str, Any]] = []

    def add(self, name: str, values: Iterable[Any]) -> None:
        """Adds a setting.

        Raises:
            UserError: If the setting is unknown, has no value, or is there already.
        """
        setting = _setting(name)
        different = list({repr(value): value for value in values}.values())
        if not different:
            raise UserError(f"{name}: there is no value. Write {name}=VALUE,VALUE.")
        if setting in self.axes or any(setting in point for point in self.points):
            raise UserError(f"{name} is given twice. Write all its values in one place.")
        self.axes[setting] = tuple(_value(setting, value) for value in different)

    def add_word(self, word: str) -> None:
        """Adds `rho=0.02,0.05`, or the paper's grid of that name.

        Raises:
            UserError: If the word cannot be understood.
        """
        if word in PAPER:
            for setting, values in PAPER[word].items():
                self.add(setting, values)
            return
        name, _, listed = word.partition("=")
        self.add(name, [parse_value(value) for value in listed.split(",") if value])

    def add_file(self, path: Path) -> None:
        """Adds a TOML file: a setting with a list of values a line, and tables `[[cells]]` of single points.

        Raises:
            UserError: If the file cannot be read or understood.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a valid TOML file ({error}).") from None
        points = content.pop("cells", [])
        try:
            if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
                raise UserError("cells must be tables, each under a line [[cells]].")
            self.points = [
                {_setting(name): _value(_setting(name), value) for name, value in _flat(point)}
                for point in points
            ]
            for name, values in _flat(content):
                if values == "paper" and name in PAPER:
                    self.add_word(name)
                else:
                    self.add(name, values if isinstance(values, list) else [values])
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def cells(self) -> list[tuple[Point, list[Point]]]:
        """Lists the experiments of the grid, each with its arms.

        Raises:
            UserError: If the grid is empty.
        """
        groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for values in self._combinations():
            shared = {setting: value for setting, value in values.items() if not _makes_arms(setting)}
            own = {setting: value for setting, value in values.items() if _makes_arms(setting)}
            groups.setdefault(repr(sorted(shared.items())), (shared, []))[1].append(own)
        names = [point.name for point in _points([shared for shared, _ in groups.values()], "-")]
        return [
            (Point(name="_".join(filter(None, (name, _varied(arms)))), values=shared), _points(arms, "="))
            for name, (shared, arms) in zip(names, groups.values(), strict=True)
        ]

    def arms(self) -> list[Point]:
        """Lists all combinations as arms of one experiment.

        Raises:
            UserError: If the grid is empty.
        """
        return _points(self._combinations(), "=")

    def _combinations(self) -> list[dict[str, Any]]:
        """Lists all combinations, the last setting running fastest.

        Raises:
            UserError: If the grid is empty.
        """
        if not self.axes and not self.points:
            raise UserError(
                "There is no grid. Write for example rho=0.05,0.15, the name of one of the paper's grids "
                f"({', '.join(PAPER)}), or --grid FILE."
            )
        combinations = [
            {**point, **dict(zip(self.axes, values, strict=True))}
            for point in self.points or [{}]
            for values in itertools.product(*self.axes.values())
        ]
        return list({repr(sorted(values.items())): values for values in combinations}.values())


def _makes_arms(setting: str) -> bool:
    """Says whether a setting makes arms of one experiment rather than experiments."""
    return setting.startswith("sam.")


def _varied(arms: Sequence[Mapping[str, Any]]) -> str:
    """Names the settings that differ between arms, or all that they have, such as `rho`."""
    settings = list(dict.fromkeys(setting for values in arms for setting in values))
    differ = [setting for setting in settings if len({repr(values.get(setting)) for values in arms}) > 1]
    return "-".join(SHORT.get(setting, setting) for setting in differ or settings)


def _points(different: Sequence[dict[str, Any]], sign: str) -> list[Point]:
    """Names combinations by what differs between them."""
    # A setting with one value everywhere is no part of the names, unless there is nothing else.
    seen: dict[str, set[str]] = {}
    for values in different:
        for setting, value in values.items():
            seen.setdefault(setting, set()).add(repr(value))
    fixed = {s for s, found in seen.items() if len(found) == 1 and all(s in v for v in different)}
    shown = [set(values) - fixed or set(values) for values in different]
    names = [
        _name({setting: value for setting, value in values.items() if setting in listed}, sign)
        for values, listed in zip(different, shown, strict=True)
    ]
    return [
        # Two models may have the same last part of their paths.
        Point(name=name if names.count(name) == 1 else f"{name}_{index}", values=values)
        for index, (name, values) in enumerate(zip(names, different, strict=True), start=1)
    ]


def is_grid_word(word: str) -> bool:
    """Says whether a word of a command line belongs to the grid rather than naming a task."""
    return word in PAPER or "=" in word


def _setting(name: str) -> str:
    if name in SETTINGS:
        return SETTINGS[name]
    # Settings by their own names are checked where the configuration is built.
    if re.fullmatch(r"(data|train|sam)(\.\w+)+", name):
        return name
    raise unknown_name("setting of a sweep", name, [*SETTINGS, *SETTINGS.values()])


def _value(setting: str, value: Any) -> Any:
    """Writes a value as its setting wants it: `glue/rte+glue/sst2` is two tasks, and a seed a list of one."""
    if setting == "data.tasks" and isinstance(value, str):
        return value.split("+")
    if setting == "seeds" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise UserError(f"seed: {value!r} is no seed. Write whole numbers >= 0, such as seed=0,1,2.")
    if setting == "seeds":
        return [value]
    if setting == "preset" and not isinstance(value, str):
        raise UserError(f"preset: {value!r} is no name.")
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Lists a TOML table's entries; `[sam]` with `rho` in it gives `sam.rho`."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found


def _name(values: Mapping[str, Any], sign: str) -> str:
    """Names a point such as `rho-0.05_fraction-0.2`, fit for a directory on any system."""
    return "_".join(
        f"{SHORT.get(setting, setting)}{sign}{_word(setting, value)}" for setting, value in values.items()
    )


def _word(setting: str, value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(_word(setting, item) for item in value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if setting == "model":
        text = Path(text).name
    return re.sub(r"[^\w.]+", "-", text).strip(".")[:40] or "value"

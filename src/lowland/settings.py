"""Settings that say everything about themselves in one place: default, limits, help."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field of a settings class says besides its type and default."""

    help: str  # what it does, in one sentence without its default
    least: float | None = None
    above: float | None = None  # a bound below that is no value itself
    most: float | None = None
    below: float | None = None
    option: str | None = None  # names of the command line's option, where it is not the field's own
    metavar: str | None = None  # what help shows for the value
    unset: str | None = None  # what holds where the value is `None`, in words
    path: bool = False  # whether `~` at its beginning is the home directory

    def options(self, name: str) -> list[str]:
        """Lists the options of the field of this name."""
        return (self.option or name.replace("_", "-")).split()

    def holds(self, value: float) -> bool:
        """Tells whether a number is within the limits."""
        return math.isfinite(value) and all(within(value, bound) for _, within, bound in self._bounds())

    def limits(self) -> str:
        """Puts the limits into words."""
        return " and ".join(f"{sign} {bound:g}" for sign, _, bound in self._bounds())

    def _bounds(self) -> list[tuple[str, Callable[[float, float], bool], float]]:
        bounds = ((">=", ge, self.least), (">", gt, self.above), ("<=", le, self.most), ("<", lt, self.below))
        return [(sign, within, bound) for sign, within, bound in bounds if bound is not None]


def setting(default: Any, help: str, **more: Any) -> Any:
    """Declares a field of a settings class, by the attributes of `Setting`; `dict` makes an empty one."""
    metadata = {"setting": Setting(help=help, **more)}
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def described(kind: type[Any]) -> dict[str, Setting]:
    """Lists the settings of a class by the names of their fields."""
    return {item.name: item.metadata["setting"] for item in fields(kind) if "setting" in item.metadata}


def kinds_of(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """Lists the types that each field of a class takes."""
    unions = (types.UnionType, typing.Union)
    hints = typing.get_type_hints(kind)
    return {
        name: typing.get_args(hint) if typing.get_origin(hint) in unions else (hint,)
        for name, hint in hints.items()
    }


def at_home(path: Any) -> Any:
    """Expands the `~` that a path begins with, or each one of a mapping; what is no text stays as it is."""
    if isinstance(path, Mapping):
        return {name: at_home(one) for name, one in path.items()}
    return str(Path(path).expanduser()) if isinstance(path, str) and path.startswith("~") else path


def check(settings: Any) -> None:
    """Checks each described field of a settings object against its type and limits, or raises a `ValueError`.

    Whole numbers become floats where the field is one, and paths are expanded, so that equal settings are
    equal in files, too.
    """
    kinds_by_name = kinds_of(type(settings))
    for name, said in described(type(settings)).items():
        value, kinds = getattr(settings, name), kinds_by_name[name]
        if float in kinds and int not in kinds and type(value) is int:
            value = float(value)
        elif said.path:
            value = at_home(value)
        object.__setattr__(settings, name, value)
        expected = mismatch(kinds, said, value)
        if expected:
            raise ValueError(f"Invalid {name}={value!r}. Must be {expected}.")


def mismatch(kinds: Sequence[Any], said: Setting, value: Any) -> str | None:
    """Says what a value of one of some types must be, if it is not; `float` takes whole numbers, too."""
    if value is None and type(None) in kinds:
        return None
    choices = [one for kind in kinds if typing.get_origin(kind) is Literal for one in typing.get_args(kind)]
    if choices:
        return None if value in choices else f"one of: {', '.join(choices)}"
    if bool in kinds:
        return None if isinstance(value, bool) else "True or False"
    if not {float, int} & set(kinds):
        return "text" if str in kinds and not isinstance(value, str) else None
    number = isinstance(value, (int, float) if float in kinds else int) and not isinstance(value, bool)
    if number and said.holds(value):
        return None
    what = "a finite number" if float in kinds else "a whole number"
    return f"{what} {said.limits()}".rstrip()


def changes(settings: Any, defaults: Any = None) -> dict[str, Any]:
    """Gives what differs from the defaults, or from another object of the class, as nested plain values."""
    found: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if defaults is not None:
            default = getattr(defaults, item.name)
        if is_dataclass(value):
            same_kind = type(default) is type(value)
            nested = changes(value, default if same_kind else None)
            if nested or not same_kind:
                found[item.name] = nested
        elif value != default:
            found[item.name] = value
    return found

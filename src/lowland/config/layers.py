"""Layers of settings: nested plain values that lie over one another, and become checked settings."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lowland.config.arms import flatten
from lowland.errors import UserError, unknown_name
from lowland.settings import Setting, described, kinds_of, mismatch

Layer = Mapping[str, Any]
"""Nested settings, each section a mapping, holding only what is set."""

T = TypeVar("T")


def read_layer(path: Path) -> Layer:
    """Reads a TOML file of settings."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a file of settings, TOML in UTF-8 ({error}).") from None


def merge(below: Layer, above: Layer) -> dict[str, Any]:
    """Lays one layer over another, section by section."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def differences(one: Layer, other: Layer) -> list[str]:
    """Names the settings in which two nested configurations differ, each with both values."""
    there, here = flatten(one), flatten(other)
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    return [f"{name}: {there.get(name)} there, {here.get(name)} here" for name in names]


def build_section(kind: type[T], values: Layer, path: str = "") -> T:
    """Builds a settings dataclass out of nested plain values, and checks them; messages begin with `path`."""
    items = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    kinds, checked = kinds_of(kind), described(kind)
    for name in values:
        if name not in items:
            parts = [(part, one) for part in items for one in kinds[part] if isinstance(one, type)]
            deeper = [f"{path}{part}.{name}" for part, one in parts if name in typing.get_type_hints(one)]
            raise unknown_name("setting", f"{path}{name}", deeper or [f"{path}{known}" for known in items])
    arguments = {
        name: _convert(kinds[name], value, f"{path}{name}", checked=name in checked)
        for name, value in values.items()
    }
    for name, item in items.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            raise UserError(f"The setting {path}{name} is missing. Give it a value.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise UserError(re.sub(r"^Invalid (?=(\w+)=)", f"Invalid {path}", str(error))) from None


def _convert(kinds: Sequence[Any], value: Any, path: str, *, checked: bool = False) -> Any:
    """Builds sections and tuples of plain values, and checks what their class does not check itself."""
    if value is None and type(None) in kinds:
        return None
    expected = None if checked else mismatch(kinds, Setting(help=""), value)
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            if isinstance(value, Mapping):
                return build_section(kind, value, f"{path}.")
            expected = None if isinstance(value, kind) else f"a section of settings: a table [{path}] in TOML"
        elif typing.get_origin(kind) is tuple:
            value = value.split(",") if isinstance(value, str) else value
            if isinstance(value, (list, tuple)):
                return tuple(_convert(typing.get_args(kind)[:1], item, path) for item in value)
            expected = "a list"
        elif typing.get_origin(kind) is Mapping and not isinstance(value, Mapping):
            expected = "a table"
    if expected is not None:
        raise UserError(f"Invalid {path}={value!r}. Must be {expected}.")
    return float(value) if tuple(kinds) == (float,) and not checked else value


def plain(value: Any) -> Any:
    """Gives nested values as TOML and JSON have them: lists for tuples, and nothing for what is unset."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

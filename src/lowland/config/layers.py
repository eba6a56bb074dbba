"""Layers of settings: nested plain values that lie over one another, and become checked settings."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from lowland.errors import UserError, unknown_name
from lowland.settings import described

Layer = Mapping[str, Any]
"""Nested settings, each section a mapping, holding only what is set."""

T = TypeVar("T")


def read_layer(path: Path) -> Layer:
    """Reads a TOML file of settings.

    Raises:
        UserError: If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start + 1} is not UTF-8; settings are text in TOML.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not a valid TOML file ({error}).") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: a number is too long, or lists lie too deep in one another.") from None


def merge(below: Layer, above: Layer) -> dict[str, Any]:
    """Lays one layer over another, section by section."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def differences(one: Layer, other: Layer, prefix: str = "") -> list[str]:
    """Names the settings in which two nested configurations differ, each with both values."""
    found: list[str] = []
    for key in sorted(set(one) | set(other)):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif with_lists(left) != with_lists(right):
            found.append(f"{prefix}{key}: {left} there, {right} here")
    return found


def build_section(kind: type[T], values: Layer, path: str = "") -> T:
    """Builds a settings dataclass out of nested plain values, and checks them.

    Args:
        kind: The dataclass.
        values: Field -> value; sections are mappings.
        path: What the section is called in messages, with a dot at the end.

    Raises:
        UserError: If a name is unknown or a value invalid.
    """
    hints = typing.get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    checked = described(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            raise unknown_name("setting", f"{path}{key}", [f"{path}{name}" for name in names])
        # Described settings check themselves, and say what they must be.
        listed = typing.get_origin(hints[key]) is tuple
        arguments[key] = (
            value if key in checked and not listed else _convert(hints[key], value, f"{path}{key}")
        )
    required = [
        item.name
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise UserError(f"The setting {path}{missing[0]} is missing. Give it a value.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise UserError(re.sub(r"^Invalid (?=(\w+)=)", f"Invalid {path}", str(error))) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Checks a plain value against a field's type, and builds sections and tuples."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(option, type) and isinstance(value, Mapping):
            return build_section(option, value, f"{path}.")
        origin = typing.get_origin(option)
        if origin is Mapping and isinstance(value, Mapping):
            return dict(value)
        if origin is tuple and isinstance(value, (list, tuple)):
            return tuple(_convert(typing.get_args(option)[0], item, path) for item in value)
        if origin is typing.Literal and value in typing.get_args(option):
            return value
        if isinstance(option, type) and type(value) is option:
            return value
    if float in options and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if float in options and isinstance(value, float) and math.isnan(value):
        raise UserError(f"Invalid {path}={value!r}. Must be a number.")
    known = [
        str(choice) for option in options for choice in typing.get_args(option) if isinstance(choice, str)
    ]
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if any(dataclasses.is_dataclass(option) for option in options):
        raise UserError(f"Invalid {path}={value!r}. Must be a section of settings: a table [{path}] in TOML.")
    expected = (
        f"one of: {', '.join(known)}"
        if known
        else " or ".join(names.get(o, "") for o in options if o in names)
    )
    raise UserError(f"Invalid {path}={value!r}. Must be {expected or 'a list'}.")


def without_none(value: Any) -> Any:
    """Leaves out of nested plain values what is unset."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value


def with_lists(value: Any) -> Any:
    """Gives nested plain values as TOML and JSON have them: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: with_lists(item) for key, item in value.items()}
    return [with_lists(item) for item in value] if isinstance(value, (list, tuple)) else value

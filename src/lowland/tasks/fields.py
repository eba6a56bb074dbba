"""Typed fields of a row, with errors that name the field; whoever reads the file adds file and line."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from lowland.errors import UserError
from lowland.tasks.base import Row

MOST_SHOWN = 40
"""Characters of a value, or of a field's name, that a message shows."""


def find(row: Row, *names: str) -> Any:
    """Takes the first of several fields that the row has.

    Raises:
        UserError: If the row has none; the message names the nearest fields it has.
    """
    for name in names:
        if name in row:
            return row[name]
    raise missing(names[0], row)


def missing(name: str, row: Row) -> UserError:
    """Builds the error for a field that a row lacks."""
    # Blanks around a name are shown: they may be all that is wrong.
    names = map(str, row)
    known = [key if len(key) <= MOST_SHOWN else f"{key[: MOST_SHOWN - 4]} ..." for key in names]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    shown = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
    same = unicodedata.normalize("NFC", name)
    quoted = [ascii(key) if unicodedata.normalize("NFC", key) == same else repr(key) for key in near]
    hint = f"did you mean {' or '.join(quoted)}?" if near else f"the row has {shown or 'none'}."
    return UserError(f"the field {name!r} is missing; {hint}")


def text(row: Row, *names: str) -> str:
    """Takes a text field."""
    value = find(row, *names)
    if not isinstance(value, str):
        raise _wrong(_present(row, names), "text", value)
    return value


def integer(row: Row, name: str) -> int:
    """Takes a whole number, which may be written as text."""
    value = find(row, name)
    try:
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            return int(value)
    except ValueError:
        pass
    raise _wrong(name, "a whole number", value)


def mapping(value: Any, name: str) -> Row:
    """Checks an object inside a row."""
    if not isinstance(value, Mapping):
        raise _wrong(name, "an object", value)
    return value


def mappings(row: Row, name: str) -> list[Row]:
    """Takes a list of objects."""
    value = find(row, name)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _wrong(name, "a list of objects", value)
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Checks a list of texts, for example right answers; one text is a list of one."""
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, "a list of texts", value)
    return tuple(value)


def class_id(
    row: Row, words: Sequence[str], names: Sequence[str] = ("label",), booleans: bool = False
) -> int | None:
    """Takes the number of a class, written as its word, its number or a truth value.

    Args:
        row: The row.
        words: The class words in the order of the class numbers.
        names: Names that the field may have.
        booleans: Whether true means class 1.

    Returns:
        The class number; `None` where the row has no label (no such field, or -1).

    Raises:
        UserError: If the label is none of these.
    """
    value = next((row[name] for name in names if name in row), -1)
    label: Any = value.strip().lower() if isinstance(value, str) else value
    lower = [word.lower() for word in words]
    if label in lower:
        return lower.index(label)
    if isinstance(label, str) and label.removeprefix("-").isdecimal() and len(label) < 9:
        label = int(label)
    if isinstance(label, (int, float)) and (booleans or not isinstance(label, bool)):
        if label == -1:
            return None
        if label in range(len(words)):
            return int(label)
    raise UserError(
        f"the field {_present(row, names)!r} is {describe(value)}, which is none of the labels"
        f" {', '.join(words)} (nor their numbers 0 to {len(words) - 1})."
    )


def has_none(row: Row, *names: str) -> bool:
    """Whether one of the fields is there but holds nothing, as in a row that was cut short."""
    return any(name in row and row[name] is None for name in names)


def describe(value: Any) -> str:
    """Describes a value for a message: its type, and a short value itself."""
    shown = repr(value)
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "text",
        type(None): "empty (null)",
        bool: "a truth value",
        bytes: "bytes",
    }
    kind = kinds.get(type(value), "a number")
    return f"{kind} ({shown})" if len(shown) <= MOST_SHOWN and value is not None else kind


def _present(row: Row, names: Sequence[str]) -> str:
    return next((name for name in names if name in row), names[0])


def _wrong(name: str, wanted: str, value: Any) -> UserError:
    return UserError(f"the field {name!r} must be {wanted}, but it is {describe(value)}.")

"""Fields of a row: typed, or written into a template, with errors that name the field.

Whoever reads the file adds file and line.
"""

from __future__ import annotations

import difflib
import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowland.errors import UserError, shorten
from lowland.tasks.base import Pair, Row


def find(row: Row, *names: str) -> Any:
    """Takes the first of several fields that the row has, and refuses a row without any."""
    for name in names:
        if name in row:
            return row[name]
    raise missing(names[0], row)


def missing(name: str, row: Row) -> UserError:
    """Builds the error for a field that a row lacks, with the nearest fields that it has."""
    known = [shorten(str(key)) for key in row]  # with their blanks, which may be all that is wrong
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    shown = ", ".join(map(repr, known[:8])) + ", ..." * (len(known) > 8)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the row has {shown or 'none'}."
    return UserError(f"the field {name!r} is missing; {hint}")


def text(row: Row, *names: str) -> str:
    """Takes a text."""
    value = find(row, *names)
    if not isinstance(value, str):
        raise wrong(_present(row, names), "text", value)
    return value


def integer(row: Row, name: str) -> int:
    """Takes a whole number, which may be written as text."""
    value = find(row, name)
    if isinstance(value, bool) or not re.fullmatch(r"\s*-?\d{1,18}\s*", str(value)):
        raise wrong(name, "a whole number", value)
    return int(value)


def mapping(value: Any, name: str) -> Row:
    """Checks an object inside a row."""
    if not isinstance(value, Mapping):
        raise wrong(name, "an object", value)
    return value


def mappings(row: Row, name: str) -> list[Row]:
    """Takes a list of objects."""
    value = find(row, name)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise wrong(name, "a list of objects", value)
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Checks a list of texts, for example right answers; one text is a list of one."""
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise wrong(name, "a list of texts", value)
    return tuple(value)


def class_id(
    row: Row, words: Sequence[str], names: Sequence[str] = ("label",), booleans: bool = False
) -> int | None:
    """Takes the number of a class, written as its word, its number or (`booleans`) a truth value.

    It is `None` where the row has no label: no such field, or -1.
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
    """Shows a value in a message."""
    return "empty (null)" if value is None else shorten(repr(value))


def wrong(name: str, wanted: str, value: Any) -> UserError:
    """Builds the error for a field that holds something else than it must."""
    return UserError(f"the field {name!r} must be {wanted}, but it is {describe(value)}.")


def _present(row: Row, names: Sequence[str]) -> str:
    return next((name for name in names if name in row), names[0])


@dataclass(frozen=True)
class Template:
    """A text with fields of a row in braces, for example `review: {text}`; `{{` and `}}` write a brace.

    Nothing but plain field names is understood, and nothing of the user's is ever evaluated.
    """

    text: str

    def __post_init__(self) -> None:
        for _, name, format_spec, conversion in self._pieces():
            what = None
            if name is not None and not name.strip():
                what = "has empty braces"
            elif format_spec or conversion:
                what = f"has a ':' or '!' after the field {name!r}"
            elif name is not None and any(character in name for character in ".[]{"):
                what = f"reaches into a field with {name!r}"
            if what:
                raise UserError(
                    f"The template {self.text!r} {what}; only plain names such as {{text}} are understood."
                )

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, each once, in order."""
        return tuple(dict.fromkeys(name for _, name, _, _ in self._pieces() if name is not None))

    def fill(self, row: Row) -> str:
        """Writes a row's fields into the template; two fields make a `Pair`, which classifiers read."""
        pieces, values = [], []
        for literal, name, _, _ in self._pieces():
            pieces.append(literal)
            if name is not None:
                value = find(row, name)
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"the field {name!r} is {value}, not a finite number; write it as text.")
                if not isinstance(value, (str, int, float)):
                    raise wrong(name, "text or a number", value)
                pieces.append(str(value))
                values.append(str(value))
        whole = "".join(pieces)
        return Pair(whole, *values) if len(values) == len(self.fields) == 2 else whole

    def _pieces(self) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise UserError(
                f"The template {self.text!r} has unbalanced braces ({error}); write {{{{ for a plain brace."
            ) from None

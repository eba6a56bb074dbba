"""Texts with fields of a row in braces."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import Pair, Row


@dataclass(frozen=True)
class Template:
    """A text with fields of a row in braces, for example `review: {text}`; `{{` and `}}` write a brace.

    Nothing but plain field names is understood, and nothing of the user's is ever evaluated.

    Attributes:
        text: The template as the user wrote it.

    Raises:
        UserError: If a brace is unbalanced, or holds more than a field's name.
    """

    text: str

    def __post_init__(self) -> None:
        for _, name, format_spec, conversion in self._pieces():
            if name is None:
                continue
            if not name.strip():
                raise UserError(
                    f"The template {self.text!r} has empty braces; write a field's name, as in {{text}}."
                )
            what = f"has a ':' or '!' after the field {name!r}" if format_spec or conversion else ""
            if any(character in name for character in ".[]{"):
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
        """Writes a row's fields into the template; two fields make a `Pair`, which classifiers read as one.

        Raises:
            UserError: If a field is missing, empty (null), or neither text, number nor truth value.
        """
        pieces, values = [], []
        for literal, name, _, _ in self._pieces():
            pieces.append(literal)
            if name is not None:
                value = fields.find(row, name)
                if isinstance(value, float) and not math.isfinite(value):
                    raise UserError(f"the field {name!r} is a number that is too large; write it as text.")
                if not isinstance(value, (str, int, float)):
                    raise UserError(
                        f"the field {name!r} must be text or a number, but it is {fields.describe(value)}."
                    )
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

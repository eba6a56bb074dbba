"""Rows out of JSON: objects one after the other, or one document that holds them.

Which of the two a file is, is seen in it; where its suffix says otherwise, a note says how it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.fields import describe
from lowland.tasks.lines import read_lines

Numbered = list[tuple[int, Any]]
"""Values with the numbers of the lines, or of the items, in which they begin."""


def read_json(path: Path, lines: bool, wanted: Sequence[str], notes: list[str]) -> Iterator[tuple[int, Row]]:
    """Reads rows out of a JSON file; see `lowland.tasks.rows.read_rows`.

    Args:
        path: The file.
        lines: Whether its suffix says that it has one object a line.
        wanted: Fields that rows must have, where they are known.
        notes: Where a sentence is added if it is read in another way than the suffix says.
    """
    text = "".join(line for _, line in read_lines(path))
    found = _values(text, str(path))
    rows: Numbered | None
    if len(found) == 1:
        rows, how = _document(found, text, lines, wanted)
    elif lines or not found:
        rows, how = found, ""
    else:
        rows = list(enumerate((value for _, value in found), start=1))
        how = f"JSON lines: it holds {len(found)} objects, one after the other"
    if rows is None:
        raise UserError(
            f"{path}: expected a list of objects, or an object with such a list under 'data';"
            " a file with one object a line is named .jsonl."
        )
    if how:
        notes.append(f"{path} is read as {how}.")
    for number, value in rows:
        if not isinstance(value, dict):
            raise UserError(
                f"{path}, {'line' if lines else 'item'} {number}: a row is an object such as"
                f' {{"text": "..."}}, but this is {describe(value)}.'
            )
        yield number, value


def _document(found: Numbered, text: str, lines: bool, wanted: Sequence[str]) -> tuple[Numbered | None, str]:
    """Takes the rows out of a file's only value, and says how where that is not plain."""
    ((_, value),) = found
    if isinstance(value, list):
        if not lines:
            return list(enumerate(value, start=1)), ""
        if any(isinstance(item, dict) for item in value):
            # Without its brackets it is values one after the other, whose lines are known.
            start, end = text.index("["), text.rindex("]")
            inside = f"{text[:start]} {text[start + 1 : end]}"
            return _values(inside, ""), "one list, whose items are the rows"
        return found, ""
    if not isinstance(value, dict):
        return (found, "") if lines else (None, "")
    if lines and (not wanted or any(isinstance(value.get(name), (str, int, float)) for name in wanted)):
        return found, ""  # a file of one row
    rows, how = _rows_of(value, wanted)
    if rows is None:
        return (found, "") if lines else (None, "")
    if lines:
        return [(1, row) for row in rows], how or "one object that holds all rows"
    return list(enumerate(rows, start=1)), how


def _rows_of(document: Mapping[str, Any], wanted: Sequence[str]) -> tuple[list[Any] | None, str]:
    """Takes the rows out of an object, and says how it is read where that is not plain.

    The shapes are those that pandas' `to_json` and datasets' `to_dict` write.
    """
    data: Any = document.get("data", document.get("Data"))
    if isinstance(data, list) and not (wanted and all(name in document for name in wanted)):
        names = document.get("columns")
        if isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in data):
            rows = [dict(zip(map(str, names), row, strict=True)) for row in data]
            return rows, "names of columns and a list of values for each row"
        return data, ""
    values = list(document.values())
    lists = [name for name, value in document.items() if _holds_rows(value, wanted)]
    if len(lists) == 1:
        return document[lists[0]], f"the list under {lists[0]!r}"
    if all(isinstance(value, dict) for value in values) and values:
        keys = list(values[0])
        columns = all(value.keys() == values[0].keys() for value in values) and (
            # Rows by name have the same shape: known fields, or numbers, tell what is a column.
            all(name in document for name in wanted) if wanted else keys == list(map(str, range(len(keys))))
        )
        if not columns:
            return values, ""
        values = [[value[key] for key in keys] for value in values]
    if not all(isinstance(value, list) for value in values) or len(set(map(len, values))) != 1:
        return None, ""
    if not all(name in document for name in wanted):
        return None, ""
    rows = [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    return rows, "columns, each with the values of all rows"


def _holds_rows(value: Any, wanted: Sequence[str]) -> bool:
    """Whether a value is a list of objects that have the wanted fields."""
    rows = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    return bool(rows and value and wanted) and all(name in value[0] for name in wanted)


def _values(text: str, path: str) -> Numbered:
    """Reads values that stand one after the other, with blanks or commas between them.

    Returns:
        The number of each value's first line, and the value.

    Raises:
        UserError: If one is not valid JSON, or holds what no text file can.
    """
    found: Numbered = []
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
    halves = "\\ud" in text or "\\uD" in text
    line, end = 1, 0
    while (match := re.compile(r"[^\s,]").search(text, end)) is not None:
        start = match.start()
        line += text.count("\n", end, start)
        with _sentences(f"{path}, line {line}", text, start):
            value, end = decoder.raw_decode(text, start)
            if halves:  # an escape can name half a character, which no file can hold
                json.dumps(value, ensure_ascii=False).encode()
        found.append((line, value))
        line += text.count("\n", start, end)
    return found


def _refuse(constant: str) -> NoReturn:
    raise UserError(f"{constant} is not a number in JSON; write null, or leave the row out.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the field {double!r} occurs more than once in one object.")
    return value


@contextmanager
def _sentences(where: str, text: str, start: int) -> Iterator[None]:
    """Turns what the json module raises for a value into a sentence that names its place."""
    try:
        yield
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        problem = "it ends too soon" if error.pos >= len(text.rstrip()) else error.msg
        raise UserError(f"{where}: not valid JSON at {place} ({problem}).") from None
    except UnicodeEncodeError:
        raise UserError(f"{where}: a \\u escape names half a character (a lone surrogate).") from None
    except RecursionError:
        raise UserError(f"{where}: lists or objects are nested too deeply.") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValueError:  # Python's own limit
        raise UserError(f"{where}: a number has more than 4300 digits; write it as text.") from None

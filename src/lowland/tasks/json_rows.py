"""Rows out of JSON: objects one after the other, or one document that holds them.

Which of the two a file is, is seen in it; where its suffix says otherwise, a note says how it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.fields import describe
from lowland.tasks.lines import read_lines


def read_json(path: Path, lines: bool, wanted: Sequence[str], notes: list[str]) -> Iterator[tuple[int, Row]]:
    """Reads rows out of a JSON file, whose suffix says whether it has one object a line; see `read_rows`."""
    text = "".join(line for _, line in read_lines(path))
    rows, how = _values(text, str(path)), ""
    if len(rows) == 1:
        value = rows[0][1]
        items, how = _items(value, lines, wanted)
        if items is not None and lines and isinstance(value, list):
            # Without its brackets it is values one after the other, whose lines are known.
            start, end = text.index("["), text.rindex("]")
            rows = _values(f"{text[:start]} {text[start + 1 : end]}", "")
        elif items is not None:
            rows = [(1 if lines else number, item) for number, item in enumerate(items, start=1)]
        elif not lines:
            raise UserError(
                f"{path}: expected a list of objects, or an object with such a list under 'data';"
                " a file with one object a line is named .jsonl."
            )
    elif rows and not lines:
        rows = [(number, value) for number, (_, value) in enumerate(rows, start=1)]
        how = f"JSON lines: it holds {len(rows)} objects, one after the other"
    if how:
        notes.append(f"{path} is read as {how}.")
    for number, value in rows:
        if not isinstance(value, dict):
            raise UserError(
                f"{path}, {'line' if lines else 'item'} {number}: a row is an object such as"
                f' {{"text": "..."}}, but this is {describe(value)}.'
            )
        yield number, value


def _items(value: Any, lines: bool, wanted: Sequence[str]) -> tuple[list[Any] | None, str]:
    """Takes the rows out of a file's only value, and says how where that is not plain; none if it has none.

    The shapes are those that pandas' `to_json` and datasets' `to_dict` write.
    """
    if isinstance(value, list):
        if not lines:
            return value, ""
        objects = any(isinstance(item, dict) for item in value)
        return (value, "one list, whose items are the rows") if objects else (None, "")
    if not isinstance(value, dict):
        return None, ""
    if lines and (not wanted or any(isinstance(value.get(name), (str, int, float)) for name in wanted)):
        return None, ""  # a file of one row
    data, names, columns = value.get("data", value.get("Data")), value.get("columns"), list(value.values())
    plain = "one object that holds all rows" if lines else ""
    readings: list[tuple[list[Any] | None, str]] = []
    if isinstance(data, list):
        if isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in data):
            rows = [dict(zip(map(str, names), row, strict=True)) for row in data]
            readings.append((rows, "names of columns and a list of values for each row"))
        readings.append((data, plain))
    lists = [(rows, f"the list under {name!r}") for name, rows in value.items() if _are_rows(rows, wanted)]
    readings += lists if len(lists) == 1 else []
    if columns and all(isinstance(column, dict) for column in columns):
        readings.append((columns, plain))
        if all(column.keys() == columns[0].keys() for column in columns):
            columns = [[column[key] for key in columns[0]] for column in columns]
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        rows = [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
        readings.append((rows, "columns, each with the values of all rows"))
    fits = [reading for reading in readings if _are_rows(reading[0], wanted)]
    return (fits or readings or [(None, "")])[0]


def _are_rows(rows: Any, wanted: Sequence[str]) -> bool:
    """Whether a value is a list of objects of which the first has the wanted fields."""
    objects = isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)
    return objects and all(name in rows[0] for name in wanted)


def _values(text: str, path: str) -> list[tuple[int, Any]]:
    """Reads values that stand one after the other, with blanks or commas between: first lines and values.

    Raises:
        UserError: If one is not valid JSON, or holds what no text file can.
    """
    found = []
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
    halves = "\\ud" in text or "\\uD" in text
    line, end = 1, 0
    while (match := re.compile(r"[^\s,]").search(text, end)) is not None:
        start = match.start()
        line += text.count("\n", end, start)
        try:
            value, end = decoder.raw_decode(text, start)
            if halves:  # an escape can name half a character, which no file can hold
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            problem = "it ends too soon" if error.pos >= len(text.rstrip()) else error.msg
            what = f"not valid JSON at line {error.lineno}, column {error.colno} ({problem})."
            raise UserError(f"{path}, line {line}: {what}") from None
        except UnicodeEncodeError:
            what = "a \\u escape names half a character (a lone surrogate)."
            raise UserError(f"{path}, line {line}: {what}") from None
        except RecursionError:
            raise UserError(f"{path}, line {line}: lists or objects are nested too deeply.") from None
        except UserError as error:
            raise UserError(f"{path}, line {line}: {error}") from None
        except ValueError:  # Python's own limit
            what = "a number has more than 4300 digits; write it as text."
            raise UserError(f"{path}, line {line}: {what}") from None
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

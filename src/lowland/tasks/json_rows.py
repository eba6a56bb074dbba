"""Rows out of JSON: one object a line, a list of objects, or a list for each column.

Which of these a file holds is seen in it; where its suffix says otherwise, a note says how it is read.
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

_SOMETHING = re.compile(r"[^\s,]")


def read_jsonl(path: Path, wanted: Sequence[str], notes: list[str]) -> Iterator[tuple[int, Row]]:
    """Reads one object a line; see `lowland.tasks.rows.read_rows`."""
    first = next((line for _, line in read_lines(path) if line.strip()), "")
    if _may_be_more(first, wanted):
        found = _whole(path, wanted)
        if found is not None:
            rows, how = found
            notes.append(f"{path} is read as {how}.")
            yield from rows
            return
    for number, line in read_lines(path):
        if line.strip():
            yield number, _object(parse(line, f"{path}, line {number}"), f"{path}, line {number}")


def _may_be_more(line: str, wanted: Sequence[str]) -> bool:
    """Whether a first line may be the beginning of a document, or a whole one, rather than a row."""
    try:
        value = parse(line, "")
    except UserError:
        return bool(line)
    if not isinstance(value, dict):
        return isinstance(value, list)
    return bool(wanted) and not any(isinstance(value.get(name), (str, int, float)) for name in wanted)


def _whole(path: Path, wanted: Sequence[str]) -> tuple[list[tuple[int, Row]], str] | None:
    """Reads a file as a list of objects, as columns, or as objects of several lines each.

    Returns:
        The rows with the numbers of their lines, and what they are read as; `None` for no such file.
    """
    text = "".join(line for _, line in read_lines(path))
    try:
        found = _values(text, str(path))
        if len(found) == 1 and isinstance(found[0][1], dict):
            document = _rows_of(found[0][1], wanted)
            if document is None:
                return None
            return [(1, _object(row, f"{path}, line 1")) for row in document[0]], (
                document[1] or "one object that holds all rows"
            )
        how = "objects with line ends inside or commas between them"
        if len(found) == 1 and isinstance(found[0][1], list):
            begun = text.index("[")
            found = _values(
                " " * (begun + 1) + text.rstrip()[begun + 1 : -1], str(path), text.count("\n", 0, begun)
            )
            how = "one list, whose items are the rows"
    except UserError:
        return None
    if not found or not all(isinstance(value, dict) for _, value in found):
        return None
    return found, how


def read_json(path: Path, wanted: Sequence[str], notes: list[str]) -> Iterator[tuple[int, Row]]:
    """Reads a document of rows; see `lowland.tasks.rows.read_rows`."""
    text = "".join(line for _, line in read_lines(path))
    if not text.strip():
        return
    try:
        document = parse(text, str(path))
    except UserError:
        try:
            document = [value for _, value in _values(text, str(path))]
        except UserError:
            document = []
        if len(document) < 2 or not all(isinstance(value, dict) for value in document):
            raise
        notes.append(f"{path} is read as JSON lines: it holds {len(document)} objects, one after the other.")
    if isinstance(document, dict) and (found := _rows_of(document, wanted)) is not None:
        document, how = found
        if how:
            notes.append(f"{path} is read as {how}.")
    if not isinstance(document, list):
        raise UserError(
            f"{path}: expected a list of objects, or an object with such a list under 'data';"
            " a file with one object a line is named .jsonl."
        )
    for number, item in enumerate(document, start=1):
        yield number, _object(item, f"{path}, item {number}")


def _rows_of(document: Mapping[str, Any], wanted: Sequence[str]) -> tuple[list[Any], str] | None:
    """Takes the rows out of an object, and says how it is read where that is not plain.

    The shapes are those that pandas' `to_json` and datasets' `to_dict` write.
    """
    names: Any = document.get("columns")
    data: Any = document.get("data", document.get("Data"))
    split = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if split and isinstance(data, list) and all(_is_list(row, len(names)) for row in data):
        rows = [dict(zip(names, row, strict=True)) for row in data]
        return rows, "names of columns and a list of values for each row"
    if isinstance(data, list) and (not data or not all(name in document for name in wanted) or not wanted):
        return data, ""
    named = [name for name, value in document.items() if _holds_rows(value, wanted)]
    if len(named) == 1 and named[0] != "data":
        return document[named[0]], f"the list under {named[0]!r}"
    columns = _columns(document, wanted)
    if columns is not None:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return rows, "columns, each with the values of all rows"
    if document and all(isinstance(value, dict) for value in document.values()):
        return list(document.values()), ""
    return None


def _holds_rows(value: Any, wanted: Sequence[str]) -> bool:
    """Whether a value is a list of objects that have the wanted fields."""
    rows = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    return bool(rows and value and wanted) and all(name in value[0] for name in wanted)


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _columns(document: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, list[Any]] | None:
    """Takes an object for columns: lists of one length, or objects with the same keys (numbers of rows)."""
    if not document or not all(name in document for name in wanted):
        return None
    values = list(document.values())
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return {name: list(value) for name, value in document.items()}
    if not all(isinstance(value, dict) for value in values):
        return None
    keys = list(values[0])
    if any(value.keys() != values[0].keys() for value in values):
        return None
    # Rows by name have the same shape: known fields, or numbers, tell what is a column.
    if wanted or keys == [str(number) for number in range(len(keys))]:
        return {name: [value[key] for key in keys] for name, value in document.items()}
    return None


def _values(text: str, where: str, line: int = 0) -> list[tuple[int, Any]]:
    """Reads values that stand one after the other, with blanks or commas between them.

    Returns:
        The number of each value's first line, `line` of which lie before the text, and the value.
    """
    found: list[tuple[int, Any]] = []
    decoder, place = _decoder(where), 0
    line += 1
    with _sentences(text, where):
        while (match := _SOMETHING.search(text, place)) is not None:
            line += text.count("\n", place, match.start())
            value, end = decoder.raw_decode(text, match.start())
            found.append((line, value))
            line += text.count("\n", match.start(), end)
            place = end
    return found


def parse(text: str, where: str) -> Any:
    """Reads one JSON value.

    Args:
        text: The value, and nothing else.
        where: Its place, for messages.

    Raises:
        UserError: If it is not valid JSON, or holds what no text file can.
    """
    with _sentences(text, where):
        value = _decoder(where).decode(text)
        # An escape can name half a character, which no file can hold: \ud83d without its other half.
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    return value


def _decoder(where: str) -> json.JSONDecoder:
    def refuse(constant: str) -> NoReturn:
        raise UserError(f"{where}: {constant} is no number in JSON; write null, or leave the row out.")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{where}: the field {double!r} occurs more than once in one object.")
        return value

    return json.JSONDecoder(parse_constant=refuse, object_pairs_hook=once)


@contextmanager
def _sentences(text: str, where: str) -> Iterator[None]:
    """Turns what the json module raises into a sentence that names the place."""
    try:
        yield
    except json.JSONDecodeError as error:
        several = text.strip().count("\n") > 0  # a .json file, whose place names no line yet
        column = f"line {error.lineno}, column {error.colno}" if several else f"column {error.colno}"
        problem = "it ends too soon" if error.pos >= len(text.rstrip()) else error.msg
        raise UserError(f"{where}: not valid JSON at {column} ({problem}).") from None
    except UnicodeEncodeError:
        raise UserError(f"{where}: a \\u escape names half a character (a lone surrogate).") from None
    except RecursionError:
        raise UserError(f"{where}: lists or objects lie too deep in one another.") from None
    except UserError:
        raise
    except ValueError:  # Python's own limit
        raise UserError(f"{where}: a number has more than 4300 digits; write it as text.") from None


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise UserError(
            f'{where}: a row is an object such as {{"text": "..."}}, but this is {describe(value)}.'
        )
    return value

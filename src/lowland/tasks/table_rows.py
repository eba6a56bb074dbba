"""Rows out of CSV and TSV: the first line names the columns.

Where the fields that are wanted are known, a table that only seems to lack them is read as it was meant:
with other marks between the fields (semicolons, tabs), with blanks around them, with a carriage return
inside a text or as the only line end. A note says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.lines import read_lines

MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What can stand between fields."""

STANDS_IN = "\ufdd0"
"""Stands for a carriage return inside a line, which the csv module refuses; no text has it."""


@dataclass(frozen=True)
class _Shape:
    """How a table is written.

    Attributes:
        mark: What stands between fields.
        blanks: Whether a blank after each mark is no part of the field.
        strip: Whether blanks around the columns' names are no part of them.
        skip: Whether the first line only names the mark, as Excel writes it.
    """

    mark: str
    blanks: bool = False
    strip: bool = False
    skip: bool = False


def read_tsv(
    path: Path,
    columns: Sequence[str] | None,
    short_rows: list[int] | None,
    wanted: Sequence[str],
    notes: list[str],
) -> Iterator[tuple[int, Row]]:
    """Reads a TSV file, where quotes are plain characters; see `lowland.tasks.rows.read_rows`."""
    if wanted and columns is None and (shape := _shape(path, "\t", wanted, notes)) != _Shape("\t"):
        yield from _read_csv(path, None, shape, notes)
        return
    names = list(columns) if columns else None
    for number, line in read_lines(path):
        text = line.removesuffix("\n").removesuffix("\r")
        if not text:
            continue
        fields = text.split("\t")
        if names is None:
            names = _header(path, number, fields)
            continue
        if len(fields) < len(names) and short_rows is not None and line.endswith("\n"):
            short_rows.append(number)
            continue
        yield number, _record(path, number, names, fields, cut_off=not line.endswith("\n"))


def read_csv(
    path: Path,
    columns: Sequence[str] | None = None,
    delimiter: str = ",",
    wanted: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Reads a CSV file whose fields may be quoted; see `lowland.tasks.rows.read_rows`.

    Args:
        path: The file.
        columns: Column names of a file that has no header.
        delimiter: What stands between fields, as far as is known.
        wanted: Fields that rows have, where they are known.
        notes: Where sentences are added on how the file is read.

    Yields:
        The number of the row's first line, and the row.

    Raises:
        UserError: If the file cannot be read or is malformed.
    """
    notes = [] if notes is None else notes
    known = columns is None and bool(wanted)
    shape = _shape(path, delimiter, wanted, notes) if known else _Shape(delimiter)
    yield from _read_csv(path, columns, shape, notes)


def _read_csv(
    path: Path, columns: Sequence[str] | None, shape: _Shape, notes: list[str]
) -> Iterator[tuple[int, Row]]:
    names = list(columns) if columns else None
    # The module's default refuses fields of more than 128 KiB, which long documents are.
    csv.field_size_limit(2**31 - 1)
    stray: list[int] = []
    lines = _only_lines(path, notes, stray)
    if shape.skip:
        next(lines, None)
    reader = csv.reader(lines, delimiter=shape.mark, skipinitialspace=shape.blanks, strict=True)
    while True:
        number = reader.line_num + 1 + shape.skip
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, line {number}: not valid CSV ({error}); a field with quotes, commas or line ends"
                ' is written in double quotes, and quotes inside it are doubled ("").'
            ) from None
        if not fields:
            continue
        if stray:
            fields = [field.replace(STANDS_IN, "\r") for field in fields]
        if names is None:
            stripped = [name.strip() for name in fields] if shape.strip else fields
            names = _header(path, number, stripped)
        else:
            yield number, _record(path, number, names, fields)


def _only_lines(path: Path, notes: list[str], stray: list[int]) -> Iterator[str]:
    """Gives the lines of a table; those with carriage returns inside are added to `stray`."""
    for number, line in read_lines(path):
        body = line.removesuffix("\n").removesuffix("\r")
        if "\r" not in body:
            yield line
            continue
        if number == 1 and not line.endswith("\n"):  # then it is the whole file
            notes.append(f"{path}: lines end in a carriage return alone, and are read so.")
            yield from re.findall(r"[^\r]*\r|[^\r]+", line)
            return
        if not stray:
            notes.append(
                f"{path}, line {number}: a carriage return inside a line is read as part of the text."
            )
        stray.append(number)
        yield body.replace("\r", STANDS_IN) + line[len(body) :]


def _shape(path: Path, usual: str, wanted: Sequence[str], notes: list[str]) -> _Shape:
    """Finds out how a table is written that is to have certain columns; the usual way where it has them."""
    numbered = ((number, line) for number, line in read_lines(path) if line.strip())
    head = next(numbered, (1, ""))[1]
    named = re.fullmatch(r'"?sep=(.)"?\s*', head)
    if named is not None:
        notes.append(f"{path}: its first line says that {named[1]!r} stands between fields.")
        head = next(numbered, (1, ""))[1]
        return _with_blanks(path, head, _Shape(named[1], skip=True), wanted, notes)
    if "\r" in head.rstrip("\r\n") and not head.endswith("\n"):
        head = head.partition("\r")[0]
    found = {mark: _matches(head, mark, wanted) for mark in (usual, *MARKS)}
    mark = max(found, key=lambda mark: found[mark])  # the usual one where several are as good
    if mark != usual:
        what = MARKS.get(usual, repr(usual))
        notes.append(f"{path} has {MARKS[mark]} between its fields, not {what}, and is read so.")
    return _with_blanks(path, head, _Shape(mark), wanted, notes)


def _with_blanks(path: Path, head: str, shape: _Shape, wanted: Sequence[str], notes: list[str]) -> _Shape:
    """Looks for blanks around columns' names, which are no part of them where the bare names are wanted."""
    names = _names(head, shape.mark)
    bare = [name.strip() for name in names]
    padded = [
        name for name in names if name != name.strip() and name.strip() in wanted and name not in wanted
    ]
    if not padded or len(set(bare)) < len(bare):
        return shape
    every = len(names) > 1 and all(name[:1] == " " for name in names[1:])
    what = f", and a blank after {MARKS.get(shape.mark, shape.mark)} is no part of a field" if every else ""
    notes.append(f"{path}: the column {padded[0]!r} is read as {padded[0].strip()!r}{what}.")
    return _Shape(shape.mark, blanks=every, strip=True, skip=shape.skip)


def _matches(head: str, mark: str, wanted: Sequence[str]) -> int:
    """Counts the wanted columns that a first line names where a mark parts it."""
    names = {name.strip() for name in _names(head, mark)}
    return sum(name in names or name.strip() in names for name in wanted)


def _names(head: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([head.replace("\r", "")], delimiter=mark, skipinitialspace=False), [])
    except csv.Error:
        return []


def _header(path: Path, number: int, names: list[str]) -> list[str]:
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UserError(
            f"{path}, line {number}: the column {double!r} occurs more than once; rename one of them."
        )
    return names


def _record(
    path: Path, number: int, names: Sequence[str], fields: Sequence[str], cut_off: bool = False
) -> Row:
    if len(fields) != len(names):
        hint = " (the last line has no line end: is the file cut off?)" if cut_off else ""
        missing = f"; {names[len(fields)]!r} is missing" if len(fields) < len(names) else ""
        raise UserError(
            f"{path}, line {number}: {len(fields)} field{'s' * (len(fields) != 1)} where the first line has "
            f"{len(names)}{missing}{hint}."
        )
    return dict(zip(names, fields, strict=True))

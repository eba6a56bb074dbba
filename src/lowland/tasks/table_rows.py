"""Rows out of CSV and TSV: the first line names the columns.

Where the fields that are wanted are known, a table that only seems to lack them is read as it was meant: with
other marks between the fields (semicolons, tabs), with blanks around them or letters in another form of
Unicode, with a carriage return inside a text or as the only line end. A note says so.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from lowland.errors import UserError
from lowland.tasks import fields as row_fields
from lowland.tasks.base import Row
from lowland.tasks.lines import read_lines

MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What can stand between fields."""

BLANKS = "\ufeff\u200b\u200c\u200d\u2060"
"""Characters around a column's name that nobody sees."""

STANDS_IN = "\ufdd0"
"""Stands for a carriage return inside a line, which the csv module refuses; no text has it."""


def read_tsv(
    path: Path,
    columns: Sequence[str] | None,
    short_rows: list[int] | None,
    wanted: Sequence[str],
    notes: list[str],
) -> Iterator[tuple[int, Row]]:
    """Reads a TSV file, where quotes are plain characters; see `lowland.tasks.rows.read_rows`."""
    if wanted and columns is None:
        head = _first_line(path)
        quoted = _has(wanted, _split(head, "\t")) and not _has(wanted, head.split("\t"))
        if quoted:
            notes.append(f"{path} has its columns' names in quotes, and is read as CSV with tabs.")
        if quoted or _mark(head, "\t", wanted) != "\t":
            yield from read_csv(path, None, "\t", wanted, notes)
            return
    names = list(columns) if columns else None
    for number, line in _lines(path, wanted, notes):
        text = line.removesuffix("\n").removesuffix("\r")
        if not text:
            continue
        fields = text.split("\t")
        if names is None:
            names = _header(path, number, fields, wanted, notes)
        elif len(fields) < len(names) and short_rows is not None and line.endswith("\n"):
            short_rows.append(number)
        else:
            yield number, _record(path, number, names, fields, cut_off=not line.endswith("\n"))


def read_csv(
    path: Path,
    columns: Sequence[str] | None = None,
    mark: str = ",",
    wanted: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Reads a CSV file whose fields may be quoted; see `lowland.tasks.rows.read_rows`.

    Args:
        path: The file.
        columns: Column names of a file that has no header.
        mark: What stands between fields, as far as is known.
        wanted: Fields that rows have, where they are known.
        notes: Where sentences are added on how the file is read.

    Yields:
        The number of the row's first line, and the row.

    Raises:
        UserError: If the file cannot be read or is malformed.
    """
    notes = [] if notes is None else notes
    names, blanks, first, usual = list(columns) if columns else None, False, 1, mark
    lines = _stand_ins(path, wanted, notes)
    if names is None:
        head = _first_line(path)
        if named := re.fullmatch(r'"?sep=(.)"?\s*', head):  # as Excel writes it
            mark, first, head = named[1], 2, ""
            next(lines, None)
        elif (mark := _mark(head, usual, wanted)) != usual:
            notes.append(
                f"{path} has {MARKS[mark]} between its fields, not {MARKS[usual]}, and is read that way."
            )
        others = _split(head, mark)[1:]
        padded = next((name for name in others if name not in wanted and name.strip() in wanted), None)
        if padded is not None and all(name[:1] == " " for name in others):
            blanks = True
            notes.append(
                f"{path}: the column {padded!r} is read as {padded.strip()!r}, and a blank after "
                f"{MARKS[mark]} is not part of a field."
            )
    # The module's default refuses fields of more than 128 KiB, which long documents are.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=blanks, strict=True)
    while True:
        number = reader.line_num + first
        try:
            fields = [field.replace(STANDS_IN, "\r") for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, line {number}: not valid CSV ({error}); a field with quotes, commas or line ends"
                ' is written in double quotes, and quotes inside it are doubled ("").'
            ) from None
        if not fields:
            continue
        if names is None:
            names = _header(path, number, fields, wanted, notes)
        else:
            yield number, _record(path, number, names, fields)


def _lines(path: Path, wanted: Sequence[str], notes: list[str]) -> Iterator[tuple[int, str]]:
    """Gives the lines of a table with their numbers, also where carriage returns alone end them."""
    lines = read_lines(path)
    begin = [line for line in (next(lines, None), next(lines, None)) if line is not None]
    head, returns, _ = begin[0][1].rstrip("\r\n").partition("\r") if begin else ("", "", "")
    named = bool(wanted) and any(_has(wanted, _split(head, mark)) for mark in MARKS)
    if not returns or not (named or len(begin) == 1):
        yield from chain(begin, lines)
        return
    notes.append(f"{path}: lines end in a carriage return alone, which is read as a line end.")
    number = 0
    for _, line in chain(begin, lines):
        for piece in re.findall(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", line):
            number += 1
            yield number, re.sub(r"\r$", "\n", piece)


def _stand_ins(path: Path, wanted: Sequence[str], notes: list[str]) -> Iterator[str]:
    """Gives the lines of a table, with stand-ins for carriage returns inside them."""
    told: set[str] = set()
    for number, line in _lines(path, wanted, notes):
        body = line.rstrip("\r\n")
        end = line[len(body) :]
        for found, what in (
            ("\r" in body, "inside a line is read as part of the text"),
            (len(end) > 2, "before a line end is read as part of that"),
        ):
            if found and what not in told:
                notes.append(f"{path}, line {number}: a carriage return {what}.")
                told.add(what)
        yield body.replace("\r", STANDS_IN) + (end if len(end) <= 2 else "\n")


def _first_line(path: Path) -> str:
    return next((line for _, line in read_lines(path) if line.strip()), "").partition("\r")[0]


def _mark(head: str, usual: str, wanted: Sequence[str]) -> str:
    """Finds what stands between fields: the usual mark, unless another one gives more wanted columns."""

    def found(mark: str) -> int:
        names = _split(head, mark)
        return sum(_has((name,), names) for name in wanted)

    return max((usual, *MARKS), key=found)


def _split(head: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([head], delimiter=mark), [])
    except csv.Error:
        return []


def _has(wanted: Sequence[str], names: Sequence[str]) -> bool:
    """Tells whether wanted columns are among names, as they are or as they look."""
    return {*wanted} <= {*names} or {*map(_look, wanted)} <= {*map(_look, names)}


def _look(name: str) -> str:
    """Writes a name as it looks: without blanks and invisible characters around it, letters composed."""
    return unicodedata.normalize("NFC", name).strip(BLANKS).strip()


def _header(path: Path, number: int, names: list[str], wanted: Sequence[str], notes: list[str]) -> list[str]:
    """Checks the columns' names; those that look like a wanted one are read as that where there is one."""
    for name in wanted:
        alike = [found for found in names if _look(found) == _look(name)]
        if name not in names and len(alike) == 1:
            place = names.index(alike[0])
            shown = ascii(alike[0]) if alike[0].strip(BLANKS).strip() != name else repr(alike[0])
            notes.append(f"{path}: the column {shown} is read as {name!r}.")
            names = [*names[:place], name, *names[place + 1 :]]
        if name not in names:
            missing = row_fields.missing(name, dict.fromkeys(names))
            raise UserError(f"{path}, line {number}, which must name the columns: {missing}")
    # Columns without a name, and those that nobody wants, may be several.
    double = repeated_name([name for name in names if name and (name in wanted or not wanted)])
    if double is not None:
        raise UserError(
            f"{path}, line {number}: the column {double!r} occurs more than once; rename one of them."
        )
    return names


def repeated_name(names: Sequence[str]) -> str | None:
    """Finds a name that occurs more than once."""
    return next((name for name in names if names.count(name) > 1), None)


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

"""Rows out of CSV and TSV: the first line names the columns.

Where the wanted fields are known, a table that only seems to lack them is read as it was meant: with other
marks between the fields, with blanks around names or letters in another form of Unicode, with carriage
returns inside texts or as the only line ends. A note says so.
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


def read_table(
    path: Path,
    mark: str,
    columns: Sequence[str] | None = None,
    *,
    quoted: bool = True,
    short_rows: list[int] | None = None,
    wanted: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Reads a CSV or TSV file; see `lowland.tasks.rows.read_rows`.

    Args:
        path: The file.
        mark: What stands between fields, as far as is known.
        columns: Column names of a file that has no header.
        quoted: Whether fields may be in quotes; otherwise these are plain characters.
        short_rows: Numbers of lines with too few fields, which are left out; otherwise they are an error.
        wanted: Fields that rows have, where they are known.
        notes: Where sentences are added on how the file is read.
    """
    notes = [] if notes is None else notes
    lines = _Lines(path, wanted, notes)
    names, first, blanks = list(columns) if columns else None, 1, False
    if names is None:
        head = next((line for _, line in read_lines(path) if line.strip()), "").partition("\r")[0]
        if named := re.fullmatch(r'"?sep=(.)"?\s*', head):  # as Excel writes it
            mark, first, head = named[1], 2, ""
            next(lines)
        other = max((mark, *MARKS), key=lambda mark: sum(_has([w], _split(head, mark)) for w in wanted))
        if other != mark:
            what = f"has {MARKS[other]} between its fields, not {MARKS[mark]}, and is read that way"
            notes.append(f"{path} {what}.")
            mark, quoted = other, True
        elif not quoted and _has(wanted, _split(head, mark)) and not _has(wanted, head.split(mark)):
            notes.append(f"{path} has its columns' names in quotes, and is read as CSV with tabs.")
            quoted = True
        behind = _split(head, mark)[1:]
        padded = next((name for name in behind if name not in wanted and name.strip() in wanted), None)
        if padded is not None and all(name[:1] == " " for name in behind):
            blanks = True
            also = f"a blank after {MARKS[mark]} is not part of a field"
            notes.append(f"{path}: the column {padded!r} is read as {padded.strip()!r}, and {also}.")
    csv.field_size_limit(2**31 - 1)  # the default refuses fields of more than 128 KiB
    reader = csv.reader(
        lines,
        delimiter=mark,
        skipinitialspace=blanks,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
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
        elif len(fields) == len(names):
            yield number, dict(zip(names, fields, strict=True))
        elif len(fields) < len(names) and short_rows is not None and not lines.cut_off:
            short_rows.append(number)
        else:
            missing = f"; {names[len(fields)]!r} is missing" if len(fields) < len(names) else ""
            hint = " (the last line has no line end: is the file cut off?)" if lines.cut_off else ""
            raise UserError(
                f"{path}, line {number}: {len(fields)} field{'s' * (len(fields) != 1)} where the first line "
                f"has {len(names)}{missing}{hint}."
            )


class _Lines(Iterator[str]):
    """The lines of a table, also where carriage returns alone end them, with stand-ins for those inside them.

    Attributes:
        cut_off: Whether the last one has no line end.
    """

    cut_off = False

    def __init__(self, path: Path, wanted: Sequence[str], notes: list[str]) -> None:
        self._lines = self._read(path, wanted, notes)

    def __next__(self) -> str:
        line = next(self._lines)
        self.cut_off = not line.endswith(("\n", "\r"))
        return line

    def _read(self, path: Path, wanted: Sequence[str], notes: list[str]) -> Iterator[str]:
        lines = read_lines(path)
        begin = [line for line in (next(lines, None), next(lines, None)) if line is not None]
        head, returns, _ = begin[0][1].rstrip("\r\n").partition("\r") if begin else ("", "", "")
        named = bool(wanted) and any(_has(wanted, _split(head, mark)) for mark in MARKS)
        if returns and (named or len(begin) == 1):
            notes.append(f"{path}: lines end in a carriage return alone, which is read as a line end.")
            for _, line in chain(begin, lines):
                yield from re.findall(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", line)
            return
        told: set[str] = set()
        for number, line in chain(begin, lines):
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
        alike = [place for place, found in enumerate(names) if _look(found) == _look(name)]
        if name not in names and len(alike) == 1:
            found = names[alike[0]]
            shown = repr(found) if found.strip(BLANKS).strip() == name else ascii(found)
            notes.append(f"{path}: the column {shown} is read as {name!r}.")
            names[alike[0]] = name
        if name not in names:
            missing = row_fields.missing(name, dict.fromkeys(names))
            raise UserError(f"{path}, line {number}, which must name the columns: {missing}")
    # Columns without a name, and those that nobody wants, may be several.
    for name in names:
        if name and names.count(name) > 1 and (name in wanted or not wanted):
            raise UserError(
                f"{path}, line {number}: the column {name!r} occurs more than once; rename one of them."
            )
    return names

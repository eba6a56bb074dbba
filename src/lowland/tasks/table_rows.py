"""Rows out of CSV and TSV: the first line names the columns.

Where the fields that are wanted are known, a table that only seems to lack them is read as it was meant: with
other marks between the fields (semicolons, tabs), with blanks around them, with a carriage return inside a
text or as the only line end. A note says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.lines import read_lines

MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What can stand between fields."""

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
    if wanted and columns is None and _mark(_first_line(path), "\t", wanted) != "\t":
        yield from read_csv(path, None, "\t", wanted, notes)
        return
    names = list(columns) if columns else None
    for number, line in read_lines(path):
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
    lines = _only_lines(path, notes)
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


def _only_lines(path: Path, notes: list[str]) -> Iterator[str]:
    """Gives the lines of a table, with stand-ins for carriage returns inside them."""
    told = False
    for number, line in read_lines(path):
        body = line.removesuffix("\n").removesuffix("\r")
        if "\r" not in body:
            yield line
        elif number == 1 and not line.endswith("\n"):  # then it is the whole file
            notes.append(f"{path}: lines end in a carriage return alone, which is read as a line end.")
            yield from re.findall(r"[^\r]*\r|[^\r]+", line)
        else:
            if not told:
                notes.append(
                    f"{path}, line {number}: a carriage return inside a line is read as part of the text."
                )
            told = True
            yield body.replace("\r", STANDS_IN) + line[len(body) :]


def _first_line(path: Path) -> str:
    return next((line for _, line in read_lines(path) if line.strip()), "").partition("\r")[0]


def _mark(head: str, usual: str, wanted: Sequence[str]) -> str:
    """Finds what stands between fields: the usual mark, unless another one gives more wanted columns."""

    def found(mark: str) -> int:
        names = {name.strip() for name in _split(head, mark)}
        return sum(name in names or name.strip() in names for name in wanted)

    return max((usual, *MARKS), key=found)


def _split(head: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([head], delimiter=mark), [])
    except csv.Error:
        return []


def _header(path: Path, number: int, names: list[str], wanted: Sequence[str], notes: list[str]) -> list[str]:
    """Checks the columns' names; blanks around them are no part of them where the bare names are wanted."""
    bare = [name.strip() for name in names]
    padded = [name for name in names if name not in wanted and name.strip() in wanted]
    if padded and repeated_name(bare) is None:
        notes.append(f"{path}: the column {padded[0]!r} is read as {padded[0].strip()!r}.")
        names = bare
    if (double := repeated_name(names)) is not None:
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

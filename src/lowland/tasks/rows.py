"""Files of rows: JSONL, JSON, CSV and TSV, read line by line with errors that name the place.

- `.jsonl`: one JSON object a line; blank lines are skipped.
- `.json`: a list of objects, an object of objects, or an object that holds the list under `data`.
- `.csv`: the csv module's rules, with quotes; the first row names the columns.
- `.tsv`: tab-separated as in GLUE: quotes are plain characters and a field holds no tab and no line
  end; the first row names the columns.

All are UTF-8, with or without a byte order mark, with either kind of line end.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.fields import describe

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")

NO_TEXT = {
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"BZh": "compressed with bzip2; unpack it first",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"PAR1": "a Parquet file; save it as JSONL or CSV",
    b"%PDF": "a PDF file; save its rows as JSONL or CSV",
}
"""How files begin that are no UTF-8 text, and what to do. Archives are never unpacked here."""


def read_rows(
    path: Path, *, columns: Sequence[str] | None = None, short_rows: list[int] | None = None
) -> Iterator[tuple[int, Row]]:
    """Reads a file of rows by its suffix.

    Args:
        path: The file.
        columns: Column names of a CSV or TSV file that has no header.
        short_rows: Where given, rows of a TSV file that lack fields are left out and their line
            numbers are added to this list; otherwise they are an error.

    Yields:
        The number of the row's line (in a `.json` file the number of the item, from 1) and the row.

    Raises:
        UserError: If the file cannot be read, is empty or malformed; the message names the place.
    """
    suffix = path.suffix.lower()
    readers = {
        ".jsonl": lambda: _jsonl(path),
        ".json": lambda: _json(path),
        ".csv": lambda: read_csv(path, columns),
        ".tsv": lambda: _tsv(path, columns, short_rows),
    }
    if suffix not in readers:
        raise unknown_suffix(path, SUFFIXES)
    empty = True
    for number_and_row in readers[suffix]():
        empty = False
        yield number_and_row
    if empty:
        raise UserError(f"{path} is empty: it holds no rows{_no_rows(path)}.")


def unknown_suffix(path: Path, known: Sequence[str]) -> UserError:
    """Builds the error for a file whose suffix says nothing that can be read."""
    listed = f"{', '.join(known[:-1])} and {known[-1]}"
    if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".7z"):
        return UserError(
            f"{path} is compressed, and archives are not opened here; unpack it and give the file in it."
        )
    if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        return UserError(f"{path} is a spreadsheet; save the sheet as CSV.")
    return UserError(f"{path} has the suffix {path.suffix!r}; rows are read from {listed} files.")


def _no_rows(path: Path) -> str:
    """Says what a file without rows holds instead."""
    table = path.suffix.lower() in (".csv", ".tsv") and path.stat().st_size > 0
    return " below its first line, which names the columns" if table else ""


def place(path: Path, number: int) -> str:
    """Names the place of a row for a message: `FILE, line 3`, or `FILE, item 3` for `.json`."""
    return f"{path}, {'item' if path.suffix.lower() == '.json' else 'line'} {number}"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Reads a UTF-8 text file line by line.

    Yields:
        The number of the line from 1, and the line with its line end. Only line feeds end a line.

    Raises:
        UserError: If the file cannot be read, is not UTF-8 or holds a NUL character.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    for beginning, what in NO_TEXT.items():
                        if raw.startswith(beginning):
                            raise UserError(f"{path} is {what}.")
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if b"\0" in raw:
                    raise UserError(
                        f"{path}, line {number}: a NUL character; the file is damaged, no text, or not UTF-8."
                    )
                try:
                    yield number, raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}, line {number}: byte {error.start + 1} is not UTF-8; "
                        "if this is text, save it as UTF-8."
                    ) from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give a file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in read_lines(path):
        if line.strip():
            yield number, _object(_parse_json(line, f"{path}, line {number}"), f"{path}, line {number}")


def _json(path: Path) -> Iterator[tuple[int, Row]]:
    text = "".join(line for _, line in read_lines(path))
    if not text.strip():
        return
    document = _parse_json(text, str(path))
    if isinstance(document, dict):
        lists = [document[key] for key in ("data", "Data") if isinstance(document.get(key), list)]
        if lists:
            document = lists[0]
        elif document and all(isinstance(value, dict) for value in document.values()):
            document = list(document.values())
    if not isinstance(document, list):
        raise UserError(
            f"{path}: expected a list of objects, or an object with such a list under 'data';"
            " a file with one object a line is named .jsonl."
        )
    for number, item in enumerate(document, start=1):
        yield number, _object(item, f"{path}, item {number}")


def _parse_json(text: str, where: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise UserError(f"{where}: {constant} is no number in JSON; write null, or leave the row out.")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{where}: the field {double!r} occurs more than once in one object.")
        return value

    try:
        value = json.loads(text, parse_constant=refuse, object_pairs_hook=once)
        # An escape can name half a character, which no file can hold: \ud83d without its other half.
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
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
    return value


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise UserError(
            f'{where}: a row is an object such as {{"text": "..."}}, but this is {describe(value)}.'
        )
    return value


def _tsv(
    path: Path, columns: Sequence[str] | None, short_rows: list[int] | None
) -> Iterator[tuple[int, Row]]:
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
    path: Path, columns: Sequence[str] | None = None, delimiter: str = ","
) -> Iterator[tuple[int, Row]]:
    """Reads a CSV file whose fields may be quoted; see `read_rows`.

    Args:
        path: The file.
        columns: Column names of a file that has no header.
        delimiter: What stands between fields.

    Yields:
        The number of the row's first line, and the row.

    Raises:
        UserError: If the file cannot be read or is malformed.
    """
    names = list(columns) if columns else None
    # The module's default refuses fields of more than 128 KiB, which long documents are.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(_only_lines(read_lines(path)), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "new-line" in str(error):
                raise UserError(
                    f"{path}, line {number}: lines end in a carriage return alone; "
                    "save the file with line feeds."
                ) from None
            raise UserError(
                f"{path}, line {number}: not valid CSV ({error}); a field with quotes, commas or line ends"
                ' is written in double quotes, and quotes inside it are doubled ("").'
            ) from None
        if not fields:
            continue
        if names is None:
            names = _header(path, number, fields)
        else:
            yield number, _record(path, number, names, fields)


def _only_lines(numbered: Iterable[tuple[int, str]]) -> Iterator[str]:
    for _, line in numbered:
        yield line


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

"""Files of rows: JSONL, JSON, CSV, TSV and Parquet, read with errors that name the place.

- `.jsonl` holds one JSON object a line; `.json` a list of objects, or an object with such a list, or with a
  list for each column.
- `.csv` and `.tsv` begin with the names of the columns. In TSV quotes are plain characters, as in GLUE.
- Text is UTF-8, and packed by gzip where its name ends in `.gz`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.tasks import fields
from lowland.tasks.base import Row

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

MARKS = ",;\t|"
"""What can stand between the fields of a table."""

INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
"""Characters that are no part of a column's name at its ends, as blanks are not."""

NO_TEXT = (
    "Save text as UTF-8 (not UTF-16) and a spreadsheet as CSV, unpack an archive, and name a file by what it "
    "is: .gz if gzip has packed it, or .parquet."
)


def kind_of(path: Path) -> str:
    """Gives the suffix that says what a file holds, in lower case and without `.gz`."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def read_rows(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    quoted: bool | None = None,
    short_rows: list[int] | None = None,
    wanted: Sequence[str] = (),
) -> Iterator[tuple[int, Row]]:
    """Reads a file of rows by its suffix, each with the number that `place` takes.

    `columns` name those of a table without a header; `wanted` ones tell what stands between its fields. Lines
    that lack fields are listed in `short_rows` where it is given, and are an error otherwise.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        rows = _parquet_rows(path)
    elif kind in (".json", ".jsonl"):
        rows = _json_rows(path, kind == ".jsonl")
    elif kind in (".csv", ".tsv"):
        quoted = quoted if quoted is not None else kind == ".csv"
        rows = _table_rows(path, columns, quoted, short_rows, wanted)
    else:
        what = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise UserError(
            f"{path} {'is a folder' if path.is_dir() else what}; rows are read from "
            f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]} files, packed ones from .csv.gz and so on. Save "
            "a spreadsheet as CSV, and unpack other archives."
        )
    number = None
    for number, row in rows:
        yield number, row
    if number is None:
        raise UserError(f"{path} is empty: it holds no rows.")


def task_name(path: str | Path) -> str:
    """Names a user's own data after their file: `data/tickets 2024.csv.gz` are `tickets-2024`."""
    name = Path(path).name.removeprefix(".")
    stem = name.split(".")[0] if kind_of(Path(name)) in SUFFIXES else Path(name).stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "own-data"


def place(path: Path, number: int) -> str:
    """Names the place of a row for a message: `FILE, line 3`, or `FILE, item 3` for `.json`."""
    return f"{path}, {'item' if kind_of(path) in ('.json', '.parquet') else 'line'} {number}"


def read_text(path: Path) -> str:
    """Reads a text file whole, its line ends as they are."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
        text = content.decode("utf-8-sig")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path} cannot be unpacked; it is cut off or damaged.") from None
    except OSError as error:
        raise _cannot_read(path, error) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, byte = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise UserError(f"{path}, line {line}: byte {byte} is not UTF-8. {NO_TEXT}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: a NUL character. {NO_TEXT}")
    return text


def _cannot_read(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} does not exist.")
    if isinstance(error, IsADirectoryError):
        return UserError(f"{path} is a folder; give a file.")
    return UserError(f"{path} cannot be read: {error.strerror or error}.")


def _json_rows(path: Path, lines: bool) -> Iterator[tuple[int, Row]]:
    text = read_text(path)
    first, _, rest = text.strip().partition("\n")
    rows: Iterable[tuple[int, Any]]
    if lines and re.match(r"\s*\[\s*{", text):
        rows = _listed(path, text)
    elif lines or (rest and first.startswith("{") and first.rstrip().endswith("}")):
        filled = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
        rows = ((number, _parse(line, f"{path}, line {number}")) for number, line in filled)
        # In a .json file, rows are counted.
        rows = rows if lines else enumerate((value for _, value in rows), start=1)
    else:
        rows = enumerate(_items(path, _parse(text, str(path))) if text.strip() else [], start=1)
    for number, value in rows:
        if not isinstance(value, dict):
            what = f'a row is an object such as {{"text": "..."}}, but this is {fields.describe(value)}'
            raise UserError(f"{place(path, number)}: {what}.")
        yield number, value


def _listed(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Reads one list under the suffix of JSON lines; gives the line where each of its items begins."""
    at, decoder, comma = text.index("[") + 1, json.JSONDecoder(), re.compile(r"[\s,]*")
    for value in _parse(text, str(path)):
        at = comma.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        yield text.count("\n", 0, at) + 1, value
        at = decoder.raw_decode(text, at)[1]


def _items(path: Path, document: Any) -> list[Any]:
    """Finds the rows of a document: a list, an object of objects, or a list or numbered cells a column."""
    if isinstance(document, list):
        return document
    values = list(document.values()) if isinstance(document, dict) else []
    rows = [value for value in values if value and isinstance(value, list) and isinstance(value[0], dict)]
    if len(rows) == 1:
        return rows[0]
    if values and all(isinstance(value, dict) for value in values):
        if not all(number.isdecimal() for value in values for number in value):
            return values
        return [{name: column.get(number) for name, column in document.items()} for number in values[0]]
    if all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    raise UserError(
        f"{path}: expected a list of objects, or an object that holds one or has a list for each column; a "
        "file with one object a line is named .jsonl."
    )


def _parse(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # an escape can name half a character, which no file can hold
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error).replace("line 1 column", "column")  # of a line of the file, or a file of one line
        raise UserError(f"{where}: not valid JSON ({reason}).") from None
    return value


def _table_rows(
    path: Path,
    columns: Sequence[str] | None,
    quoted: bool,
    short_rows: list[int] | None,
    wanted: Sequence[str],
) -> Iterator[tuple[int, Row]]:
    text = read_text(path)
    mark = "," if kind_of(path) == ".csv" else "\t"
    head = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    best = max((mark, *MARKS), key=lambda mark: len({*wanted} & {*_names(head, mark)}))
    if best != mark and columns is None:
        mark, quoted = best, True
    # Where the first line ends in a line feed, a carriage return alone is a part of a field.
    ends = "" if "\r" in text.lstrip("\r\n").partition("\n")[0].rstrip("\r") else "\n"
    csv.field_size_limit(2**31 - 1)  # the default refuses fields of more than 128 KiB
    reader = csv.reader(
        io.StringIO(text, newline=ends),
        delimiter=mark,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        skipinitialspace=columns is None and f"{mark} " in head,  # as in the header, so in the rows
        strict=True,
    )
    rows = _cells(path, reader)
    names = list(columns or _header(path, *next(rows, (1, wanted)), wanted))
    for number, cells in rows:
        if len(cells) == len(names):
            yield number, dict(zip(names, cells, strict=True))
            continue
        last = reader.line_num > text.count("\n")
        if len(cells) < len(names) and short_rows is not None and not last:
            short_rows.append(number)
            continue
        missing = f"; {names[len(cells)]!r} is missing" if len(cells) < len(names) else ""
        hint = " (the last line has no line end: is the file cut off?)" if last else ""
        found = f"{len(cells)} field{'s' * (len(cells) != 1)} where the first line has {len(names)}"
        raise UserError(f"{path}, line {number}: {found}{missing}{hint}.")


def _cells(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = "a carriage return inside it" if "new-line character" in str(error) else error
            raise UserError(
                f"{path}, line {number}: not valid CSV ({reason}); a field with quotes, commas or line ends "
                'is in double quotes, and quotes inside it are doubled ("").'
            ) from None
        if cells is None:
            return
        if cells:
            yield number, cells


def _names(head: str, mark: str) -> list[str]:
    try:
        return [_name(cell) for cell in next(csv.reader([head], delimiter=mark), [])]
    except csv.Error:
        return []


def _name(cell: str) -> str:
    """Reads a column's name: blanks and what nobody sees at its ends are no part of it."""
    return unicodedata.normalize("NFC", cell).strip(INVISIBLE).strip()


def _header(path: Path, number: int, cells: Sequence[str], wanted: Sequence[str]) -> list[str]:
    names = [_name(cell) for cell in cells]
    where = f"{path}, line {number}"
    for name in wanted:
        if name not in names:
            missing = fields.missing(name, dict.fromkeys(names))
            raise UserError(f"{where}, which must name the columns: {missing}")
    # Columns without a name, and those that nobody wants, may be several.
    for name in wanted or filter(None, names):
        if names.count(name) > 1:
            raise UserError(f"{where}: the column {name!r} occurs more than once; rename one of them.")
    return names


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs the package pyarrow; run pip install pyarrow, or save it as CSV."
        ) from None
    try:
        with ParquetFile(path) as file:
            rows = file.read().to_pylist()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _cannot_read(path, error) from None
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or ["it is damaged"])[0].rstrip(".")
        raise UserError(f"{path}: not a Parquet file that can be read ({reason}).") from None
    for number, row in enumerate(rows, start=1):
        yield number, {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Writes dates and decimal numbers as text, which a template can take; a missing number is null."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, (date, time, timedelta, Decimal)) else value

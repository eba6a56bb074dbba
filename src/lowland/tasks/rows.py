"""Files of rows: JSONL, JSON, CSV, TSV and Parquet, read with errors that name the place.

- `.jsonl`: one JSON object a line; blank lines are skipped.
- `.json`: a list of objects, an object of objects, an object that holds the list under `data`, or a list
  for each column.
- `.csv`: the csv module's rules, with quotes; the first row names the columns.
- `.tsv`: tab-separated as in GLUE: quotes are plain characters and a field holds no tab and no line
  end; the first row names the columns.
- `.parquet`: read by pyarrow, which comes with the package datasets.

Texts are UTF-8, with or without a byte order mark, with either kind of line end, and packed by gzip or not
(`.csv.gz`). What a file holds against its suffix is read where there is only one way to read it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lowland.errors import UserError
from lowland.tasks.base import Row
from lowland.tasks.json_rows import read_json
from lowland.tasks.lines import cannot_read, is_packed
from lowland.tasks.table_rows import read_table

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

SYNONYMS = {".ndjson": ".jsonl", ".tab": ".tsv", ".pq": ".parquet"}
"""Other suffixes of the same kinds."""


def kind_of(path: Path) -> str:
    """Gives the suffix that says what kind of rows a file holds, in lower case and without `.gz`."""
    name = Path(path.stem) if path.suffix.lower() == ".gz" else path
    suffix = name.suffix.lower()
    return SYNONYMS.get(suffix, suffix)


def read_rows(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    short_rows: list[int] | None = None,
    wanted: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Reads a file of rows by its suffix.

    Args:
        path: The file.
        columns: Column names of a CSV or TSV file that has no header.
        short_rows: Where given, rows of a TSV file that lack fields are left out and their line
            numbers are added to this list; otherwise they are an error.
        wanted: Fields that rows must have, where they are known. They tell columns from rows in JSON, and
            what stands between the fields of a table.
        notes: Where sentences are added on what is read in another way than the suffix says.

    Yields:
        The number of the row's line (in a `.json` or `.parquet` file the number of the item, from 1) and
        the row.

    Raises:
        UserError: If the file cannot be read, is empty or malformed; the message names the place.
    """
    notes = [] if notes is None else notes
    kind = kind_of(path)
    if kind not in SUFFIXES:
        raise unknown_suffix(path, SUFFIXES)
    if path.suffix.lower() != ".gz" and is_packed(path):
        notes.append(f"{path} is packed by gzip, though its name does not say so, and is unpacked.")
    if kind == ".parquet":
        rows = _parquet(path)
    elif kind in (".json", ".jsonl"):
        rows = read_json(path, kind == ".jsonl", wanted, notes)
    else:
        tabs = kind == ".tsv"
        options: Any = {"quoted": not tabs, "short_rows": short_rows, "wanted": wanted, "notes": notes}
        rows = read_table(path, "\t" if tabs else ",", columns, **options)
    empty = True
    for number_and_row in rows:
        empty = False
        yield number_and_row
    if empty:
        table = kind in (".csv", ".tsv") and path.stat().st_size > 0
        below = " below its first line, which names the columns" if table else ""
        raise UserError(f"{path} is empty: it holds no rows{below}.")


def unknown_suffix(path: Path, known: Sequence[str]) -> UserError:
    """Builds the error for a file whose suffix says nothing that can be read."""
    listed = f"{', '.join(known[:-1])} and {known[-1]}"
    if path.is_dir():
        return UserError(f"{path} is a folder; give a file in it: {listed} are read.")
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return UserError(f"{path}: the name does not say what is packed in it; name it .csv.gz, for example.")
    if suffix in (".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".7z"):
        return UserError(f"{path} is an archive that is not opened here; unpack it first.")
    if suffix in (".xlsx", ".xls", ".ods"):
        return UserError(f"{path} is a spreadsheet; save the sheet as CSV.")
    what = f"the suffix {path.suffix!r}" if suffix else "no suffix to tell what it holds"
    return UserError(f"{path} has {what}; rows are read from {listed} files.")


def task_name(path: str | Path) -> str:
    """Names a user's own data after their file: `data/tickets 2024.csv.gz` are `tickets-2024`."""
    name = Path(path).name.removeprefix(".")
    stem = name.split(".")[0] if kind_of(Path(name)) in SUFFIXES else Path(name).stem
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "own-data"


def place(path: Path, number: int) -> str:
    """Names the place of a row for a message: `FILE, line 3`, or `FILE, item 3` for `.json`."""
    return f"{path}, {'item' if kind_of(path) in ('.json', '.parquet') else 'line'} {number}"


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs the package pyarrow; run pip install pyarrow, or save it as CSV."
        ) from None
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                double = next(name for name in names if names.count(name) > 1)
                raise UserError(f"{path}: the column {double!r} occurs more than once; rename one of them.")
            rows = file.read().to_pylist()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise cannot_read(path, error) from None
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

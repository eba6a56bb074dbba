"""Files of rows: what is understood, and how a damaged file is reported."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import math
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.errors import UserError
from lowland.tasks.rows import read_rows, task_name


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """Writes a file."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path: Path) -> list[dict[str, object]]:
    """Reads a file's rows without their numbers."""
    return [dict(row) for _, row in read_rows(path)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "x", "label": "1"}\n\n{"text": "y", "label": "0"}'),
        ("a.json", '[{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]'),
        ("a.json", '{"data": [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}], "version": 1}'),
        ("a.json", '{"0": {"text": "x", "label": "1"}, "1": {"text": "y", "label": "0"}}'),
        ("a.json", '{"rows": [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]}'),
        ("a.json", '{"text": ["x", "y"], "label": ["1", "0"]}'),
        ("a.json", '{"text": "x", "label": "1"}\n{"text": "y", "label": "0"}\n'),
        ("a.csv", 'text,label\n"x",1\ny,0\n'),
        ("a.tsv", "text\tlabel\nx\t1\ny\t0\n"),
        ("A.TSV", "text\tlabel\r\nx\t1\r\n\r\ny\t0\r\n"),
        ("a.csv", "\ufefftext,label\r\nx,1\r\ny,0\r\n"),
        ("a.tsv", "\ufefftext\tlabel\nx\t1\ny\t0"),
        ("a.jsonl", '\ufeff{"text": "x", "label": "1"}\r\n{"text": "y", "label": "0"}\r\n'),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    """JSON lines, JSON, CSV and TSV, with or without BOM and carriage returns, hold the same rows."""
    assert rows(write(tmp_path, name, content)) == [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]


ROWS = [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;label\nx;1\ny;0\n"),
        ("a.csv", "text\tlabel\nx\t1\ny\t0\n"),
        ("a.csv", "text|label\nx|1\ny|0\n"),
        ("a.tsv", 'text,label\n"x",1\ny,0\n'),
        ("a.csv", "text, label\nx, 1\ny, 0\n"),
        ("a.csv", "text ,label\nx,1\ny,0\n"),
        ("a.csv", 'text, label\n"x", "1"\n"y", "0"\n'),
        ("a.csv", "text,label\rx,1\ry,0\r"),
        ("a.csv", "text,label\rx,1\ry,0"),
        ("a.csv", "text,label\rx,1\r\ny,0\n"),
        ("a.tsv", "text\tlabel\rx\t1\ry\t0\r"),
        ("a.csv", "text,label\r\r\nx,1\r\r\ny,0\r\r\n"),
        ("a.csv", "\ufeff\ufefftext,\u200blabel\nx,1\ny,0\n"),
        ("a.csv", "text,\u00a0label\nx,1\ny,0\n"),
        ("a.jsonl", '[{"text": "x", "label": "1"},\n {"text": "y", "label": "0"}]\n'),
        ("a.json", '{"text": {"0": "x", "1": "y"}, "label": {"0": "1", "1": "0"}}'),
        ("a.csv.gz", gzip.compress(b"text,label\nx,1\ny,0\n", mtime=0)),
        (
            "a.JSONL.GZ",
            gzip.compress(b'{"text": "x", "label": "1"}\n{"text": "y", "label": "0"}\n', mtime=0),
        ),
    ],
)
def test_what_can_only_be_meant_is_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    """Tables are read whatever stands between fields and ends lines, packed or not."""
    path = write(tmp_path, name, content)
    assert [dict(row) for _, row in read_rows(path, wanted=("text", "label"))] == ROWS


def test_a_list_under_the_suffix_of_lines_has_lines(tmp_path: Path) -> None:
    """Items of a list in a `.jsonl` file are named by the lines in which they begin."""
    path = write(tmp_path, "a.jsonl", '[\n {"text": "x"},\n\n {"text": "y"\n }, {"text": "z"}\n]\n')
    assert list(read_rows(path)) == [(2, {"text": "x"}), (4, {"text": "y"}), (5, {"text": "z"})]


def test_only_wanted_columns_must_be_told_apart(tmp_path: Path) -> None:
    """Columns that nobody wants may have one name or none, as where a spreadsheet ends in empty columns."""
    for name, content in (
        ("a.csv", "text,label,,\nx,1,,\ny,0,,\n"),
        ("a.csv", "id,text,id,label\n1,x,2,1\n2,y,3,0\n"),
    ):
        found = [row for _, row in read_rows(write(tmp_path, name, content), wanted=("text", "label"))]
        assert [{name: row[name] for name in ("text", "label")} for row in found] == ROWS
    twice = write(tmp_path, "a.csv", "text,label,label\nx,1,2\n")
    with pytest.raises(UserError, match="line 1: the column 'label' occurs more than once"):
        list(read_rows(twice, wanted=("text", "label")))


def test_a_name_in_another_form_of_unicode_is_the_same_name(tmp_path: Path) -> None:
    """A column whose letters are written in two characters each is found."""
    path = write(tmp_path, "a.csv", "Gro\u0308\u00dfe,label\nx,1\n")
    assert [row["Größe"] for _, row in read_rows(path, wanted=("Größe", "label"))] == ["x"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "# of May\ntext,label\nx,1\n",
            ["a.csv, line 1, which must name the columns", "the row has '# of May'"],
        ),
        (
            "'text','label'\n'x, z','1'\n",
            ["a.csv, line 1", "'text' is missing", """did you mean "'text'"?"""],
        ),
        ("text:label\nx:1\n", ["a.csv, line 1", "did you mean 'text:label'?"]),
    ],
)
def test_the_first_line_is_looked_at_first(tmp_path: Path, content: str, words: list[str]) -> None:
    """Where the first line does not name the wanted columns, that is said, not what is odd further down."""
    with pytest.raises(UserError) as error:
        list(read_rows(write(tmp_path, "a.csv", content), wanted=("text", "label")))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '["x", "1"]\n["y", "0"]\n', ["a.jsonl, line 1", "this is ['x', '1']"]),
        ("a.jsonl", '[{"text": "x", "label": "1"},\n{"text": "y"', ["a.jsonl: not valid JSON", "line 2"]),
        ("a.json", '{"text": ["x", "y"], "label": ["1"]}', ["a.json", "list of objects"]),
        ("a.json", '{"text": "x", "label": "1"}\n[1]', ["a.json, item 2", "this is [1]"]),
        ("a.csv.gz", gzip.compress(b"text,label\nx,1\n", mtime=0)[:-9], ["a.csv.gz", "cut off or damaged"]),
        ("a.csv.gz", b"\x1f\x8b\x08" + b"x" * 40, ["a.csv.gz", "damaged"]),
        ("a.parquet", b"PAR1" + b"x" * 40 + b"PAR1", ["a.parquet", "not a Parquet file"]),
        ("a.parquet", b"", ["a.parquet", "not a Parquet file"]),
    ],
)
def test_what_is_not_sure_is_refused(
    tmp_path: Path, name: str, content: str | bytes, words: list[str]
) -> None:
    """Lists of values, columns of different lengths and damaged archives are refused with their place."""
    with pytest.raises(UserError) as caught:
        list(read_rows(write(tmp_path, name, content), wanted=("text", "label")))
    for word in words:
        assert word in str(caught.value)


def test_parquet(tmp_path: Path) -> None:
    """Parquet gives the rows as the other kinds do; dates and decimals are text, a missing number is null."""
    table = {
        "text": ["x", None],
        "label": [1, 2],
        "share": [0.5, math.nan],
        "day": [datetime.date(2026, 1, 2), None],
        "price": [decimal.Decimal("1.50"), None],
        "kind": pyarrow.array(["a", "b"]).dictionary_encode(),
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == [
        (1, {"text": "x", "label": 1, "share": 0.5, "day": "2026-01-02", "price": "1.50", "kind": "a"}),
        (2, {"text": None, "label": 2, "share": None, "day": None, "price": None, "kind": "b"}),
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/tickets_train.csv", "tickets_train"),
        ("Tickets 2024 (new).csv.gz", "Tickets-2024-new"),
        ("über.jsonl", "über"),
        (".csv", "csv"),
        ("..", "own-data"),
        ("a\udcff.csv", "a"),
    ],
)
def test_own_data_have_the_name_of_their_file(path: str, name: str) -> None:
    """A task is named after its file, in characters that a file of results can have."""
    assert task_name(path) == name


def test_quotes_are_plain_characters_in_tsv(tmp_path: Path) -> None:
    """A TSV field keeps its quotes, one alone too, and other line separators of Unicode do not end a row."""
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"a "b\t1\n"c\t2\nd\u2028e\u0085f\t3\n')
    assert [row["text"] for row in rows(path)] == ['"a "b', '"c', "d\u2028e\u0085f"]


def test_csv_fields_may_hold_anything_in_quotes(tmp_path: Path) -> None:
    """A CSV field in quotes may hold commas, quotes and line ends, and the number names its first line."""
    path = write(tmp_path, "a.csv", 'text,label\n"a, ""b""\nc",1\nd,2\n')
    assert list(read_rows(path)) == [
        (2, {"text": 'a, "b"\nc', "label": "1"}),
        (4, {"text": "d", "label": "2"}),
    ]


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=5))
def test_csv_and_jsonl_give_back_what_was_written(tmp_path: Path, fields: list[tuple[str, str]]) -> None:
    """What Python's csv and json modules write is read back unchanged, whatever the text."""
    wanted = [{"text": text, "label": label} for text, label in fields]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, ["text", "label"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(wanted)
    assert rows(write(tmp_path, "a.csv", buffer.getvalue())) == wanted
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in wanted)
    assert rows(write(tmp_path, "a.jsonl", lines)) == wanted


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "", ["a.jsonl is empty"]),
        ("a.jsonl", "\n\n", ["a.jsonl is empty"]),
        ("a.json", " ", ["a.json is empty"]),
        ("a.csv", "text,label\n", ["a.csv is empty"]),
        ("a.tsv", "text\tlabel\n", ["a.tsv is empty"]),
        ("a.jsonl", '{"a": 1}\n{"a": \n', ["a.jsonl, line 2", "not valid JSON"]),
        ("a.jsonl", '{"a": 1}\n[1]\n', ["a.jsonl, line 2", "this is [1]"]),
        ("a.jsonl", '{"a": "\\ud83d"}\n', ["a.jsonl, line 1", "surrogate"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl, line 1", "recursion depth"]),
        ("a.json", '[{"a": 1},\n {"a": ]', ["a.json", "line 2"]),
        ("a.json", '[{"a": 1}, 5]', ["a.json, item 2", "this is 5"]),
        ("a.json", '{"a": 1}', ["a.json", "list of objects", ".jsonl"]),
        ("a.csv", "text,label\nx,1\ny\n", ["a.csv, line 3", "1 field ", "'label' is missing"]),
        ("a.csv", "text,label\nx,1,2\n", ["a.csv, line 2", "3 fields"]),
        ("a.csv", 'text,label\n"x,1\ny,2\n', ["a.csv, line 2", "not valid CSV"]),
        ("a.csv", "text,text\nx,1\n", ["a.csv, line 1", "'text' occurs more than once"]),
        ("a.tsv", "text\tlabel\nx\t1\ny", ["a.tsv, line 3", "'label' is missing", "cut off"]),
        ("a.tsv", "text\tlabel\tlabel\nx\t1\t2\n", ["a.tsv, line 1", "'label' occurs more than once"]),
        ("a.csv", b"text,label\nx\0,1\n", ["a.csv, line 2", "NUL"]),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', ["a.jsonl, line 2", "byte 8", "UTF-8"]),
        ("a.tsv", "text\tlabel\n".encode("utf-16"), ["a.tsv, line 1", "byte 1 is not UTF-8", "UTF-16"]),
        ("a.xlsx", b"PK", ["a.xlsx", "CSV"]),
        ("a.doc", b"", ["a.doc", ".jsonl, .json, .csv, .tsv and .parquet"]),
    ],
)
def test_a_damaged_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, words: list[str]
) -> None:
    """Every kind of damage is one sentence that names file and line and what is wrong."""
    with pytest.raises(UserError) as caught:
        rows(write(tmp_path, name, content))
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    """A file that is not there, and a folder in its place, are each named."""
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        rows(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"folder\.csv is a folder"):
        rows(tmp_path / "folder.csv")


def test_long_fields_are_read(tmp_path: Path) -> None:
    """A CSV field longer than the csv module's default limit is read whole."""
    assert len(str(rows(write(tmp_path, "a.csv", "text\n" + "x" * 200_000 + "\n"))[0]["text"])) == 200_000

"""Files of rows: what is understood, and how a damaged file is reported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.errors import UserError
from lowland.tasks.rows import read_rows


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
        ("a.jsonl", '{"a": 1}\n[1]\n', ["a.jsonl, line 2", "list"]),
        ("a.jsonl", '{"a": NaN}\n', ["a.jsonl, line 1", "NaN"]),
        ("a.jsonl", '{"a": "\\ud83d"}\n', ["a.jsonl, line 1", "surrogate"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl, line 1", "too deep"]),
        ("a.json", '[{"a": 1},\n {"a": ]', ["a.json", "line 2"]),
        ("a.json", '[{"a": 1}, 5]', ["a.json, item 2", "a number"]),
        ("a.json", '{"a": 1}', ["a.json", "list of objects", ".jsonl"]),
        ("a.csv", "text,label\nx,1\ny\n", ["a.csv, line 3", "1 field ", "'label' is missing"]),
        ("a.csv", "text,label\nx,1,2\n", ["a.csv, line 2", "3 fields"]),
        ("a.csv", 'text,label\n"x,1\ny,2\n', ["a.csv, line 2", "not valid CSV"]),
        ("a.csv", "text,text\nx,1\n", ["a.csv, line 1", "'text' occurs more than once"]),
        ("a.tsv", "text\tlabel\nx\t1\ny", ["a.tsv, line 3", "'label' is missing", "cut off"]),
        ("a.tsv", "text\tlabel\tlabel\nx\t1\t2\n", ["a.tsv, line 1", "'label' occurs more than once"]),
        ("a.csv", b"text,label\nx\0,1\n", ["a.csv, line 2", "NUL"]),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', ["a.jsonl, line 2", "byte 8", "UTF-8"]),
        ("a.tsv", "text\tlabel\n".encode("utf-16"), ["a.tsv is UTF-16"]),
        ("a.xlsx", b"PK", ["a.xlsx", "CSV"]),
        ("a.doc", b"", ["a.doc", ".jsonl, .json, .csv and .tsv"]),
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

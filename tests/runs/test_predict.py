"""New rows for a trained model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from lowland.runs.predict import InputWriter
from lowland.tasks.custom import CustomTask

ROWS = [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = b"text,label\nx,1\ny,0\n"
PARQUET = pyarrow.BufferOutputStream()
pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), PARQUET)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("a.tsv", CSV.replace(b",", b"\t")),
        ("a.parquet", PARQUET.getvalue().to_pybytes()),
        ("a.csv", CSV.replace(b",", b";")),
        ("a.json", LINES),
    ],
)
def test_predict_reads_what_training_reads(tmp_path: Path, name: str, content: bytes) -> None:
    """Every kind of file that training takes gives `predict` the same inputs."""
    path = tmp_path / name
    path.write_bytes(content)
    writer = InputWriter("model", None, "{text}", None)
    trained = CustomTask("mine", None, path, "{text}", "{label}").load()
    assert [row.inputs for row in writer.read(path)] == [(e.inputs,) for e in trained.evaluation["mine"]]

"""New rows for a trained model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from lowland.errors import UserError
from lowland.runs.predict import FILE, InputWriter, read_usage
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


@pytest.mark.parametrize(
    "text", ["", "{}", "3", "[1]", '["tasks"]', '{"tasks": 5}', '{"tasks": [1]}', "[" * 100_000, "\x00"]
)
def test_a_damaged_description_of_a_model_is_told(tmp_path: Path, text: str) -> None:
    """What is not what was written beside a model is told in one sentence, with the file."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=rf"{FILE}: not the file that lowland wrote beside the model"):
        read_usage(tmp_path)


def test_a_description_of_a_later_version_is_read(tmp_path: Path) -> None:
    """What a later version says besides is passed over."""
    (tmp_path / FILE).write_text('{"tasks": ["glue/rte"], "colour": "blue"}')
    usage = read_usage(tmp_path)
    assert usage is not None and usage.tasks == ("glue/rte",)

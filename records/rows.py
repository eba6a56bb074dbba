"""Cuts the official files of tasks into training and test rows of one's own, as PROTOCOL.md has them.

    python -m records.rows DATA OUT

All labelled rows of a task, each once, are shuffled (seed 0): the first are for training, the next
for the test.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

TRAIN, TEST = 1300, 2000

SOURCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sst2": (("glue_sst2/train.tsv",), ("sentence", "label")),
    "qnli": (("glue_qnli/dev.tsv",), ("question", "sentence", "label")),
    "mnli": (("glue_mnli/dev_matched.jsonl",), ("premise", "hypothesis", "label")),
    "rte": (("glue_rte/train.tsv", "glue_rte/dev.tsv"), ("sentence1", "sentence2", "label")),
    "boolq": (("superglue_boolq/val.jsonl",), ("question", "passage", "label")),
}
"""Task -> its files below DATA, and the columns: one text or two, and the label."""

SST2_LABELS = {"0": "negative", "1": "positive"}


def read(file: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Reads columns of an official file; GLUE's TSV knows no quotes."""
    lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines]
    else:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [tuple(str(row[column]).strip() for column in columns) for row in rows]


def cut(task: str, data: Path) -> dict[str, list[tuple[str, ...]]]:
    """Gives the training and test rows of a task. Phrases of under four words of SST-2 are left out."""
    files, columns = SOURCES[task]
    rows = [row for file in files for row in read(data / file, columns)]
    if task == "sst2":
        rows = [(text, SST2_LABELS[label]) for text, label in rows if len(text.split()) >= 4]
    rows = list(dict.fromkeys(rows))
    random.Random(0).shuffle(rows)
    return {"train": rows[:TRAIN], "test": rows[TRAIN : TRAIN + TEST]}


def main(data: Path, out: Path) -> None:
    """Writes `<task>-train.csv` and `<task>-test.csv`, with columns `text`, or `a` and `b`, and `label`."""
    out.mkdir(parents=True, exist_ok=True)
    for task in SOURCES:
        for part, rows in cut(task, data).items():
            head = ("text", "label") if len(rows[0]) == 2 else ("a", "b", "label")
            with (out / f"{task}-{part}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([head, *rows])
            print(f"{task} {part}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

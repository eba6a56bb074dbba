"""GLUE, SuperGLUE, closed-book question answering and TyDiQA, made from the table `benchmarks.toml`.

Source: t5/data/glue_utils.py and t5/data/preprocessors.py of T5 0.9.4, rows as in the official downloads or
as TensorFlow Datasets reads them. Keys of a benchmark hold for its tasks, which may have their own:

- `kind`: how rows are written and scored (`KINDS`; else by class words), with what that kind reads.
- `folder` or `folders`, and `prefixes` of further names: folders of the official files.
- `train`, `validation`: patterns of their names; `sizes`: published numbers of both, 0 where there is none.
- `sets`: evaluation sets by name, where there are several or it is not the validation set.
- `hub`: name on the Hugging Face hub, with its configuration where that is not the task's name.
- `columns`, `drop_short_rows`: see `lowland.tasks.base.DataSet`. `sample`: a made-up row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

from lowland.tasks.base import DataSet, Split, Task
from lowland.tasks.classification import classification, similarity
from lowland.tasks.closed_book import closed_book
from lowland.tasks.passages import multirc, record
from lowland.tasks.tydiqa import tydiqa
from lowland.tasks.winograd import dpr, wsc
from lowland.tasks.wnli import wnli

KINDS: Mapping[str, Callable[..., Task]] = {
    "classes": classification,
    "dpr": dpr,
    "multirc": multirc,
    "question": closed_book,
    "record": record,
    "similarity": similarity,
    "tydiqa": tydiqa,
    "wnli": wnli,
    "wsc": wsc,
}


def tasks() -> Iterator[Task]:
    """Makes the tasks of the table, in its order."""
    text = (resources.files("lowland.tasks") / "benchmarks.toml").read_text(encoding="utf-8")
    for benchmark, table in tomllib.loads(text).items():
        for key, own in table["tasks"].items():
            entry = {"prefix": key, **table, **own}
            name = entry.get("name", f"{benchmark}/{key}")
            make = KINDS[entry.get("kind", "classes")]
            yield make(
                entry,
                name=name,
                description=entry["about"],
                data=_data(name, key, entry),
                sample_row=entry["sample"],
            )


def _data(name: str, key: str, entry: Mapping[str, Any]) -> DataSet:
    train, *others = entry.get("sizes", [0])
    sets = entry.get("sets", {"": {"size": others[0] if others else None}})
    hub = entry["hub"]
    evaluation = {}
    for part, split in sets.items():
        where = split.get("hub", "validation")
        evaluation[f"{name}/{part}" if part else name] = Split(
            patterns=tuple(split.get("files") or entry["validation"]),
            hub=where,
            published=split["size"],
            kind="test" if where == "test" else "validation",
        )
    return DataSet(
        folders=tuple(entry.get("folders") or [entry["folder"], *(f"{p}{key}" for p in entry["prefixes"])]),
        train=Split(patterns=tuple(entry["train"]), hub="train", published=train) if train else None,
        evaluation=evaluation,
        hub=(hub, key) if isinstance(hub, str) else (hub[0], hub[1] if len(hub) > 1 else None),
        columns=tuple(entry["columns"]) if "columns" in entry else None,
        drop_short_rows=entry.get("drop_short_rows", False),
    )

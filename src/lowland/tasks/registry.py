"""The tasks by name, made from the table `benchmarks.toml`, and mixtures that are trained together."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lowland.errors import UserError, unknown_name
from lowland.tasks.base import DataSet, Split, Task
from lowland.tasks.classification import classification, similarity
from lowland.tasks.facts import facts_task
from lowland.tasks.passages import multirc, record
from lowland.tasks.questions import closed_book, tydiqa
from lowland.tasks.rows import SUFFIXES, kind_of
from lowland.tasks.winograd import dpr, wnli, wsc

KINDS: Mapping[str, Callable[..., Task]] = {
    "classes": classification,
    "dpr": dpr,
    "facts": facts_task,
    "multirc": multirc,
    "question": closed_book,
    "record": record,
    "similarity": similarity,
    "tydiqa": tydiqa,
    "wnli": wnli,
    "wsc": wsc,
}


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("lowland.tasks") / "benchmarks.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _mixtures() -> Mapping[str, Sequence[str]]:
    return {name: benchmark["mixture"] for name, benchmark in _table().items()}


@cache
def _tasks() -> Mapping[str, Task]:
    tasks = {}
    for benchmark, table in _table().items():
        for key, own in table["tasks"].items():
            entry = {"prefix": key, **table, **own}
            name = entry.get("name", f"{benchmark}/{key}")
            tasks[name] = KINDS[entry.get("kind", "classes")](
                entry,
                name=name,
                description=entry["about"],
                data=_data(name, key, entry) if "hub" in entry else None,
                sample_row=entry.get("sample"),
            )
    return tasks


def _data(name: str, key: str, entry: Mapping[str, Any]) -> DataSet:
    train, *others = entry.get("sizes", [0])
    sets = entry.get("sets", {"": {"size": others[0] if others else None}})
    hub = entry["hub"]
    evaluation = {}
    for part, split in sets.items():
        evaluation[f"{name}/{part}" if part else name] = Split(
            patterns=tuple(split.get("files") or entry["validation"]),
            hub=split.get("hub", "validation"),
            published=split["size"],
        )
    return DataSet(
        folders=tuple(entry.get("folders") or [entry["folder"], *(f"{p}{key}" for p in entry["prefixes"])]),
        train=Split(patterns=tuple(entry["train"]), hub="train", published=train) if train else None,
        evaluation=evaluation,
        revision=entry.get("revision"),
        hub=(hub, key) if isinstance(hub, str) else (hub[0], hub[1] if len(hub) > 1 else None),
        columns=tuple(entry["columns"]) if "columns" in entry else None,
        drop_short_rows=entry.get("drop_short_rows", False),
    )


def get_task(name: str) -> Task:
    """Looks up a task; an unknown name is refused with the nearest ones."""
    if name not in _tasks():
        raise unknown_name("task", name, _tasks())
    return _tasks()[name]


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in the order in which they are listed."""
    return tuple(_tasks())


def mixture_names() -> tuple[str, ...]:
    """Names of all mixtures, in the order in which they are listed."""
    return tuple(_mixtures())


def resolve(names: Sequence[str]) -> list[Task]:
    """Looks up tasks and mixtures, each task once; an unknown name is refused with the nearest ones.

    DPR is evaluated only where it is named by itself: T5 trains on it beside WSC.
    """
    tasks: dict[str, Task] = {}
    for name in names:
        if name in _mixtures():
            for member in map(get_task, _mixtures()[name]):
                member = replace(member, evaluated=False) if member.name == "dpr" else member
                tasks.setdefault(member.name, member)
        elif name in _tasks():
            tasks[name] = get_task(name)
        elif kind_of(Path(name)) in SUFFIXES:
            raise UserError(f"{name!r} is no task. Give files with --train and --test (train= in Python).")
        else:
            raise unknown_name("task or mixture", name, (*_mixtures(), *_tasks()))
    return list(tasks.values())


def rates(counts: Mapping[str, int], cap: int | None = None, temperature: float = 1.0) -> dict[str, float]:
    """Computes how often each task is drawn, by its number of training examples: rates that sum to 1.

    Source: `rate_num_examples` of the T5 library: min(count, cap) ** (1 / temperature). A temperature of 1
    draws in proportion to the numbers, as the paper does.
    """
    if not any(counts.values()):
        raise UserError(
            f"There is nothing to train on: {', '.join(counts) or 'such tasks'} have no examples."
        )
    limited = {name: count if cap is None else min(count, cap) for name, count in counts.items()}
    # Divided by the largest first, so that a small temperature does not overflow.
    largest = max(limited.values())
    weights = {name: (count / largest) ** (1 / temperature) for name, count in limited.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}

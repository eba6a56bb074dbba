"""Closed-book questions about well-known facts, carried inside the package: what a first run trains on.

A fact is one record of a table in `facts_data` seen through one relation, for example France -> capital ->
Paris. It is asked in several phrasings; those marked `evaluation` are never trained on. `docs/facts.md`
tells how the facts were chosen and checked.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import resources
from itertools import groupby
from typing import Any, NamedTuple

from lowland.tasks.base import Row, Task
from lowland.tasks.questions import closed_book

_TABLES = {"facts/elements": "elements.tsv", "facts/states": "states.tsv"}
"""Of the other tasks it is `countries.tsv`."""


class Fact(NamedTuple):
    """One record seen through one relation: the columns of subject and answers; the first is the target."""

    relation: tuple[str, str]
    subject: str
    answers: tuple[str, ...]
    train: list[str]
    evaluation: list[str]


@cache
def read_table(name: str) -> tuple[Mapping[str, str], ...]:
    """Reads a tab-separated table of `facts_data`: one record for each line, column -> cell."""
    text = (resources.files("lowland.tasks") / "facts_data" / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def facts(name: str) -> list[Fact]:
    """Lists the facts of the task `name`, relation by relation; empty cells hold no fact."""
    found = []
    lines = [line for line in read_table("phrasings.tsv") if line["task"] == name]
    # Neighbouring lines with the same columns are phrasings of one relation.
    for relation, group in groupby(lines, lambda line: (_subject(line["phrasing"]), line["answer"])):
        phrasings = list(group)
        for record in read_table(_TABLES.get(name, "countries.tsv")):
            subject, *_ = record[relation[0]].split("|")
            if subject and record[relation[1]]:
                asked: dict[str, list[str]] = {"train": [], "evaluation": []}
                for line in phrasings:
                    asked[line["split"]].append(line["phrasing"].replace(f"{{{relation[0]}}}", subject))
                answers = tuple(record[relation[1]].split("|"))
                found.append(Fact(relation, subject, answers, **asked))
    return found


def _subject(phrasing: str) -> str:
    return phrasing.partition("{")[2].partition("}")[0]


def rows(name: str) -> tuple[Sequence[Row], Sequence[Row]]:
    """Writes the training and the evaluation rows of the task `name`.

    Training asks every fact in every training phrasing, in rounds: each round asks every fact once, and fact
    `i` starts with phrasing `i`, so that a round uses all phrasings alike. Evaluation asks every second fact
    once, in the evaluation phrasings in turn.
    """
    known = facts(name)
    rounds = max(len(fact.train) for fact in known)
    training = [
        {"question": fact.train[(position + turn) % rounds], "answers": fact.answers}
        for turn in range(rounds)
        for position, fact in enumerate(known)
    ]
    evaluation = [
        {"question": fact.evaluation[position % len(fact.evaluation)], "answers": fact.answers}
        for position, fact in enumerate(known[::2])
    ]
    return training, evaluation


def facts_task(entry: Mapping[str, Any], *, name: str, **common: Any) -> Task:
    """Makes a task of facts, whose wrong answers are those of other questions."""
    return closed_book(entry, name=name, carried=partial(rows, name), exchanges=True, **common)

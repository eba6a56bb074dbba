"""Closed-book questions about well-known facts, carried inside the package.

The tasks need no download: they are what a first run without a network trains on. A fact is one record of a
table in `facts_data` seen through one relation, for example France -> capital -> Paris. It is asked in
several phrasings. Those marked `train` become training examples; those marked `evaluation` are never trained
on, so that an evaluation set asks for known facts in unseen words.

How the facts were chosen and checked is told in `docs/recipes.md`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib import resources
from itertools import groupby
from typing import NamedTuple

from lowland.tasks.base import Row, Task
from lowland.tasks.closed_book import closed_book

_TABLES = {
    "facts/capitals": ("countries.tsv", "Capitals of the world's states"),
    "facts/currencies": ("countries.tsv", "Currencies of the world's states"),
    "facts/languages": ("countries.tsv", "Official languages of the world's states"),
    "facts/continents": ("countries.tsv", "Continents of the world's states"),
    "facts/elements": ("elements.tsv", "Symbols and atomic numbers of the chemical elements"),
    "facts/states": ("states.tsv", "Capitals and postal abbreviations of the states of the USA"),
}


class Fact(NamedTuple):
    """One record seen through one relation: the columns of subject and answers; the first is the target."""

    relation: tuple[str, str]
    subject: str
    answers: tuple[str, ...]
    training: tuple[str, ...]
    evaluation: tuple[str, ...]


@cache
def read_table(name: str) -> tuple[Mapping[str, str], ...]:
    """Reads a tab-separated table of `facts_data`: one record for each line, column -> cell."""
    text = (resources.files("lowland.tasks") / "facts_data" / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def facts(name: str) -> list[Fact]:
    """Lists the facts of the task `name`, relation by relation; empty cells hold no fact."""
    found = []
    lines = [
        (line["split"], line["phrasing"], line["answer"])
        for line in read_table("phrasings.tsv")
        if line["task"] == name
    ]
    # Neighbouring lines with the same columns are phrasings of one relation.
    for relation, group in groupby(lines, lambda line: ("".join(re.findall(r"{(\w+)}", line[1])), line[2])):
        phrasings = list(group)
        subject, answer = relation
        for record in read_table(_TABLES[name][0]):
            if record[subject] and record[answer]:
                known = record[subject].split("|")[0]
                training, evaluation = (
                    tuple(
                        text.replace(f"{{{subject}}}", known) for split, text, _ in phrasings if split == of
                    )
                    for of in ("train", "evaluation")
                )
                found.append(Fact(relation, known, tuple(record[answer].split("|")), training, evaluation))
    return found


def rows(name: str) -> tuple[Sequence[Row], Sequence[Row]]:
    """Writes the training and the evaluation rows of the task `name`.

    Training asks every fact in every training phrasing, in rounds: each round asks every fact once, and fact
    `i` starts with phrasing `i`, so that a round uses all phrasings alike. The first quarter of the rows
    therefore holds every fact once, and the rest says the same in other words. Evaluation asks every second
    fact once, in the evaluation phrasings in turn.
    """
    known = facts(name)
    rounds = max(len(fact.training) for fact in known)
    training = [
        {"question": fact.training[(position + turn) % rounds], "answers": fact.answers}
        for turn in range(rounds)
        for position, fact in enumerate(known)
    ]
    evaluation = [
        {"question": fact.evaluation[position % len(fact.evaluation)], "answers": fact.answers}
        for position, fact in enumerate(known[::2])
    ]
    return training, evaluation


TASKS: tuple[Task, ...] = tuple(
    closed_book(
        {"prefix": name.removeprefix("facts/")}, name=name, description=about, carried=partial(rows, name)
    )
    for name, (_, about) in _TABLES.items()
)

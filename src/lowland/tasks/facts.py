"""Closed-book questions about well-known facts, carried inside the package.

The tasks need no download: they are what a first run without a network trains on. A fact is one record of a
table in `facts_data` seen through one relation, for example France -> capital -> Paris. It is asked in
several phrasings. Those marked `train` become training examples; those marked `evaluation` are never trained
on, so that an evaluation set asks for known facts in unseen words.

How the facts were chosen and checked is told in `docs/facts.md`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby

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


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One record seen through one relation.

    Attributes:
        relation: The columns of the subject and of the answers.
        subject: What it is asked about, as written in the questions.
        answers: All answers that count as right; the first is the target.
        training: Questions for training.
        evaluation: Questions for evaluation only.
    """

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
    table, _ = _TABLES[name]
    lines = [line for line in read_table("phrasings.tsv") if line["task"] == name]
    found = []
    # Neighbouring lines with the same columns are phrasings of one relation.
    for relation, group in groupby(lines, lambda line: (_subject(line["phrasing"]), line["answer"])):
        phrasings = [(line["split"], line["phrasing"]) for line in group]
        subject, answer = relation
        for record in read_table(table):
            if record[subject] and record[answer]:
                known = record[subject].split("|")[0]
                asked = [(split, phrasing.replace(f"{{{subject}}}", known)) for split, phrasing in phrasings]
                found.append(
                    Fact(
                        relation=relation,
                        subject=known,
                        answers=tuple(record[answer].split("|")),
                        training=tuple(question for split, question in asked if split == "train"),
                        evaluation=tuple(question for split, question in asked if split == "evaluation"),
                    )
                )
    return found


def _subject(phrasing: str) -> str:
    return "".join(re.findall(r"{(\w+)}", phrasing))


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


def _task(name: str) -> Task:
    task = closed_book(name, _TABLES[name][1], prefix=name.removeprefix("facts/"))
    task.carried = lambda: rows(name)
    return task


TASKS: tuple[Task, ...] = tuple(map(_task, _TABLES))

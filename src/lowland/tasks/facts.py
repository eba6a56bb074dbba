"""Closed-book questions about well-known facts, carried inside the package.

The tasks need no download: they are what a first run without a network trains
on. A fact is one record of a table in `facts_data` seen through one relation,
for example France -> capital -> Paris. It is asked in several phrasings. Those
marked `train` become training examples; those marked `evaluation` are never
trained on, so that an evaluation set asks for known facts in unseen words.

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

from lowland.metrics.qa import squad
from lowland.tasks import fields
from lowland.tasks.base import Example, Row, Source, Task, TaskData

_TABLES = {
    "facts/capitals": ("countries.tsv", "Capitals of the world's states"),
    "facts/currencies": ("countries.tsv", "Currencies of the world's states"),
    "facts/languages": ("countries.tsv", "Official languages of the world's states"),
    "facts/continents": ("countries.tsv", "Continents of the world's states"),
    "facts/elements": ("elements.tsv", "Symbols and atomic numbers of the chemical elements"),
    "facts/states": ("states.tsv", "Capitals and postal abbreviations of the states of the USA"),
}

FACTS_TASKS: tuple[str, ...] = tuple(_TABLES)
"""Names of the tasks, in the order in which the mixture `facts` holds them."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What is asked of every record of a table, and in which words.

    Attributes:
        subject: The column whose name stands in braces in the phrasings.
        answer: The column that holds the answers.
        training: Phrasings for training.
        evaluation: Phrasings for evaluation only.
    """

    subject: str
    answer: str
    training: tuple[str, ...]
    evaluation: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One record seen through one relation.

    Attributes:
        relation: What is asked.
        subject: What it is asked about, as written in the question.
        answers: All answers that count as right; the first is the target.
    """

    relation: Relation
    subject: str
    answers: tuple[str, ...]

    def row(self, phrasing: str) -> dict[str, object]:
        """Writes the fact as a row of a question-answering data set."""
        question = phrasing.replace("{" + self.relation.subject + "}", self.subject)
        return {"question": question, "answers": self.answers}


@cache
def read_table(name: str) -> tuple[Mapping[str, str], ...]:
    """Reads a tab-separated table of `facts_data`: one record for each line, column -> cell."""
    text = (resources.files("lowland.tasks") / "facts_data" / name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def relations(name: str) -> tuple[Relation, ...]:
    """Reads the relations of the task `name`; neighbouring lines with the same columns form one."""

    def columns(line: Mapping[str, str]) -> tuple[str, str]:
        return "".join(re.findall(r"{(\w+)}", line["phrasing"])), line["answer"]

    lines = [line for line in read_table("phrasings.tsv") if line["task"] == name]
    found = []
    for (subject, answer), group in groupby(lines, key=columns):
        phrasings = [(line["split"], line["phrasing"]) for line in group]
        training = tuple(phrasing for split, phrasing in phrasings if split == "train")
        evaluation = tuple(phrasing for split, phrasing in phrasings if split == "evaluation")
        found.append(Relation(subject=subject, answer=answer, training=training, evaluation=evaluation))
    return tuple(found)


def facts(name: str) -> list[Fact]:
    """Lists the facts of the task `name`, relation by relation; empty cells hold no fact."""
    table, _ = _TABLES[name]
    return [
        Fact(
            relation=relation,
            subject=record[relation.subject].split("|")[0],
            answers=tuple(record[relation.answer].split("|")),
        )
        for relation in relations(name)
        for record in read_table(table)
        if record[relation.subject] and record[relation.answer]
    ]


def training_rows(known: Sequence[Fact]) -> list[dict[str, object]]:
    """Writes every fact in every training phrasing, in rounds.

    Each round asks every fact once, and fact `i` starts with phrasing `i` of its
    relation, so that a round uses all phrasings alike. The first quarter of the
    rows therefore holds every fact once, and the rest says the same in other words.
    """
    rounds = max(len(fact.relation.training) for fact in known)
    return [
        fact.row(fact.relation.training[(position + turn) % rounds])
        for turn in range(rounds)
        for position, fact in enumerate(known)
    ]


def evaluation_rows(known: Sequence[Fact]) -> list[dict[str, object]]:
    """Writes every second fact once, in the evaluation phrasings in turn: evaluation stays quick."""
    return [
        fact.row(fact.relation.evaluation[position % len(fact.relation.evaluation)])
        for position, fact in enumerate(known[::2])
    ]


class FactsTask(Task):
    """Closed-book questions from one table that the package carries.

    Inputs are written as in T5's closed-book tasks: `capitals question: what is the capital of France?`
    """

    metrics = ("em", "f1")
    input_length = 38
    target_length = 18

    def __init__(self, name: str) -> None:
        self.name = name
        self.description = _TABLES[name][1]

    def examples(self, row: Row, split: str = "train") -> list[Example]:
        """Writes a row with `question` and `answers`; the first answer is the target.

        For the split `test`, a row needs no answers.
        """
        inputs = f"{self.name.removeprefix('facts/')} question: {fields.text(row, 'question')}"
        if split == "test" and "answers" not in row:
            return [Example(inputs=inputs, targets=fields.UNLABELLED)]
        answers = fields.texts(fields.find(row, "answers"), "answers")
        return [Example(inputs=inputs, targets=answers[0], answers=answers)]

    def score(
        self,
        targets: Sequence[str] | Sequence[Sequence[str]],
        predictions: Sequence[str],
        ids: Sequence[Mapping[str, int]] | None = None,
        answers: Sequence[Sequence[str]] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Scores by SQuAD's exact match and F1, the best over all right answers."""
        right = targets if answers is None else answers
        return squad([[one] if isinstance(one, str) else one for one in right], predictions)

    def exchangeable(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Lists the answers that any question has: a wrong one is another question's."""
        return tuple(sorted({example.targets for example in examples}))

    def load(self, source: Source) -> TaskData:
        """Makes all examples; `source` is not needed, since the package carries the tables."""
        known = facts(self.name)
        return TaskData(
            train=[example for row in training_rows(known) for example in self.examples(row)],
            evaluation={
                self.name: [
                    example for row in evaluation_rows(known) for example in self.examples(row, "validation")
                ]
            },
        )


def build(name: str) -> FactsTask:
    """Builds the task `name`, one of `FACTS_TASKS`."""
    return FactsTask(name)

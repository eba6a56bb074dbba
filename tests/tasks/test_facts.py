"""The facts that the package carries, and the questions made from them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

import pytest

from lowland.metrics import normalize_squad
from lowland.tasks import facts
from lowland.tasks.base import Example, Source, TaskData
from lowland.tasks.registry import get_task, resolve

# Typed apart from the tables, so that a slip in either shows.
SYMBOLS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr
Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir
Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl
Mc Lv Ts Og
"""
ABBREVIATIONS = """
AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR
PA RI SC SD TN TX UT VT VA WA WV WI WY
"""

NAMES = [task.name for task in resolve(["facts"])]
TABLES = ("countries.tsv", "elements.tsv", "states.tsv", "phrasings.tsv")


def load(name: str) -> TaskData:
    """Makes the examples of a task."""
    return get_task(name).load(Source())


def column(table: str, name: str) -> list[str]:
    """Lists the cells of one column."""
    return [record[name] for record in facts.read_table(table)]


def country(name: str) -> dict[str, str]:
    """Finds the record of a state."""
    return next(dict(record) for record in facts.read_table("countries.tsv") if record["country"] == name)


def every_example() -> Iterator[Example]:
    """Yields the examples of all tasks and splits."""
    for name in NAMES:
        data = load(name)
        yield from data.train
        yield from data.evaluation[name]


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_tidy(table: str) -> None:
    """Every line has all columns, and no cell has outer spaces, empty alternatives or decomposed accents."""
    for record in facts.read_table(table):
        assert None not in record and None not in record.values(), record
        for cell in record.values():
            alternatives = cell.split("|") if cell else []
            assert all(part and part == part.strip() for part in alternatives), record
            assert cell == unicodedata.normalize("NFC", cell)


def test_elements_are_the_118_in_order() -> None:
    """The elements are numbered 1 to 118, carry the IUPAC symbols, and no name or symbol comes twice."""
    assert column("elements.tsv", "number") == [str(number) for number in range(1, 119)]
    assert column("elements.tsv", "symbol") == SYMBOLS.split()
    names = [name for cell in column("elements.tsv", "element") for name in cell.split("|")]
    assert len(set(names)) == len(names)
    # A model that folds case must be able to tell them apart too.
    assert len({symbol.lower() for symbol in SYMBOLS.split()}) == 118


def test_states_are_the_50() -> None:
    """The table holds the 50 states by name with their postal abbreviations and 50 different capitals."""
    names = column("states.tsv", "state")
    assert names == sorted(names)
    assert column("states.tsv", "abbreviation") == ABBREVIATIONS.split()
    assert len(set(names)) == len(set(column("states.tsv", "capital"))) == 50


def test_countries_are_195_with_different_capitals() -> None:
    """The table holds 195 states in alphabetical order, and no two share a name or a capital."""
    cells = column("countries.tsv", "country")
    assert len(cells) == 195
    assert cells == sorted(cells, key=lambda cell: cell.removeprefix("the "))
    for name in ("country", "capital"):
        parts = [part for cell in column("countries.tsv", name) if cell for part in cell.split("|")]
        assert [part for part, count in Counter(parts).items() if count > 1] == []


def test_continents_are_six() -> None:
    """Every state lies on one of six continents; only the continent of Australia has a second name."""
    targets = {cell.split("|")[0] for cell in column("countries.tsv", "continent")}
    assert targets == {"Africa", "Asia", "Europe", "North America", "South America", "Oceania"}
    others = {part for cell in column("countries.tsv", "continent") for part in cell.split("|")[1:]}
    assert others - targets == {"Australia"}


def test_what_is_left_out_says_why() -> None:
    """A state for which some fact is left out has a note."""
    for record in facts.read_table("countries.tsv"):
        left_out = [name for name, cell in record.items() if not cell and name != "note"]
        assert not left_out or record["note"], record


def test_a_bare_unit_names_one_currency() -> None:
    """No accepted name stands for two currencies, except `CFA franc`, as both of them are called."""
    meanings: dict[str, set[str]] = {}
    for cell in filter(None, column("countries.tsv", "currency")):
        names = cell.split("|")
        if (
            names[0] == "Panamanian balboa"
        ):  # its other answers are those of the dollar, legal tender there too
            names = [name for name in names if "dollar" not in name]
        for name in names:
            meanings.setdefault(normalize_squad(name), set()).add(names[0])
    assert {name for name, currencies in meanings.items() if len(currencies) > 1} == {"cfa franc"}


def test_one_currency_is_written_in_one_way() -> None:
    """States that share a currency accept the same names for it."""
    cells: dict[str, set[str]] = {}
    for cell in filter(None, column("countries.tsv", "currency")):
        cells.setdefault(cell.split("|")[0], set()).add(cell)
    # Tuvalu's own coins are at par with the Australian dollar and are called so.
    assert {name for name, written in cells.items() if len(written) > 1} == {"Australian dollar"}


@pytest.mark.parametrize(
    ("name", "column_name", "answers"),
    [
        ("Bulgaria", "currency", "euro"),
        ("Croatia", "currency", "euro"),
        ("Burundi", "capital", "Gitega"),
        ("Kazakhstan", "capital", "Astana"),
        ("Indonesia", "capital", "Jakarta"),
        ("Israel", "capital", ""),
        ("Zimbabwe", "currency", ""),
        ("Mali", "language", ""),
    ],
)
def test_facts_are_those_of_2026(name: str, column_name: str, answers: str) -> None:
    """Facts that changed lately have the state of 2026, and those in dispute or in change are left out."""
    assert country(name)[column_name] == answers


def test_every_phrasing_is_used_in_its_own_split() -> None:
    """Every relation has four phrasings for training and two for evaluation, and each asks some question."""
    lines = facts.read_table("phrasings.tsv")
    relations: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        subject = line["phrasing"].partition("{")[2].partition("}")[0]
        relations.setdefault((line["task"], subject, line["answer"]), []).append(line["split"])
        assert line["phrasing"].count("{") == line["phrasing"].count("}") == 1
    assert all(Counter(splits) == {"train": 4, "evaluation": 2} for splits in relations.values())
    assert len({(line["task"], line["phrasing"]) for line in lines}) == len(lines)
    assert {
        (name, *relation) for name in NAMES for relation in {fact.relation for fact in facts.facts(name)}
    } == set(relations)
    for name in NAMES:
        data = load(name)
        written = {"train": data.train, "evaluation": data.evaluation[name]}
        for line in lines:
            if line["task"] == name:
                before, after = line["phrasing"].split("{")[0], line["phrasing"].split("}")[1]
                prefix = f"{name.removeprefix('facts/')} question: {before}"
                examples = written[line["split"]]
                assert any(e.inputs.startswith(prefix) and e.inputs.endswith(after) for e in examples), line


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_asks_known_facts_in_unseen_words(name: str) -> None:
    """No evaluation input is trained on, and evaluation asks every second of the facts that training asks."""
    data = load(name)
    evaluation = data.evaluation[name]
    assert {e.inputs.lower() for e in data.train}.isdisjoint(e.inputs.lower() for e in evaluation)
    for fact, example in zip(facts.facts(name)[::2], evaluation, strict=True):
        assert example.answers == fact.answers
        assert fact.subject in example.inputs
        questions = {f"{name.removeprefix('facts/')} question: {question}" for question in fact.train}
        assert questions <= {e.inputs for e in data.train if e.answers == fact.answers}


@pytest.mark.parametrize("name", NAMES)
def test_each_quarter_of_training_asks_every_fact_once(name: str) -> None:
    """Training runs in four rounds; each asks every fact once, in a phrasing new for the fact, and uses the
    phrasings of a relation equally often, give or take one.
    """
    known, train = facts.facts(name), load(name).train
    assert len(train) == 4 * len(known)
    used: dict[tuple[str, str], Counter[int]] = {}
    for position, fact in enumerate(known):
        asked = [train[turn * len(known) + position] for turn in range(4)]
        assert {example.answers for example in asked} == {fact.answers}
        assert len({example.inputs for example in asked}) == 4
        assert all(fact.subject in example.inputs for example in asked)
        first = fact.train.index(asked[0].inputs.split(" question: ")[1])
        used.setdefault(fact.relation, Counter())[first] += 1
    for counts in used.values():
        assert len(counts) == 4 and max(counts.values()) - min(counts.values()) <= 1


def test_a_question_has_one_set_of_answers() -> None:
    """The same input, case folded, never has two different sets of right answers, over all tasks together."""
    answers: dict[str, tuple[str, ...] | None] = {}
    for example in every_example():
        assert answers.setdefault(example.inputs.lower(), example.answers) == example.answers


def test_answers_are_ascii_first_and_distinct() -> None:
    """Inputs and targets are ASCII, targets are first answers, and answers differ even when normalised."""
    for example in every_example():
        assert example.inputs.isascii() and example.targets.isascii(), example
        assert "{" not in example.inputs and "|" not in example.inputs + example.targets
        assert example.answers is not None and example.answers[0] == example.targets
        forms = [normalize_squad(answer) for answer in example.answers]
        assert all(forms) and len(set(forms)) == len(forms), example


def test_sizes() -> None:
    """There are 1,626 facts, of which 814 are asked in evaluation, shared out as documented."""
    assert sum(len(facts.facts(name)) for name in NAMES) == 1626
    assert {name: len(load(name).evaluation[name]) for name in NAMES} == {
        "facts/capitals": 187,
        "facts/currencies": 97,
        "facts/languages": 96,
        "facts/continents": 98,
        "facts/elements": 236,
        "facts/states": 100,
    }


def test_inputs_are_written_as_closed_book_questions() -> None:
    """The first example of capitals is the one that the documentation shows."""
    assert load("facts/capitals").train[0] == Example(
        inputs="capitals question: what is the capital of Afghanistan?", targets="Kabul", answers=("Kabul",)
    )


def test_score_takes_any_right_answer() -> None:
    """Any right answer counts in full, whatever its case and articles, and a wrong one does not."""
    task = get_task("facts/capitals")
    row = {
        "question": "which country has Prague as its capital?",
        "answers": ("Czechia", "the Czech Republic"),
    }
    examples = task.examples(row)
    assert task.evaluate(examples, ["czech republic"]) == {"em": 100.0, "f1": 100.0}
    assert task.evaluate(examples, ["the Czechia."]) == {"em": 100.0, "f1": 100.0}
    assert task.evaluate(examples, ["slovakia"]) == {"em": 0.0, "f1": 0.0}
    # One of the answer's two words: precision 1, recall 1/2, F1 2/3.
    partial = task.evaluate(examples, ["czech"])
    assert partial["em"] == 0.0
    assert partial["f1"] == pytest.approx(200 / 3)

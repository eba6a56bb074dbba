"""The rules by which tasks write rows and score predictions, on short made-up rows."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.scoring import score

from lowland.errors import UserError
from lowland.tasks.base import UNLABELLED
from lowland.tasks.registry import get_task, task_names

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "golden" / "texts.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['task']}-{case['split']}")
def test_rows_become_texts(case: dict[str, Any]) -> None:
    """A row becomes exactly the examples that T5's rules give."""
    examples = get_task(case["task"]).examples(case["row"], case["split"])
    written = []
    for example in examples:
        parts: dict[str, Any] = {"inputs": example.inputs, "targets": example.targets}
        if example.answers is not None:
            parts["answers"] = list(example.answers)
        if example.ids is not None:
            parts["ids"] = dict(example.ids)
        if example.label is not None:
            parts["label"] = example.label
        written.append(parts)
    assert written == case["examples"]


def test_every_task_has_such_a_case() -> None:
    """No registered benchmark is without a case among the made-up rows."""
    benchmarks = {name for name in task_names() if not name.startswith("facts/")}
    assert {case["task"] for case in CASES} == benchmarks


@pytest.mark.parametrize("name", [name for name in task_names() if not name.startswith("facts/")])
def test_sample_rows_show_the_task(name: str) -> None:
    """Every benchmark has a sample row with a label; its targets score full marks in the named metrics."""
    task = get_task(name)
    assert task.sample_row is not None
    examples = task.examples(task.sample_row, "validation")
    assert examples
    assert all(example.targets not in ("", UNLABELLED) for example in examples)
    scores = task.evaluate(examples, [example.targets for example in examples])
    assert tuple(scores) == task.metrics
    for key in {"accuracy", "em", "exact_match"} & set(scores):
        assert scores[key] == 100


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("glue/sst2", {"sentence": "x", "label": "2"}, ["label", "negative, positive"]),
        ("glue/sst2", {"sentence": "x", "label": [1]}, ["label", "[1]"]),
        ("glue/sst2", {"sentance": "x", "label": "1"}, ["'sentence' is missing", "did you mean 'sentance'"]),
        ("glue/sst2", {"sentence": 5, "label": "1"}, ["sentence", "must be text", "it is 5"]),
        ("glue/rte", {"sentence1": "a", "sentence2": "b", "label": True}, ["label", "is True"]),
        ("glue/stsb", {"sentence1": "a", "sentence2": "b", "score": "6"}, ["score", "from 0 to 5"]),
        ("glue/stsb", {"sentence1": "a", "sentence2": "b", "score": "high"}, ["score", "from 0 to 5"]),
        ("glue/wnli", {"sentence1": "No one.", "sentence2": "No.", "label": 0}, ["pronouns"]),
        ("superglue/boolq", {"passage": "p", "label": True}, ["'question' is missing"]),
        ("superglue/multirc", {"passage": "p", "idx": 1}, ["passage", "must be an object"]),
        ("superglue/record", {"idx": 1, "passage": {"text": "t"}, "qas": []}, ["'entities' is missing"]),
        (
            "superglue/wsc",
            {
                "text": "She ran.",
                "target": {"span1_text": "x", "span1_index": 0, "span2_text": "She", "span2_index": 0},
                "label": 1,
            },
            ["span2_index"],
        ),
        (
            "superglue/wsc",
            {
                "text": "Ann saw her dog.",
                "target": {"span1_text": "Ann", "span1_index": 0, "span2_text": "she", "span2_index": 2},
                "label": 1,
            },
            ["'she'", "'her'"],
        ),
        ("dpr", {"block": "Only a sentence.\nhe\n"}, ["four lines"]),
        ("cbqa/natural_questions", {"question": "q", "answer": []}, ["no right answer"]),
        ("cbqa/trivia_qa", {"question": "q", "answer": {"aliases": ["x"]}}, ["'value' is missing"]),
        (
            "tydiqa/goldp",
            {"id": "english-1", "question": "q", "context": "c", "answers": []},
            ["no right answer"],
        ),
    ],
)
def test_a_malformed_row_is_a_users_mistake(name: str, row: dict[str, Any], words: list[str]) -> None:
    """A row that does not fit is refused in a sentence that names the field."""
    with pytest.raises(UserError) as caught:
        get_task(name).examples(row, "train")
    for word in words:
        assert word in str(caught.value)


def test_an_invalid_prediction_is_always_wrong() -> None:
    """A prediction that is no class word counts as wrong for either class, in accuracy and in F1."""
    task = get_task("glue/mrpc")
    targets = ["equivalent", "not_equivalent", "equivalent", "equivalent"]
    scores = score(task, targets, ["Equivalent", "", "equivalent", "equivalent"])
    # One false positive, one false negative, two true positives.
    assert scores == {"f1": pytest.approx(100 * 4 / 6), "accuracy": 50.0}


def test_correlations_of_one_item_are_not_defined() -> None:
    """A single STS-B item, or a constant side, gives nan and neither an error nor a warning."""
    task = get_task("glue/stsb")
    assert all(math.isnan(value) for value in score(task, ["1.0"], ["3.0"]).values())
    assert all(math.isnan(value) for value in score(task, ["1.0", "2.0"], ["3.0", "3.0"]).values())


def test_record_counts_the_first_row_of_a_query() -> None:
    """ReCoRD scores one prediction a query, that of its first row, against all answers."""
    task = get_task("superglue/record")
    ids = [{"passage": 1, "query": 1}, {"passage": 1, "query": 1}, {"passage": 1, "query": 2}]
    answers = [["Al", "Bo"], ["Al", "Bo"], ["Cy"]]
    scores = score(task, ["Al", "Bo", "Cy"], ["bo", "wrong", "the Cy."], ids=ids, answers=answers)
    assert scores == {"em": 100.0, "f1": 100.0}


def test_multirc_groups_by_question() -> None:
    """MultiRC's exact match asks for every answer of a question, wherever its rows stand."""
    task = get_task("superglue/multirc")
    ids = [{"paragraph": 0, "question": question, "answer": 0} for question in (1, 2, 1, 2)]
    scores = score(task, ["True", "False", "False", "True"], ["True", "False", "False", "maybe"], ids=ids)
    assert scores == {"f1": pytest.approx(100 * 2 / 3), "exact_match": 50.0}


def test_wsc_scores_whether_the_candidate_was_named() -> None:
    """WSC counts a prediction that names a candidate as the claim that it is the referent."""
    task = get_task("superglue/wsc")
    targets = ["the red ball", "Bob's hat", "Bob", "Ann"]
    assert score(task, targets, ["ball", "Bob", "Tom", ""], labels=[1, 0, 0, 0]) == {"accuracy": 75.0}


def test_lengths_and_targets_are_checked() -> None:
    """Too few predictions, unknown targets and no examples are errors, never a wrong number."""
    task = get_task("glue/sst2")
    with pytest.raises(ValueError, match="2 targets and 1 predictions"):
        score(task, ["negative", "positive"], ["negative"])
    with pytest.raises(ValueError, match="none of the classes"):
        score(task, ["<unk>"], ["positive"])
    with pytest.raises(ValueError, match="no examples"):
        task.evaluate([], [])


def test_an_unknown_task_names_the_nearest() -> None:
    """A misspelt task is answered with the names that are nearest."""
    with pytest.raises(UserError, match=r"Unknown task 'glue/sst-2'.*glue/sst2"):
        get_task("glue/sst-2")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=4,
)


def damaged(row: Any, path: int, value: Any) -> Any:
    """Puts a value in the place of one node of a nested row, chosen by a number."""
    children = list(row.items() if isinstance(row, dict) else enumerate(row) if isinstance(row, list) else ())
    if not children:
        return value
    key, child = children[path % len(children)]
    rest = path // len(children)
    copy = row.copy()
    copy[key] = damaged(child, rest // 2, value) if rest % 2 else value
    return copy


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CASES), st.integers(0, 10**6), JSON_VALUES)
def test_no_damaged_row_ends_in_a_traceback(case: dict[str, Any], path: int, value: Any) -> None:
    """Whatever JSON value stands in a field's place, the row is written, dropped or refused."""
    with contextlib.suppress(UserError):
        get_task(case["task"]).examples(damaged(case["row"], path, value), case["split"])

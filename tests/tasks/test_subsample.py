"""Subsamples, held-out examples and mixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.scoring import score

from lowland.errors import UserError
from lowland.tasks.base import Example, Source
from lowland.tasks.registry import get_task, mixture_names, rates, resolve, task_names
from lowland.tasks.subsample import hold_out, subsample


def examples(size: int) -> list[Example]:
    """Examples with different inputs and three targets."""
    return [Example(inputs=str(number), targets=str(number % 3)) for number in range(size)]


FRACTION = st.floats(0.001, 1.0)


@given(st.integers(1, 200), FRACTION, FRACTION, st.integers(0, 2**32))
def test_subsamples_of_a_seed_are_nested(size: int, one: float, other: float, seed: int) -> None:
    """A smaller fraction lies within a larger one of the same seed, in file order, with the rounded size."""
    small, large = sorted((one, other))
    everything = examples(size)
    part, whole = subsample(everything, small, seed), subsample(everything, large, seed)
    assert len(part) == max(1, round(small * size))
    assert set(map(id, part)) <= set(map(id, whole))
    assert part == sorted(part, key=lambda example: int(example.inputs))


def test_a_seed_means_the_same_subsample_for_good() -> None:
    """The draw of a seed is fixed: these positions must never change; another seed draws others."""
    assert [int(example.inputs) for example in subsample(examples(100), 0.05, seed=0)] == [35, 40, 52, 75, 97]
    assert subsample(examples(100), 0.05, seed=1) != subsample(examples(100), 0.05, seed=0)
    assert subsample(examples(7), 1.0, seed=3) == examples(7)
    assert subsample([], 0.5, seed=0) == []


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60), st.floats(0.05, 0.9), st.integers(0, 99))
def test_held_out_inputs_are_not_trained_on(inputs: list[int], fraction: float, seed: int) -> None:
    """Both sides together are all examples in order, share no input, and neither is empty."""
    everything = [Example(inputs=str(number), targets="x") for number in inputs]
    if len(set(inputs)) < 2:
        with pytest.raises(UserError, match="all have the same input"):
            hold_out(everything, fraction, seed)
        return
    rest, held = hold_out(everything, fraction, seed)
    assert rest and held
    assert not {example.inputs for example in rest} & {example.inputs for example in held}
    assert sorted(map(id, [*rest, *held])) == sorted(map(id, everything))


def test_as_many_are_held_out_as_asked_for() -> None:
    """With different inputs the count is exact, and a fraction is of all examples."""
    assert len(hold_out(examples(50), 7, seed=0)[1]) == 7
    assert len(hold_out(examples(50), 0.1, seed=0)[1]) == 5
    assert hold_out(examples(50), 7, seed=0) == hold_out(examples(50), 7, seed=0)
    assert hold_out(examples(50), 7, seed=0) != hold_out(examples(50), 7, seed=1)


def test_answers_of_a_question_stay_together() -> None:
    """MultiRC's answers of one question stay on one side, and so do equal inputs of different questions."""
    everything = [
        Example(
            inputs=f"{number}",
            targets="True",
            ids={"paragraph": 0, "question": number // 4, "answer": number},
        )
        for number in range(40)
    ]
    everything.append(Example(inputs="0", targets="True", ids={"paragraph": 9, "question": 10, "answer": 0}))
    for seed in range(20):
        rest, held = hold_out(everything, 9, seed)
        questions = [{example.ids["question"] for example in side if example.ids} for side in (rest, held)]
        assert not questions[0] & questions[1]
        assert not {example.inputs for example in rest} & {example.inputs for example in held}


def test_mixtures_hold_t5s_tasks() -> None:
    """The mixtures hold the tasks that T5 trains on together; WNLI and the diagnostics are in none."""
    held = {name: [task.name for task in resolve([name])] for name in mixture_names()}
    assert set(held) == {"glue", "superglue", "cbqa", "tydiqa", "facts"}
    assert len(held["glue"]) == 8
    assert len(held["superglue"]) == 9
    assert held["tydiqa"] == ["tydiqa/goldp"]
    assert len(held["cbqa"]) == 3
    assert set(held["facts"]) == {name for name in task_names() if name.startswith("facts/")}
    in_none = set(task_names()) - {name for names in held.values() for name in names}
    assert in_none == {"glue/wnli", "superglue/axb", "superglue/axg"}


def test_dpr_is_evaluated_only_when_named(tmp_path: Path) -> None:
    """In the mixture superglue DPR is trained on and not evaluated; named by itself it is."""
    block = "He saw Bob when he left.\nhe\nBob,Tom\nTom\n"
    for name in ("train.c.txt", "test.c.txt"):
        (tmp_path / name).write_text(block, encoding="utf-8")
    mixed = resolve(["superglue"])[0]
    assert not mixed.evaluated
    data = mixed.load(Source(data_dir=tmp_path))
    assert (len(data.train), dict(data.evaluation)) == (1, {})
    assert score(mixed, ["x"], ["x"]) == {"accuracy": 100.0}
    named = {task.name: task for task in resolve(["superglue", "dpr"])}["dpr"]
    assert named is get_task("dpr")


def test_names_resolve_in_order_and_once() -> None:
    """Tasks and mixtures mix, each task once and in the order of the names; a misspelt name is answered."""
    names = [task.name for task in resolve(["superglue/rte", "tydiqa", "superglue/rte"])]
    assert names == ["superglue/rte", "tydiqa/goldp"]
    with pytest.raises(UserError, match=r"Unknown task or mixture 'superglu'.*superglue"):
        resolve(["superglu"])


COUNTS = {"a": 100, "b": 300, "c": 0}


def test_rates_are_proportional_to_the_numbers() -> None:
    """Rates sum to 1 in proportion to the numbers, those above the cap counting as the cap."""
    assert rates(COUNTS) == {"a": 0.25, "b": 0.75, "c": 0.0}
    assert rates(COUNTS, cap=100) == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert rates({"a": 100, "b": 400}, temperature=2.0) == {
        "a": pytest.approx(1 / 3),
        "b": pytest.approx(2 / 3),
    }
    assert rates(COUNTS, temperature=1e-3)["b"] == pytest.approx(1.0)


@pytest.mark.parametrize("counts", [{}, {"a": 0}])
def test_nothing_to_draw_from_is_refused(counts: dict[str, int]) -> None:
    """Tasks without training examples, such as those for evaluation only, are refused in a sentence."""
    with pytest.raises(UserError, match="nothing to train on"):
        rates(counts)

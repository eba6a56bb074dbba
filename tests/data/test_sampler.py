"""The stream of examples: by epochs, by rates, and exactly resumable."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.data import MixtureSampler
from lowland.errors import UserError

mixtures = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.tuples(st.integers(1, 9), st.floats(0.01, 100)),
    min_size=1,
    max_size=4,
)


def sampler(mixture: dict[str, tuple[int, float]], batch_size: int = 4, seed: int = 0) -> MixtureSampler:
    """A sampler of task -> (size, rate)."""
    sizes = {task: size for task, (size, _) in mixture.items()}
    rates = {task: rate for task, (_, rate) in mixture.items()}
    return MixtureSampler(sizes, rates, batch_size, seed)


def stream(source: MixtureSampler, batches: int) -> list[list[tuple[str, int]]]:
    """The next batches."""
    return list(itertools.islice(source, batches))


def test_single_task_is_epoch_shuffling() -> None:
    """One task gives every example once per epoch, in another order each time."""
    drawn = [index for batch in stream(sampler({"a": (10, 3.0)}, batch_size=5), 6) for _, index in batch]
    epochs = [drawn[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=50)
@given(mixture=mixtures, batch_size=st.integers(1, 7), seed=st.integers(0, 2**32), before=st.integers(0, 20))
def test_resumes_exactly(
    mixture: dict[str, tuple[int, float]], batch_size: int, seed: int, before: int
) -> None:
    """A stream interrupted anywhere and put back from JSON goes on as if nothing had happened."""
    whole = sampler(mixture, batch_size, seed)
    stream(whole, before)
    state = json.loads(json.dumps(whole.state_dict()))
    resumed = sampler(mixture, batch_size, seed)
    resumed.load_state_dict(state)
    assert stream(resumed, 15) == stream(whole, 15)
    assert resumed.counts == whole.counts
    assert resumed.state_dict() == whole.state_dict()


@given(mixture=mixtures, batches=st.integers(0, 20))
def test_each_task_goes_by_epochs(mixture: dict[str, tuple[int, float]], batches: int) -> None:
    """In a mixture no example of a task comes again before all others of its task came."""
    source = sampler(mixture)
    drawn = [pair for batch in stream(source, batches) for pair in batch]
    assert source.counts == {task: sum(name == task for name, _ in drawn) for task in mixture}
    for task, (size, _) in mixture.items():
        times = Counter(index for name, index in drawn if name == task)
        least = min(times.get(index, 0) for index in range(size))
        assert set(times) <= set(range(size))
        assert max(times.values(), default=0) - least <= 1


def test_tasks_come_by_their_rates() -> None:
    """20,000 draws meet rates of 1 : 3 : 0 within four standard deviations of a binomial (1.2 %)."""
    source = sampler({"a": (50, 1), "b": (7, 3), "never": (5, 0)}, batch_size=100)
    stream(source, 200)
    assert source.counts["a"] / 20_000 == pytest.approx(0.25, abs=0.0123)
    assert source.counts["never"] == 0
    assert sum(source.counts.values()) == 20_000


def test_order_of_the_tasks_does_not_matter() -> None:
    """The stream depends on the names of the tasks, not on their order in a dictionary."""
    one = sampler({"a": (5, 1), "b": (6, 2)})
    other = sampler({"b": (6, 2), "a": (5, 1)})
    assert stream(one, 10) == stream(other, 10)


def test_only_the_ratio_of_rates_matters() -> None:
    """Rates of 1 : 2 and 50 : 100 give the same stream."""
    assert stream(sampler({"a": (5, 1), "b": (6, 2)}), 10) == stream(
        sampler({"a": (5, 50), "b": (6, 100)}), 10
    )


def test_seeds_give_different_streams() -> None:
    """Another seed gives another order."""
    streams = [stream(sampler({"a": (100, 1)}, seed=seed), 5) for seed in range(5)]
    assert len({str(batches) for batches in streams}) == 5


def test_tasks_of_one_size_have_orders_of_their_own() -> None:
    """Two tasks of the same size are not shuffled alike."""
    drawn = [pair for batch in stream(sampler({"a": (40, 1), "b": (40, 1)}), 60) for pair in batch]
    orders = [[index for name, index in drawn if name == task][:40] for task in "ab"]
    assert orders[0] != orders[1]


def test_stream_is_pinned() -> None:
    """The first batches of a fixed stream never change, so that runs repeat across releases."""
    assert stream(sampler({"a": (5, 1), "b": (3, 2)}, batch_size=3, seed=7), 3) == [
        [("b", 2), ("b", 1), ("b", 0)],
        [("b", 2), ("a", 3), ("a", 0)],
        [("a", 2), ("b", 0), ("b", 1)],
    ]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("sizes", sampler({"a": (6, 1), "b": (5, 1)})),
        ("rates", sampler({"a": (5, 1), "b": (5, 2)})),
        ("batch_size", sampler({"a": (5, 1), "b": (5, 1)}, batch_size=3)),
        ("seed", sampler({"a": (5, 1), "b": (5, 1)}, seed=1)),
    ],
)
def test_other_settings_cannot_resume(name: str, other: MixtureSampler) -> None:
    """A state of other data or settings is refused, and the message says which differ."""
    with pytest.raises(UserError, match=f"its {name} was"):
        sampler({"a": (5, 1), "b": (5, 1)}).load_state_dict(other.state_dict())

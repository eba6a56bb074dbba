"""Span corruption: T5's own values, and what must hold for any text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.errors import UserError
from lowland.pretraining.spans import corrupt, count_noise, draw_noise, span_lengths


def _rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_lengths_of_the_paper() -> None:
    """An input of 512 tokens takes 568 tokens of raw text and 114 of target, as in T5."""
    lengths = span_lengths(512)
    assert (lengths.tokens, lengths.inputs, lengths.targets) == (568, 512, 114)


def test_lengths_are_those_of_t5(shared: Path) -> None:
    """For every input length, density and mean span that T5's library was asked, the lengths are its own."""
    for row in _rows(shared / "golden/derived/span_lengths.jsonl"):
        lengths = span_lengths(
            row["inputs_length"],  # type: ignore[arg-type]
            row["noise_density"],  # type: ignore[arg-type]
            row["mean_noise_span_length"],  # type: ignore[arg-type]
        )
        assert (lengths.tokens, lengths.targets) == (row["tokens_length"], row["targets_length"]), row


def test_corrupted_texts_are_those_of_t5(shared: Path) -> None:
    """For every mask that T5's library drew, the noise counts, input and target are its own."""
    for row in _rows(shared / "golden/derived/span_denoise.jsonl"):
        tokens, mask = np.array(row["tokens"]), np.array(row["mask"], dtype=bool)
        inputs, targets = corrupt(tokens, mask, 32099)
        assert inputs.tolist() == row["inputs_no_eos"]
        assert targets.tolist() == row["targets_no_eos"]
        if "num_noise_tokens" in row and len(tokens) > 1:
            expected = (row["num_noise_tokens"], row["num_noise_spans"])
            assert count_noise(len(tokens), 0.15, 3.0) == expected


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # busy machines
@given(
    length=st.integers(2, 300),
    density=st.floats(0.01, 0.99),
    mean_span=st.floats(1.0, 20.0),
    seed=st.integers(0, 2**32),
)
def test_masks(length: int, density: float, mean_span: float, seed: int) -> None:
    """Every mask has the promised noise in the promised spans, starts with text and ends with noise."""
    noise, spans = count_noise(length, density, mean_span)
    masks = draw_noise(3, length, density, mean_span, np.random.default_rng(seed))
    assert masks.shape == (3, length)
    for mask in masks:
        assert mask.sum() == noise
        assert not mask[0] and mask[-1]
        assert (np.diff(mask.astype(int)) == 1).sum() == min(spans, length - noise)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_nothing_is_lost(seed: int) -> None:
    """Input and target together hold every token once, in order, at the places their sentinels say."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, 1000, 141)
    (mask,) = draw_noise(1, 141, 0.15, 3.0, generator)
    inputs, targets = corrupt(tokens, mask, 2099)
    spans: dict[int, list[int]] = {}
    for token in targets.tolist():
        if token >= 1500:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    text = [word for token in inputs.tolist() for word in (spans[token] if token >= 1500 else [token])]
    assert text == tokens.tolist()
    assert list(spans) == list(range(2099, 2099 - len(spans), -1))


def test_every_way_to_cut_is_as_likely() -> None:
    """The lengths of two spans of four noise tokens, (1, 3), (2, 2) and (3, 1), come equally often."""
    generator = np.random.default_rng(0)
    masks = draw_noise(6000, 16, 0.25, 2.0, generator)
    first = [int(np.flatnonzero(np.diff(mask[mask.argmax() :].astype(int)) == -1)[0]) + 1 for mask in masks]
    counts = np.bincount(first, minlength=4)[1:]
    # Five standard deviations of a binomial count of 6000 draws at 1/3.
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(6000 * (1 / 3) * (2 / 3))


def test_too_short_an_input_is_refused() -> None:
    """An input with no room for two tokens of text is refused in a sentence."""
    with pytest.raises(UserError, match="too short for span corruption"):
        span_lengths(2)

"""T5's span corruption: spans of a text are cut out, and the model is asked for them.

thank you <S0> me to your party <S1> week   ->   <S0> for inviting <S1> last
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SpanLengths:
    """The lengths of span corruption, which are the same for every piece of text.

    Attributes:
        tokens: Tokens of the raw text.
        inputs: Tokens of the corrupted text, EOS included.
        targets: Tokens of what was cut out, EOS included.
    """

    tokens: int
    inputs: int
    targets: int


def count_noise(length: int, density: float, mean_span: float) -> tuple[int, int]:
    """Counts the noise tokens of a text and the spans they are dealt to.

    Args:
        length: Tokens of the text; fewer than 2 count as 2.
        density: Share of the tokens that are noise.
        mean_span: Mean tokens of a noise span.

    Returns:
        Noise tokens, at least 1 and at most all but one; and spans, at least 1.

    Source:
        T5's `random_spans_noise_mask`, which rounds halves to even, in float32.
    """
    length = max(length, 2)
    noise = int(np.round(np.float32(length) * np.float32(density)))
    noise = min(max(noise, 1), length - 1)
    return noise, max(int(np.round(np.float32(noise) / np.float32(mean_span))), 1)


def span_lengths(inputs: int, density: float = 0.15, mean_span: float = 3.0) -> SpanLengths:
    """Finds how much raw text fills an input.

    Args:
        inputs: Most tokens of an input, EOS included.
        density: Share of the raw tokens that are noise.
        mean_span: Mean tokens of a noise span.

    Returns:
        The longest raw text whose corrupted form fits, and the lengths that follow from it.

    Raises:
        UserError: If no text of two tokens fits.

    Source:
        T5's `random_spans_helper`: 512 gives 568 raw tokens and 114 target tokens.
    """

    def corrupted(tokens: int) -> tuple[int, int]:
        noise = round(tokens * density)
        spans = round(noise / mean_span)
        return tokens - noise + spans + 1, noise + spans + 1

    tokens = inputs - 1
    if tokens < 2:
        raise UserError(f"An input of {inputs} tokens is too short for span corruption; give 3 at least.")
    while corrupted(tokens + 1)[0] <= inputs:
        tokens += 1
    length, targets = corrupted(tokens)
    if density == 0.5 and targets > length:  # as T5 does it, whose targets may then not be the longer part
        tokens, targets = tokens - 1, targets - 1
    return SpanLengths(tokens=tokens, inputs=length, targets=targets)


def draw_noise(
    count: int, length: int, density: float, mean_span: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draws noise masks.

    Each begins with text that is kept and ends with noise; the lengths of the spans, and of what is
    kept between them, are drawn uniformly from all ways to cut them.

    Args:
        count: How many masks.
        length: Tokens of a text.
        density: Share of the tokens that are noise.
        mean_span: Mean tokens of a noise span.
        generator: The source of chance.

    Returns:
        True where a token is noise. `# (count, length)`

    Source:
        T5's `random_spans_noise_mask`.
    """
    longer = max(length, 2)
    noise, spans = count_noise(length, density, mean_span)
    spans = min(spans, longer - noise)  # as many pieces are kept
    ends = np.empty((count, 2 * spans), dtype=np.int64)
    ends[:, 0::2] = _segments(count, longer - noise, spans, generator)
    ends[:, 1::2] = _segments(count, noise, spans, generator)
    ends = ends.cumsum(axis=1)
    position = np.arange(longer)
    number = (position[None, :, None] >= ends[:, None, :]).sum(axis=2)  # of the segment a token is in
    masks: npt.NDArray[np.bool_] = (number % 2 == 1)[:, :length]
    return masks


def _segments(count: int, items: int, segments: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Cuts `items` into non-empty segments, uniformly; gives their lengths `# (count, segments)`."""
    cuts = generator.random((count, items - 1)).argsort(axis=1)[:, : segments - 1] + 1
    edges = np.concatenate(
        [np.zeros((count, 1), dtype=np.int64), np.sort(cuts, axis=1), np.full((count, 1), items)], axis=1
    )
    lengths: npt.NDArray[np.int64] = np.diff(edges, axis=1)
    return lengths


def corrupt(
    tokens: npt.NDArray[np.int64], noise: npt.NDArray[np.bool_], first_sentinel: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Replaces the noise spans of a text by sentinels, and in the target what lies between them.

    Args:
        tokens: The text. `# (tokens,)`
        noise: Which tokens are noise. `# (tokens,)`
        first_sentinel: Token id of the first sentinel; they count downwards.

    Returns:
        Input and target, both without EOS.

    Source:
        T5's `noise_span_to_unique_sentinel` and `nonnoise_span_to_unique_sentinel`.
    """
    return _with_sentinels(tokens, noise, first_sentinel), _with_sentinels(tokens, ~noise, first_sentinel)


def _with_sentinels(
    tokens: npt.NDArray[np.int64], replaced: npt.NDArray[np.bool_], first_sentinel: int
) -> npt.NDArray[np.int64]:
    """Puts one sentinel in the place of every run of replaced tokens."""
    begins = replaced & ~np.concatenate([[False], replaced[:-1]])
    sentinels = first_sentinel + 1 - np.cumsum(begins)
    kept: npt.NDArray[np.int64] = np.where(begins, sentinels, tokens)[begins | ~replaced]
    return kept

"""T5's span corruption: spans of a text are cut out, and the model is asked for them.

thank you <S0> me to your party <S1> week   ->   <S0> for inviting <S1> last
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lowland.errors import UserError

DENSITY, MEAN_SPAN = 0.15, 3.0
"""T5's share of noise, and its mean tokens of a noise span."""

Ids = npt.NDArray[np.int64]


class SpanLengths(NamedTuple):
    """Tokens of a piece of raw text, of its input and of its target, EOS included in these two."""

    tokens: int
    inputs: int
    targets: int


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Gives the ids of the sentinels, the first one first; none if they do not count downwards."""
    known = tokenizer.get_vocab()
    ids: list[int] = []
    while (name := f"<extra_id_{len(ids)}>") in known:
        ids.append(int(known[name]))
    return ids if all(id == ids[0] - place for place, id in enumerate(ids)) else []


def count_noise(length: int, density: float, mean_span: float) -> tuple[int, int]:
    """Counts the noise tokens of a text of at least two tokens, and the spans they are dealt to.

    Source:
        T5's `random_spans_noise_mask`, which rounds halves to even, in float32.
    """
    noise = int(np.round(np.float32(length) * np.float32(density)))
    noise = min(max(noise, 1), length - 1)
    return noise, max(int(np.round(np.float32(noise) / np.float32(mean_span))), 1)


def span_lengths(inputs: int, density: float = DENSITY, mean_span: float = MEAN_SPAN) -> SpanLengths:
    """Finds the longest raw text whose corrupted form has at most `inputs` tokens, EOS included.

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
    return SpanLengths(tokens, length, targets)


def draw_noise(
    count: int, length: int, density: float, mean_span: float, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draws noise masks `# (count, length)` for texts of at least two tokens.

    Each begins with text that is kept and ends with noise; the lengths of the spans, and of what is
    kept between them, are drawn uniformly from all ways to cut them.

    Source:
        T5's `random_spans_noise_mask`.
    """
    noise, spans = count_noise(length, density, mean_span)
    spans = min(spans, length - noise)  # as many pieces are kept
    ends = np.empty((count, 2 * spans), dtype=np.int64)
    ends[:, 0::2] = _segments(count, length - noise, spans, generator)
    ends[:, 1::2] = _segments(count, noise, spans, generator)
    ends = ends.cumsum(axis=1)
    segment = (np.arange(length)[None, :, None] >= ends[:, None, :]).sum(axis=2)  # that a token is in
    masks: npt.NDArray[np.bool_] = segment % 2 == 1
    return masks


def _segments(count: int, items: int, segments: int, generator: np.random.Generator) -> Ids:
    """Cuts `items` into non-empty segments, uniformly; gives their lengths `# (count, segments)`."""
    cuts = generator.random((count, items - 1)).argsort(axis=1)[:, : segments - 1] + 1
    edges = np.pad(np.sort(cuts, axis=1), ((0, 0), (1, 1)), constant_values=((0, 0), (0, items)))
    lengths: Ids = np.diff(edges, axis=1)
    return lengths


def corrupt(tokens: Ids, noise: npt.NDArray[np.bool_], first_sentinel: int) -> tuple[Ids, Ids]:
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


def _with_sentinels(tokens: Ids, replaced: npt.NDArray[np.bool_], first_sentinel: int) -> Ids:
    """Puts one sentinel in the place of every run of replaced tokens."""
    begins = replaced & ~np.concatenate([[False], replaced[:-1]])
    sentinels = first_sentinel + 1 - np.cumsum(begins)
    kept: Ids = np.where(begins, sentinels, tokens)[begins | ~replaced]
    return kept


class SpanCorruption:
    """Corrupts pieces of text that are all of one length, `lengths.tokens`.

    Args:
        tokenizer: A tokenizer with sentinels and EOS.
        input_length: Tokens of an input, EOS included.

    Raises:
        UserError: If the tokenizer has fewer sentinels than an input has spans.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, input_length: int) -> None:
        self.lengths = span_lengths(input_length)
        sentinels = sentinel_ids(tokenizer)
        spans = (self.lengths.inputs + self.lengths.targets - self.lengths.tokens - 2) // 2
        if spans > len(sentinels):
            raise UserError(
                f"Inputs of {input_length} tokens have {spans} spans cut out, but the tokenizer has only "
                f"{len(sentinels)} sentinels <extra_id_0> ...; give a smaller --input-length."
            )
        self._first_sentinel, self._eos = sentinels[0], int(tokenizer.eos_token_id)

    def __call__(self, pieces: Ids, generator: np.random.Generator) -> dict[str, Tensor]:
        """Corrupts pieces `# (batch, tokens)`; gives a batch as training takes it, without padding."""
        noise = draw_noise(len(pieces), pieces.shape[1], DENSITY, MEAN_SPAN, generator)
        pairs = [
            corrupt(piece, mask, self._first_sentinel) for piece, mask in zip(pieces, noise, strict=True)
        ]
        inputs, targets = (
            torch.from_numpy(np.stack([np.append(ids, self._eos) for ids in side]))
            for side in zip(*pairs, strict=True)
        )
        return {"input_ids": inputs, "attention_mask": torch.ones_like(inputs), "labels": targets}

"""Endless batches of corrupted text, each drawn by its place in the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lowland.errors import UserError
from lowland.pretraining.corpus import Corpus
from lowland.pretraining.spans import corrupt, draw_noise, span_lengths


class SpanCorruption:
    """Cuts documents into pieces of one length and corrupts them.

    Args:
        sentinels: Ids of the sentinels, counting downwards.
        eos: Id of the end of a text.
        input_length: Tokens of an input, EOS included.
        density: Share of the tokens that are noise.
        mean_span: Mean tokens of a noise span.

    Attributes:
        lengths: Of raw text, inputs and targets.
    """

    def __init__(
        self, sentinels: Sequence[int], eos: int, *, input_length: int, density: float, mean_span: float
    ) -> None:
        self.lengths = span_lengths(input_length, density, mean_span)
        spans = self.lengths.inputs + self.lengths.targets - self.lengths.tokens - 2
        if spans // 2 > len(sentinels):
            raise UserError(
                f"Inputs of {input_length} tokens have {spans // 2} spans cut out, but the tokenizer has "
                f"only {len(sentinels)} sentinels; give a smaller --input-length or --noise-density."
            )
        self._first_sentinel, self._eos = sentinels[0], eos
        self._density, self._mean_span = density, mean_span

    def __call__(self, pieces: npt.NDArray[np.int64], generator: np.random.Generator) -> dict[str, Tensor]:
        """Corrupts pieces `# (batch, tokens)`; gives a batch as training takes it, without padding."""
        noise = draw_noise(len(pieces), pieces.shape[1], self._density, self._mean_span, generator)
        pairs = [
            corrupt(piece, mask, self._first_sentinel) for piece, mask in zip(pieces, noise, strict=True)
        ]
        inputs, targets = (
            torch.from_numpy(np.stack([np.append(pair[side], self._eos) for pair in pairs]))
            for side in (0, 1)
        )
        return {"input_ids": inputs, "attention_mask": torch.ones_like(inputs), "labels": targets}


class Pieces:
    """Documents in one order, laid end to end and cut into pieces; what is left at the end is dropped."""

    def __init__(self, corpus: Corpus, documents: npt.NDArray[np.int64], length: int) -> None:
        self._corpus, self._documents, self._length = corpus, documents, length
        starts = np.concatenate([[0], corpus.ends[:-1]])
        self._ends = np.cumsum((corpus.ends - starts)[documents])

    def __len__(self) -> int:
        return int(self._ends[-1]) // self._length

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        """Gives one piece `# (length,)`."""
        start, stop = index * self._length, (index + 1) * self._length
        place = int(np.searchsorted(self._ends, start, side="right"))
        parts: list[npt.NDArray[np.int64]] = []
        while start < stop:
            begin = int(self._ends[place - 1]) if place else 0
            part = self._corpus.document(int(self._documents[place]))[start - begin : stop - begin]
            parts.append(part)
            start, place = start + len(part), place + 1
        return np.concatenate(parts)


class SpanBatches:
    """Endless batches: in every epoch the documents are laid out anew and their pieces shuffled.

    Args:
        corpus: The text.
        documents: Which of its documents.
        corruption: What is done to a piece.
        batch_size: Pieces of a batch.
        seed: Decides the order and the noise.

    Raises:
        UserError: If the documents are shorter than one piece.
    """

    def __init__(
        self,
        corpus: Corpus,
        documents: npt.NDArray[np.int64],
        corruption: SpanCorruption,
        batch_size: int,
        seed: int,
    ) -> None:
        self._corpus, self._documents, self._corruption = corpus, documents, corruption
        self._batch_size, self._seed = batch_size, seed
        self.drawn = 0
        self._epoch = -1
        self._go_to_epoch(0)

    def _go_to_epoch(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        generator = np.random.default_rng([self._seed, epoch])
        order = generator.permutation(self._documents)
        self._pieces = Pieces(self._corpus, order, self._corruption.lengths.tokens)
        if not len(self._pieces):
            raise UserError(
                f"The text has fewer than {self._corruption.lengths.tokens} tokens to train on; give more "
                "of it or a smaller --input-length."
            )
        self._order = generator.permutation(len(self._pieces))
        self._epoch = epoch

    @property
    def pieces(self) -> int:
        """Pieces of an epoch, which are as many in each."""
        return len(self._pieces)

    def __next__(self) -> dict[str, Tensor]:
        """Draws and corrupts the next batch."""
        rows = []
        for number in range(self.drawn, self.drawn + self._batch_size):
            epoch, place = divmod(number, len(self._pieces))
            self._go_to_epoch(epoch)
            rows.append(self._pieces[int(self._order[place])])
        generator = np.random.default_rng([self._seed, self.drawn, 1])
        self.drawn += self._batch_size
        return self._corruption(np.stack(rows), generator)

    def state_dict(self) -> dict[str, Any]:
        """Gives the place in the stream."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a place in the stream."""
        self.drawn = int(state["drawn"])


def validation_batches(
    corpus: Corpus,
    documents: npt.NDArray[np.int64],
    corruption: SpanCorruption,
    *,
    batch_size: int,
    most: int,
) -> list[dict[str, Tensor]]:
    """Makes batches that are the same at every validation.

    Args:
        corpus: The text.
        documents: Documents that are not trained on.
        corruption: What is done to a piece.
        batch_size: Pieces of a batch.
        most: Most pieces in all.

    Raises:
        UserError: If the documents are shorter than one piece.
    """
    pieces = Pieces(corpus, documents, corruption.lengths.tokens)
    count = min(most, len(pieces))
    if not count:
        raise UserError(
            f"The {len(documents)} documents kept for validation have fewer than {corruption.lengths.tokens} "
            "tokens; give more of them with --validation-documents, or more text."
        )
    rows = np.stack([pieces[index] for index in range(count)])
    generator = np.random.default_rng([0])
    return [corruption(rows[start : start + batch_size], generator) for start in range(0, count, batch_size)]

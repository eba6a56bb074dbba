"""Plain text as pieces of token ids, in endless batches that can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lowland.data.encode import TokenIds, tokenize
from lowland.errors import UserError
from lowland.pretraining.spans import Ids, SpanCorruption
from lowland.tasks.lines import read_lines


def read_documents(files: Iterable[Path]) -> Iterator[str]:
    """Reads the documents of text files, which blank lines separate; .gz is unpacked on the way.

    Raises:
        UserError: If a file cannot be read or is no UTF-8 text.
    """
    for path in files:
        lines: list[str] = []
        for _, line in read_lines(path):
            if line.strip():
                lines.append(line.rstrip("\r\n"))
            elif lines:
                yield "\n".join(lines)
                lines = []
        if lines:
            yield "\n".join(lines)


def tokenise(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> list[TokenIds]:
    """Tokenises documents, without EOS; white space counts as one space, as the vocabulary has it.

    Raises:
        UserError: If none has a token.
    """
    found = [ids for ids in tokenize([" ".join(text.split()) for text in documents], tokenizer) if len(ids)]
    if not found:
        raise UserError("The text files hold no text to train on.")
    return found


def cut(documents: Iterable[TokenIds], length: int) -> Ids:
    """Lays documents end to end and cuts them into pieces `# (pieces, length)`; what is left is dropped."""
    row = np.concatenate(list(documents)).astype(np.int64)
    return row[: len(row) // length * length].reshape(-1, length)


class SpanBatches:
    """Endless batches: in every epoch the documents are laid out anew and their pieces shuffled.

    Args:
        documents: The text.
        corruption: What is done to a piece.
        batch_size: Pieces of a batch.
        seed: Decides the order and the noise.

    Raises:
        UserError: If the documents are shorter than one piece.
    """

    def __init__(
        self, documents: Sequence[TokenIds], corruption: SpanCorruption, batch_size: int, seed: int
    ) -> None:
        self._documents, self._corruption = documents, corruption
        self._batch_size, self._seed = batch_size, seed
        self._drawn, self._epoch = 0, -1
        self.pieces = sum(map(len, documents)) // corruption.lengths.tokens
        if not self.pieces:
            raise UserError(
                f"The text has fewer than {corruption.lengths.tokens} tokens to train on; give more of it or "
                "a smaller --input-length."
            )

    def _piece(self, number: int) -> Ids:
        epoch, place = divmod(number, self.pieces)
        if epoch != self._epoch:
            generator = np.random.default_rng([self._seed, epoch])
            order = generator.permutation(len(self._documents))
            self._laid = cut((self._documents[index] for index in order), self._corruption.lengths.tokens)
            self._order = generator.permutation(self.pieces)
            self._epoch = epoch
        piece: Ids = self._laid[self._order[place]]
        return piece

    def __next__(self) -> dict[str, Tensor]:
        """Draws and corrupts the next batch."""
        rows = [self._piece(number) for number in range(self._drawn, self._drawn + self._batch_size)]
        generator = np.random.default_rng([self._seed, self._drawn, 1])
        self._drawn += self._batch_size
        return self._corruption(np.stack(rows), generator)

    def state_dict(self) -> dict[str, Any]:
        """Gives the place in the stream."""
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a place in the stream."""
        self._drawn = int(state["drawn"])


def fixed_batches(
    documents: Sequence[TokenIds], corruption: SpanCorruption, *, batch_size: int, most: int
) -> list[dict[str, Tensor]]:
    """Makes batches that are the same at every validation, of at most `most` pieces in all.

    Raises:
        UserError: If the documents are shorter than one piece.
    """
    rows = cut(documents, corruption.lengths.tokens)[:most]
    if not len(rows):
        raise UserError(
            f"The {len(documents)} documents kept for validation have fewer than {corruption.lengths.tokens} "
            "tokens; give more of them with --validation-documents, or more text."
        )
    generator = np.random.default_rng([0])
    return [corruption(rows[at : at + batch_size], generator) for at in range(0, len(rows), batch_size)]


def mean_loss(
    loss: Callable[[Mapping[str, Tensor]], Tensor], batches: Iterable[Mapping[str, Tensor]]
) -> float:
    """Computes the mean loss of a token over batches whose pieces are all of one length, in nats."""
    sums = [(float(loss(batch)) * len(batch["labels"]), len(batch["labels"])) for batch in batches]
    return math.fsum(total for total, _ in sums) / sum(count for _, count in sums)

"""The loss on general text: span corruption for encoder-decoders, the next token for causal models."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lowland.content import file_hash
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.families.causal import Causal
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.pretraining.spans import SpanCorruption, sentinel_ids
from lowland.pretraining.text import cut, fixed_batches, mean_loss, read_documents, tokenise


class GeneralText:
    """A text on which the loss of models is measured, the same pieces and the same noise for each.

    Args:
        file: Plain text, documents parted by blank lines.
        pieces: Most pieces.
        length: Tokens of a piece.
        batch_size: Pieces at a time.

    Raises:
        UserError: If the file cannot be read.
    """

    def __init__(self, file: Path, *, pieces: int = 128, length: int = 128, batch_size: int = 32) -> None:
        self.file, self.pieces, self.length, self.batch_size = file, pieces, length, batch_size
        try:
            self.sha256 = file_hash(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from None

    def __call__(self, family: Family) -> float | None:
        """Computes the mean loss of a token, in nats; `None` for a model that has no such loss.

        Raises:
            UserError: If the text is shorter than one piece.
        """
        batches = self.batches(family)
        if batches is None:
            return None
        model = family.loaded.model.eval()
        with torch.no_grad():
            return mean_loss(family.loss(model.device), batches)

    def batches(self, family: Family) -> list[dict[str, Tensor]] | None:
        """Makes the batches that the loss is computed over."""
        spans = isinstance(family, EncoderDecoder) and bool(sentinel_ids(family.tokenizer))
        if not spans and not isinstance(family, Causal):
            return None
        documents = tokenise(read_documents([self.file]), family.tokenizer)
        corruption = SpanCorruption(family.tokenizer, self.length) if spans else None
        length = corruption.lengths.tokens if corruption else self.length
        if sum(map(len, documents)) < length:
            raise UserError(f"{self.file} has fewer than {length} tokens; give a longer text.")
        if corruption:
            return fixed_batches(documents, corruption, batch_size=self.batch_size, most=self.pieces)
        rows = torch.from_numpy(cut(documents, length)[: self.pieces])
        return [
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
            for ids in rows.split(self.batch_size)
        ]

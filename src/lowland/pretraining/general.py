"""The loss on general text: span corruption for encoder-decoders, the next token for causal models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lowland.errors import UserError
from lowland.families.base import Family
from lowland.families.causal import Causal
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.outcomes.forgetting import general_loss
from lowland.pretraining.batches import Pieces, SpanCorruption, validation_batches
from lowland.pretraining.corpus import Corpus, read_documents, text_sha256, tokenise
from lowland.pretraining.vocabulary import sentinel_ids

DENSITY, MEAN_SPAN = 0.15, 3.0
"""T5's span corruption."""


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
        self.sha256 = text_sha256([file])

    def __call__(self, family: Family) -> float | None:
        """Computes the mean loss of a token, in nats; `None` for a model that has no such loss.

        Raises:
            UserError: If the text is shorter than one piece.
        """
        model = family.loaded.model.eval()
        loss = family.loss(model.device)

        def of_batch(batch: Mapping[str, Tensor]) -> tuple[float, int]:
            # Every piece is as long, so that the labels weight the batches rightly.
            count = family.count(batch)
            return float(loss(batch)) * count, count

        batches = self._batches(family)
        if batches is None:
            return None
        with torch.no_grad():
            return general_loss(of_batch, batches)

    def _batches(self, family: Family) -> list[dict[str, Tensor]] | None:
        tokenizer = family.tokenizer
        sentinels = sentinel_ids(tokenizer) if isinstance(family, EncoderDecoder) else []
        if not sentinels and not isinstance(family, Causal):
            return None
        corpus = tokenise(read_documents([self.file]), tokenizer)
        documents = np.arange(len(corpus.ends))
        if not sentinels:
            return self._next_token(corpus, documents)
        corruption = SpanCorruption(
            sentinels,
            int(tokenizer.eos_token_id),
            input_length=self.length,
            density=DENSITY,
            mean_span=MEAN_SPAN,
        )
        self._check(Pieces(corpus, documents, corruption.lengths.tokens))
        return validation_batches(corpus, documents, corruption, batch_size=self.batch_size, most=self.pieces)

    def _next_token(self, corpus: Corpus, documents: np.ndarray) -> list[dict[str, Tensor]]:
        pieces = Pieces(corpus, documents, self.length)
        self._check(pieces)
        rows = torch.from_numpy(np.stack([pieces[i] for i in range(min(self.pieces, len(pieces)))]))
        return [
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
            for ids in rows.split(self.batch_size)
        ]

    def _check(self, pieces: Pieces) -> None:
        if not len(pieces):
            raise UserError(f"{self.file} has fewer than {self.length} tokens; give a longer text.")

"""A SentencePiece vocabulary in T5's form, trained on documents."""

from __future__ import annotations

import io
import string
import textwrap
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
from transformers import PreTrainedTokenizerBase, T5Tokenizer

from lowland.errors import UserError
from lowland.models.load import forget_source
from lowland.models.quiet import quiet_transformers

SENTINELS = 100
"""Of T5's vocabulary; they follow the pieces, the first one at the very end."""

REQUIRED = "".join(sorted(set(string.printable) - set(string.whitespace)))
"""Characters that are pieces in any case: a question mark is rare in an encyclopaedia and common in tasks."""

MOST_LINES = 300_000
"""Lines that the vocabulary is trained on, drawn at random."""

LONGEST_LINE = 1000
"""Characters; the trainer passes over lines of more than 4,192 bytes."""


def train_vocabulary(
    documents: Iterable[str], folder: Path, *, pieces: int, fold_case: bool, seed: int
) -> None:
    """Trains a vocabulary and writes it as a tokenizer that transformers loads.

    Padding is 0, EOS 1, unknown 2; then come pieces by their probability (unigram), then the sentinels. As in
    T5's own vocabulary, a character that is no piece is unknown.

    Args:
        documents: The text.
        folder: Where to: `spiece.model`, and the tokenizer's own files.
        pieces: Size of the vocabulary, sentinels left out.
        fold_case: Whether capital letters count as small ones. A small vocabulary gains by it.
        seed: Of the draw of lines.

    Raises:
        UserError: If the text is too little for so many pieces.
    """
    lines = (line for document in documents for line in document.split("\n"))
    short = (
        part
        for line in lines
        for part in (textwrap.wrap(line, LONGEST_LINE) if line[LONGEST_LINE:] else [line])
    )
    written = io.BytesIO()
    sentencepiece.set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=short,
            model_writer=written,
            model_type="unigram",
            vocab_size=pieces,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            required_chars=REQUIRED.lower() if fold_case else REQUIRED,
            normalization_rule_name="nmt_nfkc_cf" if fold_case else "nmt_nfkc",
            character_coverage=0.9999,
            input_sentence_size=MOST_LINES,
            shuffle_input_sentence=True,
            num_threads=1,  # with more, equal text need not give equal pieces
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"No vocabulary of {pieces} pieces can be trained on this text ({reason}); give more text or "
            "fewer --pieces."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(written.getvalue())
    with quiet_transformers():
        made = T5Tokenizer.from_pretrained(folder, extra_ids=SENTINELS, local_files_only=True)
        made.save_pretrained(folder)


def load_vocabulary(folder: Path) -> PreTrainedTokenizerBase:
    """Loads a tokenizer that `train_vocabulary` wrote."""
    with quiet_transformers():
        tokenizer: PreTrainedTokenizerBase = T5Tokenizer.from_pretrained(folder, local_files_only=True)
    forget_source(tokenizer)
    return tokenizer

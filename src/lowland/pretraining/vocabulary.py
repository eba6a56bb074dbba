"""A SentencePiece vocabulary in T5's form, trained on text files."""

from __future__ import annotations

import io
import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5Tokenizer

from lowland.errors import UserError
from lowland.models.load import forget_source
from lowland.models.quiet import quiet_transformers
from lowland.pretraining.corpus import read_documents

SENTINELS = 100
"""Of T5's vocabulary; they follow the pieces, the first one at the very end."""

REQUIRED = "".join(sorted(set(string.printable) - set(string.whitespace)))
"""Characters that are pieces in any case: a question mark is rare in an encyclopaedia and common in tasks."""

LONGEST_LINE = 4096
"""Bytes; the training of a vocabulary passes over what is longer."""

_SHORT_ENOUGH = re.compile(r"\S.{0,1022}(?!\S)|\S{1,1023}")
"""Words of a line up to 1,023 characters, of at most 4 bytes each."""


def train_vocabulary(
    files: Sequence[Path], folder: Path, *, pieces: int, fold_case: bool, lines: int, seed: int
) -> PreTrainedTokenizerBase:
    """Trains a vocabulary and writes it as a tokenizer that transformers loads.

    Args:
        files: Text files.
        folder: Where to: `spiece.model`, and the tokenizer's own files.
        pieces: Size of the vocabulary, sentinels left out.
        fold_case: Whether capital letters count as small ones. A small vocabulary gains by it.
        lines: Most lines that are read, drawn at random.
        seed: Of the draw.

    Returns:
        The tokenizer: padding 0, EOS 1, unknown 2, then pieces by their probability (unigram), then the
        sentinels. As in T5's own vocabulary, a character that is no piece is unknown.

    Raises:
        UserError: If the text cannot be read, or is too little for so many pieces.
    """
    written = io.BytesIO()
    unreadable: list[UserError] = []

    def read() -> Iterator[str]:
        # Of an error in its iterator the library tells no more than a line of the traceback.
        try:
            yield from _lines(files)
        except UserError as error:
            unreadable.append(error)
            raise

    sentencepiece.set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=read(),
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
            input_sentence_size=lines,
            shuffle_input_sentence=True,
            max_sentence_length=LONGEST_LINE,
            num_threads=1,  # with more, equal text need not give equal pieces
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        if unreadable:
            raise unreadable[0] from None
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no reason given"
        raise UserError(
            f"No vocabulary of {pieces} pieces can be trained on this text ({reason}); "
            "give more text or fewer --pieces."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(written.getvalue())
    with quiet_transformers():
        tokenizer: PreTrainedTokenizerBase = T5Tokenizer.from_pretrained(
            folder, extra_ids=SENTINELS, local_files_only=True
        )
        tokenizer.save_pretrained(folder)
    return tokenizer


def load_vocabulary(folder: Path) -> PreTrainedTokenizerBase:
    """Loads a tokenizer, which must have T5's sentinels.

    Args:
        folder: Holds a tokenizer's files, or `spiece.model` alone.

    Raises:
        UserError: If there is none, or it has no sentinels, padding or EOS.
    """
    # Without files transformers makes a tokenizer up.
    if not any((folder / name).is_file() for name in ("spiece.model", "tokenizer.json")):
        raise UserError(f"{folder} holds no tokenizer: neither spiece.model nor tokenizer.json is there.")
    with quiet_transformers():
        try:
            if (folder / "tokenizer_config.json").exists():
                tokenizer = AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
            else:
                tokenizer = T5Tokenizer.from_pretrained(folder, extra_ids=SENTINELS, local_files_only=True)
        except Exception as error:  # of any kind: a damaged file can trip the library anywhere
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{folder} holds no tokenizer that can be read ({reason}).") from None
    forget_source(tokenizer)
    if not sentinel_ids(tokenizer) or tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise UserError(
            f"The tokenizer in {folder} has no sentinels <extra_id_0> ..., EOS and padding, which span "
            "corruption needs; give one of the T5 family."
        )
    return tokenizer


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Gives the ids of the sentinels, the first one first; they must count downwards."""
    known = tokenizer.get_vocab()
    ids: list[int] = []
    while (name := f"<extra_id_{len(ids)}>") in known:
        ids.append(int(known[name]))
    return ids if all(id == ids[0] - place for place, id in enumerate(ids)) else []


def _lines(files: Sequence[Path]) -> Iterator[str]:
    for document in read_documents(files):
        for line in document.split("\n"):
            if len(line) < LONGEST_LINE // 4:
                yield line
            else:
                yield from _SHORT_ENOUGH.findall(line)

"""Plain text as one long row of token ids, read once and kept on disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from lowland.errors import UserError
from lowland.files import aside_of, sha256, write_atomic

OPENERS = {".gz": gzip.open, ".xz": lzma.open}
LARGEST_DOCUMENT = 10_000_000
"""Characters; a file without blank lines is cut there, at the end of a line, so that memory stays bounded."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Tokenised documents.

    Attributes:
        tokens: The ids of all documents, one after the other. `# (tokens,)`
        ends: Where each document ends. `# (documents,)`
    """

    tokens: npt.NDArray[np.unsignedinteger]
    ends: npt.NDArray[np.int64]

    def document(self, index: int) -> npt.NDArray[np.int64]:
        """Gives the tokens of a document."""
        start = int(self.ends[index - 1]) if index else 0
        return self.tokens[start : int(self.ends[index])].astype(np.int64)


def read_documents(files: Sequence[Path]) -> Iterator[str]:
    """Reads the documents of text files, which blank lines part; .gz and .xz are unpacked on the way.

    Raises:
        UserError: If a file cannot be read or is no UTF-8 text.
    """
    for path in files:
        lines: list[str] = []
        size = number = 0
        try:
            with _open(path) as file:
                for number, line in enumerate(file, 1):
                    if "\0" in line:
                        raise UserError(f"{path}, line {number}: there is a NUL character; give a text file.")
                    if line.strip() and size < LARGEST_DOCUMENT:
                        lines.append(line.rstrip("\r\n"))
                        size += len(line)
                        continue
                    if lines:
                        yield "\n".join(lines)
                    lines = [line.rstrip("\r\n")] if line.strip() else []
                    size = len(line)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, after line {number}: not UTF-8 ({error.reason}); convert the file."
            ) from None
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
        if lines:
            yield "\n".join(lines)


def _open(path: Path) -> IO[str]:
    opener = OPENERS.get(path.suffix)
    if opener is None:
        return path.open(encoding="utf-8-sig")
    return opener(path, "rt", encoding="utf-8-sig")  # type: ignore[no-any-return,operator]


def tokenise(
    documents: Iterator[str], tokenizer: PreTrainedTokenizerBase, *, documents_at_once: int = 64
) -> Corpus:
    """Tokenises documents, without EOS; white space counts as one space, as the vocabulary has it.

    Args:
        documents: The texts.
        tokenizer: The tokenizer.
        documents_at_once: How many go to the tokenizer together.

    Raises:
        UserError: If there is no document, or none has a token.
    """
    kind = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    parts: list[npt.NDArray[np.unsignedinteger]] = []
    while texts := list(islice(documents, documents_at_once)):
        flat = [" ".join(text.split()) for text in texts]
        rows = tokenizer(flat, add_special_tokens=False, verbose=False)["input_ids"]
        parts += [np.asarray(row, dtype=kind) for row in rows if row]
    if not parts:
        raise UserError("The text files hold no text to train on.")
    return Corpus(tokens=np.concatenate(parts), ends=np.cumsum([len(part) for part in parts]))


def load_corpus(
    files: Sequence[Path], tokenizer: PreTrainedTokenizerBase, folder: Path, checksum: str | None = None
) -> Corpus:
    """Gives the tokenised text files, from the folder where that has them.

    Args:
        files: Text files.
        tokenizer: The tokenizer.
        folder: Keeps the tokens, for the next time; made anew if it is of other files or damaged.
        checksum: The files' `text_sha256`, if it is known.
    """
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    key = hashlib.sha256(f"{checksum or text_sha256(files)} {vocabulary}".encode()).hexdigest()
    stored = _read(folder, key)
    if stored is not None:
        return stored
    corpus = tokenise(read_documents(files), tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, array in (("tokens", corpus.tokens), ("ends", corpus.ends)):
        _write(folder / f"{name}.npy", array)
        digests[name] = sha256(folder / f"{name}.npy")
    write_atomic(folder / "corpus.json", json.dumps({"of": key, "sha256": digests}).encode(), durable=True)
    return corpus


def _read(folder: Path, key: str) -> Corpus | None:
    try:
        about = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        if about["of"] != key:
            return None
        for name, digest in about["sha256"].items():
            if sha256(folder / f"{name}.npy") != digest:
                return None
        tokens, ends = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("tokens", "ends")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Corpus(tokens=tokens, ends=ends)


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    aside = aside_of(path)
    with aside.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def text_sha256(files: Sequence[Path]) -> str:
    """Computes a checksum of text files in their order; their names do not count.

    Raises:
        UserError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(f"{sha256(path)}\n".encode())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest()

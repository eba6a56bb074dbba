"""Token ids of texts, kept on disk: to tokenise a large data set takes a minute, to read its ids a moment.

The environment variable `LOWLAND_CACHE` names the folder (default: `~/.cache/lowland`); where it is empty,
nothing is kept. The folder may be deleted at any time. What is read is what tokenising again would give:
a file goes by the hash of everything that its ids depend on, and is not used if it is damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from transformers import PreTrainedTokenizerBase

TokenIds = NDArray[np.int32]

LEAST = 1_000_000
"""Characters of texts that are worth a file: they take about half a second to tokenise."""

UNUSED_DAYS = 30
"""Files that were not used for so long are deleted when another one is written."""

FORMAT = "2"
"""Of the files; another number makes all of them anew."""


def cached_tokens(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    make: Callable[[], list[TokenIds]],
    *,
    target: bool = False,
) -> list[TokenIds]:
    """Gives the ids of texts from the cache, or makes and keeps them.

    Any number of processes may do so at once: a file is written aside and put in its place whole.

    Args:
        texts: The texts.
        tokenizer: What makes ids of them.
        make: Makes them.
        target: Whether the texts are targets, for which some tokenizers have other ids.
    """
    folder = cache_folder()
    if folder is None or sum(map(len, texts)) < LEAST:
        return make()
    path = folder / "tokens" / f"{_key(texts, tokenizer, target)}.safetensors"
    rows = _read(path, len(texts))
    if rows is None:
        rows = make()
        _write(path, rows)
    return rows


def cache_folder() -> Path | None:
    """Gives the folder of the cache; `None` where nothing is to be kept."""
    named = os.environ.get("LOWLAND_CACHE")
    try:
        if named is None:
            return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lowland"
        return Path(named).expanduser() if named else None
    except RuntimeError:  # a user without a home, as in many containers
        return None


def _key(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, target: bool) -> str:
    """Hashes all that decides the ids: the texts, the tokenizer's files and the libraries' versions."""
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save_pretrained(name)
        files = sorted(path for path in Path(name).rglob("*") if path.is_file())
        contents = [part for path in files for part in (path.name.encode(), path.read_bytes())]
    languages = [str(getattr(tokenizer, name, None)) for name in ("src_lang", "tgt_lang")]
    versions = (
        FORMAT,
        str(target),
        *languages,
        transformers.__version__,
        tokenizers.__version__,
        type(tokenizer).__name__,
    )
    return _digest(
        [
            *(part.encode() for part in versions),
            *contents,
            *(text.encode(errors="surrogatepass") for text in texts),
        ]
    )


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _read(path: Path, number: int) -> list[TokenIds] | None:
    """Reads a file; `None` where there is none that is whole."""
    try:
        with safe_open(path, framework="numpy") as file:
            ids, lengths = file.get_tensor("ids"), file.get_tensor("lengths")
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if written != _digest([ids.tobytes(), lengths.tobytes()]) or len(lengths) != number:
        return None
    with contextlib.suppress(OSError):  # another user's file can be read all the same
        os.utime(path)  # it is in use
    return np.split(ids.astype(np.int32), np.cumsum(lengths)[:-1])


def _write(path: Path, rows: Sequence[TokenIds]) -> None:
    """Writes a file, and deletes those that have gone out of use; a full or closed disk is no obstacle."""
    ids, lengths = np.concatenate(rows), np.array([len(row) for row in rows], dtype=np.int64)
    ids = ids.astype(np.min_scalar_type(ids.max(initial=0)))  # most vocabularies fit two bytes
    content = save({"ids": ids, "lengths": lengths}, {"sha256": _digest([ids.tobytes(), lengths.tobytes()])})
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        try:
            aside.write_bytes(content)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        for other in path.parent.iterdir():
            if other.stat().st_mtime < time.time() - UNUSED_DAYS * 24 * 3600:
                other.unlink()

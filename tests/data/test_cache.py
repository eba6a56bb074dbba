"""Token ids on disk: the same as made anew, whatever happened to the file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures.models import word_tokenizer
from transformers import PreTrainedTokenizerBase

from lowland.data import encode_texts
from lowland.data.cache import TokenIds, cache_folder, cached_tokens
from lowland.data.encode import literal, tokenize
from lowland.models import load_model

CACHE = sys.modules[cached_tokens.__module__]
TEXTS = ["the cat sat", "", "on  mat ½ 日本", "the cat", "</s> the"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    """The embedded model's tokenizer."""
    return load_model("embedded", dropout=None).tokenizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, for texts however short."""
    monkeypatch.setenv("LOWLAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(CACHE, "LEAST", 1)
    return tmp_path / "cache" / "tokens"


def never() -> list[TokenIds]:
    """Makes nothing: what is asked for should be in the cache."""
    raise AssertionError("the texts were tokenised again")


def plain(rows: list[TokenIds]) -> list[tuple[np.dtype[np.int32], list[int]]]:
    """Writes rows so that they can be compared."""
    return [(row.dtype, row.tolist()) for row in rows]


def test_kept_ids_are_the_same(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Ids that are read are those that were made, bit for bit, and nothing is tokenised a second time."""
    made = cached_tokens(TEXTS, tokenizer, lambda: tokenize(TEXTS, tokenizer))
    assert plain(cached_tokens(TEXTS, tokenizer, never)) == plain(tokenize(TEXTS, tokenizer)) == plain(made)


def test_every_length_uses_the_same_file(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """What is kept is whole, so that a run with other lengths cuts it and makes no file of its own."""
    cut, truncated = encode_texts(TEXTS, tokenizer, 3)
    whole, none = encode_texts(TEXTS, tokenizer, 100)
    assert len(list(folder.iterdir())) == 1
    assert truncated == sum(len(row) > 3 for row in whole) > none == 0
    assert [row.tolist() for row in cut] == [[*row[:-1][:2].tolist(), 1] for row in whole]


def test_cut_as_the_tokenizer_cuts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Texts that are cut have the ids that the tokenizer's own truncation gives."""
    for each in (tokenizer, word_tokenizer("bart"), word_tokenizer("bert2bert")):
        rows, _ = encode_texts(TEXTS, each, 4)
        theirs = each(literal(TEXTS, each), truncation=True, max_length=4)["input_ids"]
        assert [row.tolist() for row in rows] == theirs


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content.replace(b'"ids"', b'"idx"'),
        lambda content: bytes(len(content)),
    ],
    ids=["empty", "short", "a bit", "a name", "zeros"],
)
def test_a_damaged_file_is_made_again(
    folder: Path, tokenizer: PreTrainedTokenizerBase, damage: Callable[[bytes], bytes]
) -> None:
    """A file that is not as it was written is not used but made again."""
    cached_tokens(TEXTS, tokenizer, lambda: tokenize(TEXTS, tokenizer))
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    made = cached_tokens(TEXTS, tokenizer, lambda: tokenize(TEXTS, tokenizer))
    assert plain(made) == plain(tokenize(TEXTS, tokenizer))
    assert path.read_bytes() == content


def test_other_texts_and_tokenizers_have_other_files(
    folder: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Other texts, another order, other borders between them, and another vocabulary are told apart."""
    kinds = [TEXTS, TEXTS[::-1], ["the catsat", ""], ["the cat", "sat"]]
    for texts in kinds:
        cached_tokens(texts, tokenizer, lambda texts=texts: tokenize(texts, tokenizer))
    tokenizer.add_tokens(["sat"])
    again = cached_tokens(TEXTS, tokenizer, lambda: tokenize(TEXTS, tokenizer))
    assert len(list(folder.iterdir())) == len(kinds) + 1
    assert plain(again) == plain(tokenize(TEXTS, tokenizer))


def test_many_at_once(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Many that read and write the same file at once all get the ids, and leave one whole file."""
    rows = tokenize(TEXTS, tokenizer)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached_tokens(TEXTS, tokenizer, lambda: rows), range(32)))
    assert all(plain(each) == plain(rows) for each in found)
    assert len(list(folder.iterdir())) == 1
    assert plain(cached_tokens(TEXTS, tokenizer, never)) == plain(rows)


def test_what_is_not_used_goes(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A file that was not used for a long time is deleted when another is written; one in use stays."""
    old = time.time() - (CACHE.UNUSED_DAYS + 1) * 24 * 3600
    for texts in (["left"], ["used"]):
        cached_tokens(texts, tokenizer, lambda texts=texts: tokenize(texts, tokenizer))
    for path in folder.iterdir():
        os.utime(path, (old, old))
    cached_tokens(["used"], tokenizer, never)
    cached_tokens(["new"], tokenizer, lambda: tokenize(["new"], tokenizer))
    assert len(list(folder.iterdir())) == 2
    cached_tokens(["used"], tokenizer, never)


def test_nowhere_to_keep(folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A folder that cannot be written is no obstacle: the ids are made every time."""
    folder.parent.write_text("a file is here")
    for _ in range(2):
        made = cached_tokens(TEXTS, tokenizer, lambda: tokenize(TEXTS, tokenizer))
        assert plain(made) == plain(tokenize(TEXTS, tokenizer))


def test_what_is_kept(
    folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few texts are not kept, nor anything where `LOWLAND_CACHE` is empty; unset, it is the user's cache."""
    monkeypatch.setattr(CACHE, "LEAST", 1000)
    encode_texts(TEXTS, tokenizer, 8)
    monkeypatch.setattr(CACHE, "LEAST", 1)
    monkeypatch.setenv("LOWLAND_CACHE", "")
    encode_texts(TEXTS, tokenizer, 8)
    assert cache_folder() is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("LOWLAND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lowland"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "lowland"

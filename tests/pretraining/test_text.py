"""Text files become tokens: every document, once, from whatever they are packed in."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from tests.pretraining.texts import write_text

from lowland.errors import UserError
from lowland.models import load_model
from lowland.pretraining.spans import SpanCorruption, sentinel_ids
from lowland.pretraining.text import SpanBatches, cut, read_documents
from lowland.pretraining.vocabulary import load_vocabulary, train_vocabulary

TEXT = "one line\nand another\n\n\n  \nsecond document\n\nthird"
DOCUMENTS = ["one line\nand another", "second document", "third"]


def flipped(content: bytes) -> bytes:
    """The same with some bits in the middle flipped."""
    middle = len(content) // 2
    return (
        content[:middle] + bytes(byte ^ 255 for byte in content[middle : middle + 8]) + content[middle + 8 :]
    )


def test_blank_lines_part_documents(tmp_path: Path) -> None:
    """Plain and gz files with any line ends and a byte order mark give the same documents."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    (tmp_path / "c.gz").write_bytes(gzip.compress(TEXT.encode()))
    for file in sorted(tmp_path.iterdir()):
        assert list(read_documents([file])) == DOCUMENTS, file


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"good\n\xff\xfe", "not UTF-8"),
        ("a.txt", b"good\nb\0d", "line 2: a NUL"),
        ("a.gz", flipped(gzip.compress(bytes(range(32, 127)) * 50)), "cannot be unpacked"),
        ("a.txt", None, "does not exist"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """A file that is no text, packed wrongly, cut short or missing is named in a sentence."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        list(read_documents([tmp_path / name]))
    assert str(tmp_path / name) in str(caught.value)


def test_an_epoch_holds_every_document_once() -> None:
    """Cut into pieces, documents come in full, in the order they were laid out."""
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, 999, size).astype(np.int32) for size in generator.integers(1, 40, 30)]
    laid = np.concatenate(documents)
    pieces = cut(documents, 17)
    assert pieces.shape == (len(laid) // 17, 17)
    np.testing.assert_array_equal(pieces.ravel(), laid[: pieces.size])


def test_batches_go_on_from_their_place() -> None:
    """From a saved place, in the middle of any epoch, the batches that follow are the same to the bit."""
    documents = np.split(np.arange(500, dtype=np.int32) + 3, [120, 300])
    corruption = SpanCorruption(load_model("embedded", dropout=None).tokenizer, 16)

    def batches() -> SpanBatches:
        return SpanBatches(documents, corruption, 8, seed=5)

    one = batches()
    seen = [next(one) for _ in range(3)]  # more than an epoch has pieces
    place = one.state_dict()
    following = next(one)
    other = batches()
    other.load_state_dict(place)
    resumed = next(other)
    assert all((resumed[name] == following[name]).all() for name in following)
    assert any((seen[0][name] != following[name]).any() for name in following)
    assert following["input_ids"].shape == (8, corruption.lengths.inputs)
    assert following["labels"].shape == (8, corruption.lengths.targets)


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    """A trained vocabulary folds case if asked, keeps rare marks, and has T5's sentinels at its end."""
    file = write_text(tmp_path / "a.txt", documents=60)
    train_vocabulary(read_documents([file]), tmp_path / "v", pieces=98, fold_case=True, seed=0)
    tokenizer = load_vocabulary(tmp_path / "v")
    assert len(tokenizer) == 198
    assert sentinel_ids(tokenizer) == list(range(197, 97, -1))
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("The RIVER")["input_ids"] == tokenizer("the river")["input_ids"]
    assert tokenizer.decode(tokenizer("who? {x} ~ £", add_special_tokens=False)["input_ids"]).startswith(
        "who? {x} ~"
    )


def test_too_little_text_for_a_vocabulary(tmp_path: Path) -> None:
    """More pieces than the text can give are refused in a sentence."""
    file = write_text(tmp_path / "a.txt", documents=2)
    with pytest.raises(UserError, match="fewer --pieces"):
        train_vocabulary(read_documents([file]), tmp_path / "v", pieces=8000, fold_case=False, seed=0)


def test_long_lines_are_read_for_a_vocabulary(tmp_path: Path) -> None:
    """A document on one line, longer than SentencePiece reads, gives the pieces that it gives on many."""
    file, one_line = write_text(tmp_path / "a.txt", documents=60), tmp_path / "b.txt"
    one_line.write_text(" ".join(file.read_text().split()))
    assert len(one_line.read_text()) > 5000
    pieces = []
    for text in (file, one_line):
        folder = tmp_path / text.stem
        train_vocabulary(read_documents([text]), folder, pieces=120, fold_case=False, seed=0)
        pieces.append(set(load_vocabulary(folder).get_vocab()))
    # The borders of lines differ, and with them a few counts.
    assert len(pieces[0] & pieces[1]) > 0.9 * 220

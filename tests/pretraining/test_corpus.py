"""Text files become tokens: every document, once, from whatever they are packed in."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from tests.pretraining.texts import write_text

from lowland.errors import UserError
from lowland.models import load_model
from lowland.pretraining.batches import Pieces, SpanBatches, SpanCorruption
from lowland.pretraining.corpus import Corpus, load_corpus, read_documents
from lowland.pretraining.vocabulary import load_vocabulary, sentinel_ids, train_vocabulary

TEXT = "one line\nand another\n\n\n  \nsecond document\n\nthird"
DOCUMENTS = ["one line\nand another", "second document", "third"]


def flipped(content: bytes) -> bytes:
    """The same with some bits in the middle flipped."""
    middle = len(content) // 2
    return (
        content[:middle] + bytes(byte ^ 255 for byte in content[middle : middle + 8]) + content[middle + 8 :]
    )


def test_blank_lines_part_documents(tmp_path: Path) -> None:
    """Plain, gz and xz files with any line ends and a byte order mark give the same documents."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    (tmp_path / "c.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "d.xz").write_bytes(lzma.compress(TEXT.encode()))
    for file in sorted(tmp_path.iterdir()):
        assert list(read_documents([file])) == DOCUMENTS, file


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"good\n\xff\xfe", "not UTF-8"),
        ("a.txt", b"good\nb\0d", "line 2: there is a NUL"),
        ("a.gz", b"no gzip", "cannot be read"),
        ("a.gz", flipped(gzip.compress(bytes(range(32, 127)) * 50)), "cannot be read"),
        ("a.xz", lzma.compress(b"text" * 1000)[:-20], "cannot be read"),
        ("a.txt", None, "cannot be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """A file that is no text, packed wrongly, cut short or missing is named in a sentence."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        list(read_documents([tmp_path / name]))
    assert str(tmp_path / name) in str(caught.value)


def test_tokens_are_kept_on_disk(tmp_path: Path) -> None:
    """Tokens come from the folder while text and tokenizer are the same, and are made anew where damaged."""
    tokenizer = load_model("embedded", dropout=None).tokenizer
    file = write_text(tmp_path / "a.txt", documents=5)
    first = load_corpus([file], tokenizer, tmp_path / "corpus")
    stored = tmp_path / "corpus" / "tokens.npy"
    made = stored.stat().st_mtime_ns
    again = load_corpus([file], tokenizer, tmp_path / "corpus")
    assert stored.stat().st_mtime_ns == made
    np.testing.assert_array_equal(again.tokens, first.tokens)
    np.testing.assert_array_equal(again.ends, first.ends)

    damaged = bytearray(stored.read_bytes())
    damaged[-1] ^= 1
    stored.write_bytes(damaged)
    np.testing.assert_array_equal(load_corpus([file], tokenizer, tmp_path / "corpus").tokens, first.tokens)
    file.write_text("other text")
    assert len(load_corpus([file], tokenizer, tmp_path / "corpus").ends) == 1


def test_an_epoch_holds_every_document_once() -> None:
    """Cut into pieces, the documents of an epoch come in full, in the order they were laid out."""
    generator = np.random.default_rng(0)
    ends = np.cumsum(generator.integers(1, 40, 30))
    corpus = Corpus(tokens=np.arange(ends[-1], dtype=np.uint16), ends=ends)
    order = generator.permutation(30)
    pieces = Pieces(corpus, order, 17)
    laid = np.concatenate([corpus.document(int(index)) for index in order])
    assert len(pieces) == len(laid) // 17
    got = np.concatenate([pieces[index] for index in range(len(pieces))])
    np.testing.assert_array_equal(got, laid[: len(got)])


def test_batches_go_on_from_their_place() -> None:
    """From a saved place, in the middle of any epoch, the batches that follow are the same to the bit."""
    corpus = Corpus(tokens=np.arange(500, dtype=np.uint16) + 3, ends=np.array([120, 300, 500]))
    corruption = SpanCorruption([2099, 2098], 1, input_length=16, density=0.15, mean_span=3.0)

    def batches() -> SpanBatches:
        return SpanBatches(corpus, np.arange(3), corruption, 8, seed=5)

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
    train_vocabulary([file], tmp_path / "v", pieces=98, fold_case=True, lines=1000, seed=0)
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
        train_vocabulary([file], tmp_path / "v", pieces=8000, fold_case=False, lines=1000, seed=0)


def test_long_lines_are_read_for_a_vocabulary(tmp_path: Path) -> None:
    """A document on one line, longer than SentencePiece reads, gives the pieces that it gives on many."""
    file, one_line = write_text(tmp_path / "a.txt", documents=60), tmp_path / "b.txt"
    one_line.write_text(" ".join(file.read_text().split()))
    assert len(one_line.read_text()) > 5000
    pieces = []
    for text in (file, one_line):
        folder = tmp_path / text.stem
        train_vocabulary([text], folder, pieces=120, fold_case=False, lines=1000, seed=0)
        pieces.append(set(load_vocabulary(folder).get_vocab()))
    # The borders of lines differ, and with them a few counts.
    assert len(pieces[0] & pieces[1]) > 0.9 * 220


@pytest.mark.parametrize("place", [0, 30])
def test_unreadable_text_is_told_of_as_such(tmp_path: Path, place: int) -> None:
    """A file that turns out to be no text while a vocabulary is trained is named, with the line."""
    file = write_text(tmp_path / "a.txt", documents=60)
    lines = file.read_text().split("\n")
    lines[place] += "\0"
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match=f"a.txt, line {place + 1}: there is a NUL character"):
        train_vocabulary([file], tmp_path / "v", pieces=120, fold_case=False, lines=1000, seed=0)

"""Text to token ids: T5's rule, other tokenizers' habits, and what was cut."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures.models import tiny_loaded, word_tokenizer
from transformers import AutoTokenizer, ByT5Tokenizer

from lowland.data import encode_texts
from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models.load import load_model
from lowland.tasks.base import Example

BYTES = ByT5Tokenizer()


def examples(*targets: str) -> list[Example]:
    """Examples with these targets and the input `abc`."""
    return [Example(inputs="abc", targets=target) for target in targets]


def test_t5_rule_in_closed_form() -> None:
    """ByT5's ids are the bytes plus 3, cut to length - 1, then EOS; what was cut is counted."""
    encoded = EncoderDecoder(tiny_loaded("t5")).encode(examples("xy", "xyz", "uvwxyz"), 3, 4)
    assert [ids.tolist() for ids in encoded.targets] == [
        [ord("x") + 3, ord("y") + 3, 1],
        [ord("x") + 3, ord("y") + 3, ord("z") + 3, 1],
        [ord("u") + 3, ord("v") + 3, ord("w") + 3, 1],
    ]
    assert (encoded.truncated_inputs, encoded.truncated_targets) == (3, 1)
    assert len(encoded) == 3
    assert encoded[1].inputs.tolist() == [ord("a") + 3, ord("b") + 3, 1]


@settings(deadline=None)
@given(texts=st.lists(st.text(alphabet="abcé日 ", max_size=12), max_size=5), length=st.integers(2, 10))
def test_t5_rule_as_a_property(texts: list[str], length: int) -> None:
    """For any texts and length: at most `length` ids, EOS last and nowhere else, a prefix of the whole."""
    rows, truncated = encode_texts(texts, BYTES, length)
    whole, _ = encode_texts(texts, BYTES, 1000)
    assert truncated == sum(len(row) > length for row in whole)
    for row, full in zip(rows, whole, strict=True):
        assert len(row) == min(len(full), length)
        assert row[-1] == 1 and 1 not in row[:-1]
        assert row[:-1].tolist() == full[: len(row) - 1].tolist()


def test_t5_vocabulary_as_sentencepiece(shared: Path) -> None:
    """With T5's own vocabulary the ids are SentencePiece's, whatever the spaces, plus EOS."""
    folder = shared / "data" / "vocab_t5"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    texts = [
        "The house is wonderful.",
        "  two  spaces,\ttabs\nand lines  ",
        "sst2 sentence: it 's a charming and often affecting journey . ",
        "Ünïcode ﬁ ½ 日本 – 'quoted' \"text\"",
        "*it* was rainy",
    ]
    rows, _ = encode_texts(texts, tokenizer, 512)
    assert [row.tolist() for row in rows] == [[*pieces.encode(text), 1] for text in texts]
    assert rows[0].tolist() == [37, 629, 19, 1627, 5, 1]


@pytest.mark.parametrize(
    ("kind", "short", "cut"),
    [
        ("bart", [3, 4, 6, 1], [3, 4, 6, 8, 1]),
        ("bert2bert", [3, 4, 6, 1], [3, 4, 6, 8, 1]),
        ("umt5", [4, 6, 1], [4, 6, 8, 9, 1]),
        ("gpt2", [4, 6, 1], [4, 6, 8, 9, 1]),
    ],
)
def test_habits_of_other_tokenizers(kind: str, short: list[int], cut: list[int]) -> None:
    """Each tokenizer's own special tokens stand where it puts them, within the length; GPT-2's gets EOS."""
    rows, truncated = encode_texts(["the cat", "the cat sat on mat"], word_tokenizer(kind), 5)
    assert [row.tolist() for row in rows] == [short, cut]
    assert truncated == 1


def test_many_texts_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts tokenised in several chunks come back in order."""
    monkeypatch.setattr(sys.modules[encode_texts.__module__], "CHUNK", 3)
    texts = [chr(ord("a") + index) for index in range(8)]
    rows, _ = encode_texts(texts, BYTES, 5)
    assert [row[0] - 3 for row in rows] == [ord(text) for text in texts]


@pytest.mark.parametrize("target", ["", "   "])
def test_empty_target(target: str) -> None:
    """A target without a token is refused with the number of its example, counted from 1."""
    family = EncoderDecoder(load_model("embedded", dropout=None))
    with pytest.raises(UserError, match=r"^Example 2 has the target '( *)', which holds no token"):
        family.encode(examples("yes", target), 8, 8)


def test_empty_input_is_allowed() -> None:
    """An empty input is EOS alone."""
    encoded = EncoderDecoder(tiny_loaded("t5")).encode([Example(inputs="", targets="yes")], 8, 8)
    assert encoded[0].inputs.tolist() == [1]


@pytest.mark.parametrize(("kind", "length"), [("bart", 2), ("umt5", 1), ("gpt2", 1)])
def test_no_room(kind: str, length: int) -> None:
    """A length that special tokens fill alone is refused."""
    with pytest.raises(UserError, match="leaves no room for text"):
        encode_texts(["the cat"], word_tokenizer(kind), length)


def test_no_end_token() -> None:
    """A tokenizer that neither closes a text nor has an end token is refused."""
    tokenizer = word_tokenizer("gpt2")
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-sequence token"):
        encode_texts(["the cat"], tokenizer, 8)


def test_no_examples() -> None:
    """No examples give an empty set."""
    assert len(EncoderDecoder(tiny_loaded("t5")).encode([], 8, 8)) == 0

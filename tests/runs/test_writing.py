"""What a vocabulary cannot read, write or tell apart is counted; labels that collide are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.command import call
from tests.fixtures.models import tiny_model, tokenizer_of, word_tokenizer
from transformers import PreTrainedTokenizerBase

from lowland.data.encode import decode
from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models.load import LoadedModel
from lowland.runs.encodings import Encodings
from lowland.runs.examples import load_examples
from lowland.tasks.base import Source
from lowland.tasks.custom import CustomTask
from lowland.train.settings import TrainSettings

WORDS = word_tokenizer("bart")  # a dozen words; everything else is unknown
BYTES = tokenizer_of("t5")  # ByT5 can write everything


def family(tokenizer: PreTrainedTokenizerBase) -> EncoderDecoder:
    """A model with a vocabulary; nothing but that is looked at."""
    return EncoderDecoder(LoadedModel(model=tiny_model("bart"), tokenizer=tokenizer, name="tiny"))


def check(
    folder: Path,
    rows: list[tuple[str, str]],
    metric: str = "accuracy",
    tokenizer: PreTrainedTokenizerBase = WORDS,
    lengths: tuple[int, int] = (32, 16),
) -> list[str]:
    """Checks rows of input and target, which are trained on and scored."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"x": text, "y": target}) + "\n" for text, target in rows))
    task = CustomTask("mine", path, path, "{x}", "{y}", (metric,))
    settings = TrainSettings(input_length=lengths[0], target_length=lengths[1])
    return Encodings(load_examples([task], Source(), 0), family(tokenizer), settings).warnings


def test_what_can_be_written_is_not_mentioned(tmp_path: Path) -> None:
    """Texts in the vocabulary, and any texts where it has every byte, give no sentence."""
    assert check(tmp_path, [("the cat", "true"), ("a dog", "false")]) == []
    texts = [("日本の\n映画", "Ja  ja "), ("\U0001f600", "{x}\n"), ("größe", "né€")]
    assert check(tmp_path, texts, "exact_match", BYTES) == []


def test_labels_that_are_the_same_are_refused(tmp_path: Path) -> None:
    """Two labels of which the vocabulary makes the same are refused, with their numbers and what it makes."""
    with pytest.raises(
        UserError, match=r"labels '悪い' \(2\), '良い' \(2\) are the same.*writes '' for each"
    ):
        check(tmp_path, [("the cat", "良い"), ("a dog", "悪い")])
    # Free texts collide too, where all of them do.
    with pytest.raises(UserError, match=r"targets .* are the same"):
        check(tmp_path, [("the cat", "良い"), ("a dog", "悪い")], "exact_match")
    # One that differs is enough to learn something of free texts, not of labels.
    three = [("the cat", "良い"), ("a dog", "悪い"), ("the dog", "true")]
    assert "2 of 3 targets cannot be written" in check(tmp_path, three, "exact_match")[-1]
    with pytest.raises(UserError, match="labels"):
        check(tmp_path, three)


def test_labels_that_differ_after_the_cut_are_refused(tmp_path: Path) -> None:
    """Labels that are alike as far as targets go are refused, and the sentence names --target-length."""
    rows = [("the cat", "the big cat sat"), ("a dog", "the big cat on mat")]
    assert check(tmp_path, rows) == []
    with pytest.raises(UserError, match=r"writes 'the big cat' for each.*give a greater --target-length"):
        check(tmp_path, rows, lengths=(32, 5))


def test_targets_that_come_back_changed_are_counted(tmp_path: Path) -> None:
    """Targets that cannot be written are counted with an example, and so is the best score."""
    rows = [("the cat", "the  cat"), ("a dog", "a dog"), ("one", "two\nthree"), ("big", "small")]
    (said,) = check(tmp_path, rows, "exact_match")
    assert said.startswith(
        "mine: 2 of 4 targets cannot be written by this model as they are: 'the  cat' comes back as 'the "
        "cat'. A model that learned every target scores at most exact_match 50.0."
    )
    # A metric that normalises ignores the difference, and nothing is said.
    assert check(tmp_path, rows, "qa") == []
    # Labels are told apart, and read back as what they stand for.
    assert check(tmp_path, rows) == []


def test_targets_that_are_longer_than_what_is_written_are_counted(tmp_path: Path) -> None:
    """Targets that a model may not write to their end are told as they end."""
    rows = [("the cat", "the big cat sat on a mat"), ("a dog", "a dog")]
    _, said = check(tmp_path, rows, "exact_match", lengths=(32, 6))
    assert "1 of 2 targets cannot be written" in said and "at most exact_match 50.0" in said
    assert "'the big cat sat on a mat' comes back as 'the big cat sat'" in said
    assert "give a greater --target-length" in said


def test_inputs_that_are_unknown_are_told(tmp_path: Path) -> None:
    """Unknown tokens are told with their share of the inputs' tokens."""
    (said,) = check(
        tmp_path, [("the 猫", "true"), ("the 犬", "false"), ("a cat", "true"), ("the dog", "false")]
    )
    # 2 tokens in 4 texts of 4 tokens with both ends
    assert said.startswith("mine: 12% of the training inputs' tokens are unknown")


PIECES = st.lists(st.sampled_from(["cat", "dog", "Cat", " ", "\n", "猫", "."]), min_size=1, max_size=4).map(
    "".join
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(PIECES.filter(str.strip), min_size=2, max_size=4, unique=True))
def test_no_right_answer_scores_less_without_a_word(tmp_path: Path, targets: list[str]) -> None:
    """If writing every target as the vocabulary can scores less than 100, that is told or refused."""
    rows = [(f"the cat {index}", target) for index, target in enumerate(targets)]
    rows_of_ids, _ = family(WORDS).encode_targets(targets, 16)
    perfect = decode(rows_of_ids, WORDS) == targets
    try:
        said = " ".join(check(tmp_path, rows, "exact_match"))
    except UserError:
        assert not perfect
        return
    assert ("scores at most" in said) == (not perfect)


def test_a_run_refuses_labels_that_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that are one for the model end a run before it trains, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"film {index}", "label": ("良い", "悪い")[index % 2]} for index in range(8)]
    Path("japanese.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = ["--train", "japanese.jsonl", "--split", "0.25", "--input", "{text}", "--target", "{label}"]
    refused = call("train", *own, "--steps", "1", "--batch-size", "4", "--held-out", "0", "--out", "out")
    assert refused.code == 2 and "japanese: the labels '悪い' (4), '良い' (4) are the same" in refused.err
    assert not Path("out").exists()

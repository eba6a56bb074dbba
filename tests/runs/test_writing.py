"""What a vocabulary cannot read, write or tell apart is counted; labels that collide are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.command import call
from tests.fixtures.models import tiny_model, tokenizer_of, word_tokenizer
from tokenizers import normalizers
from transformers import PreTrainedTokenizerBase

from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models import LoadedModel
from lowland.runs.writing import Vocabulary, check_writing
from lowland.tasks import CustomTask

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
    data = task.load()
    model = family(tokenizer)
    inputs = model.encode(data.train, *lengths).inputs
    return check_writing("mine", task, data.train, inputs, data.evaluation, model, lengths)


def test_what_can_be_written_is_not_mentioned(tmp_path: Path) -> None:
    """Texts in the vocabulary, and any texts where it has every byte, give no sentence."""
    assert check(tmp_path, [("the cat", "true"), ("a dog", "false")]) == []
    texts = [("日本の\n映画", "Ja  ja "), ("\U0001f600", "{x}\n"), ("größe", "né€")]
    assert check(tmp_path, texts, "exact_match", BYTES) == []


def test_labels_that_are_the_same_are_refused(tmp_path: Path) -> None:
    """Two labels of which the vocabulary makes the same are refused, with their numbers and what it makes."""
    with pytest.raises(
        UserError, match=r"labels '悪い' \(2\), '良い' \(2\) are the same.*none of their char"
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


def test_every_group_of_equal_labels_is_named(tmp_path: Path) -> None:
    """Where several labels have twins, one refusal names them all."""
    rows = [("the cat", "true"), ("a dog", "true "), ("one", "false"), ("two", "false ")]
    with pytest.raises(
        UserError, match=r"labels '(true|false)' .* The same holds for '(true|false)' and '\2 '\."
    ):
        check(tmp_path, rows)


def test_labels_that_differ_after_the_cut_are_refused(tmp_path: Path) -> None:
    """Labels that are alike as far as targets go are refused, and the sentence names --target-length."""
    rows = [("the cat", "the big cat sat"), ("a dog", "the big cat on mat")]
    assert check(tmp_path, rows) == []
    with pytest.raises(UserError, match=r"begin alike and are cut there\. Give a greater --target-length"):
        check(tmp_path, rows, lengths=(32, 5))
    # Two of them have a twin in the same text, too: all three are named once.
    with pytest.raises(UserError, match=r"cut there\. Give a greater --target-length\.$"):
        check(tmp_path, [*rows, ("one", "the big cat sat ")], lengths=(32, 5))


def test_targets_that_come_back_changed_are_counted(tmp_path: Path) -> None:
    """Targets that cannot be written are counted with an example, and so is the best score."""
    rows = [("the cat", "the  cat"), ("a dog", "a dog"), ("one", "two\nthree"), ("big", "small")]
    (said,) = check(tmp_path, rows, "exact_match")
    assert said.startswith(
        "mine: 2 of 4 targets cannot be written by this model's vocabulary as they are: 'the  cat' comes "
        "back as 'the cat'. A model that learned every target scores at most exact_match 50.0."
    )
    # A metric that normalises ignores the difference, and nothing is said.
    assert check(tmp_path, rows, "qa") == []
    # Labels are told apart, and read back as what they stand for.
    assert check(tmp_path, rows) == []


def test_what_looks_the_same_is_written_out(tmp_path: Path) -> None:
    """Texts that differ in the form of Unicode alone are shown by their characters."""
    tokenizer = word_tokenizer("bart")
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens(["caf\u00e9"])
    model = family(tokenizer)
    rows = [("the cat", "cafe\u0301"), ("a dog", "caf\u00e9")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"x": text, "y": target}) + "\n" for text, target in rows))
    (alike,) = [w for w in CustomTask("mine", path, path, "{x}", "{y}").load().warnings if "spellings" in w]
    assert r"'cafe\u0301' (2) and 'caf\xe9' (2)" in alike
    task = CustomTask("mine", path, path, "{x}", "{y}", ("exact_match",))
    data = task.load()
    inputs = model.encode(data.train[:1], 32, 16).inputs
    with pytest.raises(
        UserError, match=r"'cafe.u0301' \(2\), 'caf.xe9' \(1\) are the same.*correct the file"
    ):
        check_writing("mine", task, data.train[:1], inputs, {"mine": data.train}, model, (32, 16))
    part = {"mine": data.train[:1]}
    (changed,) = check_writing("mine", task, data.train[:1], inputs, part, model, (32, 16))
    assert r"'cafe\u0301' comes back as 'caf\xe9'" in changed


def test_targets_that_are_longer_than_what_is_written_are_counted(tmp_path: Path) -> None:
    """Targets that a model may not write to their end are told for what is scored, with their ends."""
    rows = [("the cat", "the big cat sat on a mat"), ("a dog", "a dog")]
    (said,) = check(tmp_path, rows, "exact_match", lengths=(32, 6))
    assert said == (
        "mine: 1 of 2 targets are longer than what is written: 'the big cat sat on a mat' ends as 'the big "
        "cat sat', and --target-length allows more. A model that learned every target scores at most "
        "exact_match 50.0."
    )


def test_inputs_that_lose_what_they_say_are_counted(tmp_path: Path) -> None:
    """Unknown tokens are told with their share, and inputs that become the same with other targets."""
    rows = [("the 猫", "true"), ("the 犬", "false"), ("a cat", "true"), ("the dog", "false")]
    unknown, alike = check(tmp_path, rows)
    assert (
        "12% of the training inputs' tokens are unknown" in unknown
    )  # 2 of 4 texts of 4 tokens with both ends
    assert "in 2 of 4 different inputs: 'the 猫'" in unknown
    assert "2 of 4 different training inputs are the same for this model as another" in alike
    assert "'the 猫' and 'the 犬'" in alike
    # Cut at the same place, long texts are alike, too.
    (cut,) = check(tmp_path, [("the cat on", "true"), ("the cat sat", "false")], lengths=(4, 16))
    assert "2 of 2 different training inputs are the same" in cut


def test_inputs_that_become_empty_are_counted(tmp_path: Path) -> None:
    """Inputs of which nothing is left are counted with an example."""
    tokenizer = word_tokenizer("bart")
    normalizer = normalizers.Replace("!", "")
    tokenizer.backend_tokenizer.normalizer = normalizer
    said = check(tmp_path, [("!!", "true"), ("cat", "false")], tokenizer=tokenizer)
    assert said[0].startswith("mine: 1 of 2 different training inputs become empty") and "'!!'" in said[0]


PIECES = st.lists(st.sampled_from(["cat", "dog", "Cat", " ", "\n", "猫", "."]), min_size=1, max_size=4).map(
    "".join
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(PIECES.filter(str.strip), min_size=2, max_size=4, unique=True))
def test_no_right_answer_scores_less_without_a_word(tmp_path: Path, targets: list[str]) -> None:
    """If writing every target as the vocabulary can scores less than 100, that is told or refused."""
    rows = [(f"the cat {index}", target) for index, target in enumerate(targets)]
    vocabulary = Vocabulary(family(WORDS), 32, 16)
    perfect = all(
        written == target for written, target in zip(vocabulary.write(targets), targets, strict=True)
    )
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

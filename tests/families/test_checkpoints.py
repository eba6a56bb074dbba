"""What a checkpoint brings along: generation settings, tables of positions, languages, odd architectures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from tests.cli.command import succeed
from tests.families.test_losses import classes
from tests.families.tiny import write_model, write_rows
from transformers import (
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
)

from lowland.errors import UserError
from lowland.families.base import most_positions
from lowland.families.recognise import load_family
from lowland.families.settings import FamilySettings
from lowland.models.load import quiet_transformers
from lowland.tasks.base import Example

SUMMARISER = {"min_length": 20, "no_repeat_ngram_size": 3, "num_beams": 4, "max_length": 62}


def slowly(*kinds: str) -> list[Any]:
    """Leaves kinds to the slow tests."""
    return [pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


SHORT = ["--steps", "1", "--batch-size", "4", "--target-length", "8", "--precision", "fp32"]


def summariser(folder: Path) -> Path:
    """A BART whose generation_config wants long summaries by beams."""
    write_model(folder, "bart")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | SUMMARISER))
    return folder


def test_generation_settings_are_set_aside(tmp_path: Path) -> None:
    """A summariser's least length does not hold, which is told; an option keeps it."""
    path = summariser(tmp_path)
    family = load_family(str(path))
    (note,) = family.notes
    assert "(min_length 20, num_beams 4, no_repeat_ngram_size 3)" in note
    generation: Any = family.loaded.model.generation_config
    assert generation.min_length in (0, None) and generation.num_beams in (1, None)
    with torch.no_grad():  # a model that ends at once
        family.loaded.model.final_logits_bias[:, family.tokenizer.eos_token_id] = 1e4
    lengths: dict[str, Any] = {"input_length": 32, "target_length": 40}
    assert family.predict(["the big cat"], **lengths) == [""]

    kept = load_family(str(path), FamilySettings(keep_generation=True))
    assert kept.loaded.model.generation_config.num_beams == 4  # type: ignore[union-attr]
    with torch.no_grad():
        kept.loaded.model.final_logits_bias[:, kept.tokenizer.eos_token_id] = 1e4
    (written,) = kept.predict(["the big cat"], **lengths)
    assert len(kept.tokenizer(written, add_special_tokens=False)["input_ids"]) >= 10


@pytest.mark.parametrize(
    ("kind", "limits"),
    [("bart", (64, 64)), ("gpt2", (256, 256)), ("roberta", (128, 128)), ("bert", (128, 128)),
     ("llama", (None, None)), ("t5", (None, None))],
)  # fmt: skip
def test_positions(tmp_path: Path, kind: str, limits: tuple[int | None, int | None]) -> None:
    """The rows of a table of positions are found, those before the first position left out."""
    family = load_family(str(write_model(tmp_path, kind)), start=classes("a", "b"))
    assert most_positions(family.loaded.model) == limits


@pytest.mark.parametrize("kind", ["bart", *slowly("gpt2", "bert")])
def test_long_texts_are_cut_to_the_table(tmp_path: Path, kind: str) -> None:
    """Texts longer than the table of positions are cut and counted: in training, scoring and prediction."""
    options = write_rows(tmp_path)
    for name in ("train.csv", "dev.csv"):
        path = tmp_path / name
        path.write_text(path.read_text().replace("the ", "the " * 300))
    model = write_model(tmp_path / "start", kind)
    result = succeed("train", *options, "--model", model, *SHORT, "--out", tmp_path / "out")
    most = {"bart": 64, "bert": 128, "gpt2": 256 - 8}[kind]
    said = " ".join((result.out + result.err).split())
    assert f"training inputs are longer than {most} tokens and were cut" in said
    assert f"evaluation inputs are longer than {most} tokens and were cut" in said
    trained = tmp_path / "out" / "model"
    scored = succeed("eval", "--eval", tmp_path / "dev.csv", "--target", "{label}", "--model", trained)
    assert f"8 of 8 evaluation inputs are longer than {most} tokens" in " ".join(scored.err.split())
    done = succeed("predict", "--input", tmp_path / "dev.csv", "--model", trained)
    assert f"8 inputs are longer than {most} tokens and were cut" in " ".join(done.err.split())


BART = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 64,
}  # fmt: skip


def marian(folder: Path) -> Any:
    """A translator with other pieces for its targets than for its inputs."""
    vocabulary = {"</s>": 0, "<unk>": 1}
    lines = {
        "source": ["the red house", "the old boat", "a house"],
        "target": ["das rote haus", "das alte boot", "ein haus"],
    }
    folder.mkdir()
    for name, texts in lines.items():
        (folder / name).write_text("\n".join(texts * 20))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / name), model_prefix=str(folder / name), vocab_size=40, hard_vocab_limit=False,
            minloglevel=2, bos_id=-1, eos_id=0, unk_id=1, pad_id=-1,
        )  # fmt: skip
        (folder / f"{name}.model").rename(folder / f"{name}.spm")
        pieces = sentencepiece.SentencePieceProcessor(str(folder / f"{name}.spm"))
        for number in range(pieces.vocab_size()):
            vocabulary.setdefault(pieces.id_to_piece(number), len(vocabulary))
    padding = vocabulary["<pad>"] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = MarianTokenizer(
        str(folder / "source.spm"), str(folder / "target.spm"), str(folder / "vocab.json"),
        source_lang="en", target_lang="de",
    )  # fmt: skip
    config = MarianConfig(
        vocab_size=len(vocabulary), pad_token_id=padding, eos_token_id=0, bos_token_id=0,
        decoder_start_token_id=padding, **BART,
    )  # fmt: skip
    save(MarianMTModel(config), tokenizer, folder)
    return tokenizer


def mbart(folder: Path, kind: Any, target: str | None = "de_DE") -> Any:
    """A translator whose targets bear the code of their language."""
    words = ["▁the", "▁red", "▁house", "▁das", "▁rote", "▁haus"]
    entries = [
        *((word, 0.0) for word in ("<s>", "<pad>", "</s>", "<unk>")),
        *((word, -2.0) for word in words),
    ]
    tokenizer = kind(vocab=entries, src_lang="en_XX", tgt_lang=target)
    config = MBartConfig(
        vocab_size=len(tokenizer),
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        **BART,
    )
    save(MBartForConditionalGeneration(config), tokenizer, folder)
    return tokenizer


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a checkpoint."""
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize("kind", ["marian", "mbart-25", "mbart-50"])
def test_targets_are_encoded_as_targets(tmp_path: Path, kind: str) -> None:
    """Inputs and targets have the ids that the tokenizer gives them; the language begins what is written."""
    folder = tmp_path / "model"
    if kind == "marian":
        tokenizer = marian(folder)
    else:
        tokenizer = mbart(folder, MBartTokenizer if kind == "mbart-25" else MBart50Tokenizer)
    family = load_family(str(folder))
    encoded = family.encode([Example(inputs="the red house", targets="das rote haus")], 32, 32)[0]
    assert encoded.inputs.tolist() == tokenizer("the red house").input_ids
    assert encoded.targets.tolist() == tokenizer(text_target="das rote haus").input_ids
    generation: Any = family.loaded.model.generation_config
    german = tokenizer.convert_tokens_to_ids("de_DE")
    if kind == "mbart-25":
        assert generation.decoder_start_token_id == german
        batch = family.collate([encoded])
        shifted = family.loaded.model.prepare_decoder_input_ids_from_labels(batch["labels"])
        assert shifted[0, 0] == german
    if kind == "mbart-50":
        assert generation.forced_bos_token_id == german
    if kind != "marian":
        assert any("en_XX" in note and "de_DE" in note for note in family.notes)
        other = load_family(str(folder), FamilySettings(target_language="fr_XX"))
        ids = other.encode([Example(inputs="the", targets="das")], 32, 32)[0].targets.tolist()
        assert other.tokenizer.convert_tokens_to_ids("fr_XX") in ids and german not in ids


def test_languages_that_are_missing(tmp_path: Path) -> None:
    """An unknown language, a missing one, and one for a tokenizer without any are each one sentence."""
    mbart(tmp_path / "whole", MBartTokenizer)
    mbart(tmp_path / "half", MBartTokenizer, target=None)
    write_model(tmp_path / "bart", "bart")
    for name, settings, sentence in (
        ("whole", FamilySettings(target_language="xx_YY"), "knows no language 'xx_YY'"),
        ("half", FamilySettings(), "wants a language; give --target-language"),
        ("bart", FamilySettings(source_language="en_XX"), "has no languages"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_family(str(tmp_path / name), settings)


def switch(folder: Path) -> None:
    """Experts, whose forward pass depends on numbers."""
    shape = {"vocab_size": 384, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    config = SwitchTransformersConfig(**shape, num_experts=2, decoder_start_token_id=0)
    write_model(folder, "t5")  # its tokenizer
    with quiet_transformers():
        SwitchTransformersForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["bart", *slowly("llama", "bert", "switch")])
def test_every_model_can_be_planned(tmp_path: Path, kind: str) -> None:
    """The plan of every model that trains counts its memory and measures its steps."""
    options = write_rows(tmp_path)
    folder = tmp_path / "model"
    if kind == "switch":
        switch(folder)
    else:
        write_model(folder, kind)
    plan = succeed("compare", *options, "--model", folder, "--plan", *SHORT)
    assert "activations" in plan.out and "a step" in plan.out

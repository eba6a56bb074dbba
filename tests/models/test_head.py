"""Separate and shared output matrices, through building, loading and saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from tests.fixtures.models import T5_KINDS, logits_of, tiny_config, tiny_model, write_checkpoint
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from lowland.models.head import build_model
from lowland.models.load import load_model, quiet_transformers
from lowland.models.save import save_model

UNTIED = ("t5.1.1", "mt5", "umt5")


def is_separate(model: PreTrainedModel) -> bool:
    """Whether output matrix and embeddings are different memory."""
    return model.get_output_embeddings().weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()


def hidden_and_logits(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's output for a fixed input, and the logits."""
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        states = model.encoder(input_ids=ids).last_hidden_state
        hidden = model.decoder(input_ids=ids, encoder_hidden_states=states).last_hidden_state
        logits = model(encoder_outputs=BaseModelOutput(states), decoder_input_ids=ids).logits
    return hidden, logits


def plainly_loaded(directory: Path) -> PreTrainedModel:
    """What a user's own program gets."""
    with quiet_transformers():
        model: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(directory)
    return model


@pytest.mark.parametrize("kind", UNTIED)
def test_built_model_is_untied(kind: str) -> None:
    """A T5.1.1-like configuration builds a model whose output matrix and embeddings share nothing."""
    model = tiny_model(kind)
    assert is_separate(model)
    assert model.encoder.embed_tokens.weight is model.shared.weight
    assert model.decoder.embed_tokens.weight is model.shared.weight


def test_built_head_has_unit_logits() -> None:
    """The first logits of a T5.1.1 have unit variance, within 5 % for 24,000 of them."""
    model = tiny_model("t5.1.1")
    weight = model.lm_head.weight
    normalised = torch.nn.functional.rms_norm(torch.randn(64, 16), (16,))
    assert (normalised @ weight.T).std().item() == pytest.approx(1.0, rel=0.05)


def test_t5_1_0_is_tied_and_scaled(tmp_path: Path) -> None:
    """A loaded T5 1.0 shares its matrices and scales the decoder's output by d_model ** -0.5."""
    write_checkpoint(tmp_path, "t5", scale_decoder_outputs=None)
    model = load_model(str(tmp_path), dropout=None).model
    assert not is_separate(model)
    hidden, logits = hidden_and_logits(model)
    assert torch.equal(logits, (hidden * 16**-0.5) @ model.shared.weight.T)


@pytest.mark.parametrize("kind", UNTIED)
def test_separate_head_is_not_scaled(kind: str, tmp_path: Path) -> None:
    """A checkpoint with its own output matrix, written as official ones are, has plain unscaled logits."""
    source = write_checkpoint(tmp_path, kind, scale_decoder_outputs=None, tie_word_embeddings=False)
    model = load_model(str(tmp_path), dropout=None).model
    assert is_separate(model)
    assert torch.equal(model.lm_head.weight, source.lm_head.weight)
    hidden, logits = hidden_and_logits(model)
    assert torch.equal(logits, hidden @ model.lm_head.weight.T)


@pytest.mark.parametrize("kind", T5_KINDS)
def test_tying_again_changes_nothing(kind: str, tmp_path: Path) -> None:
    """Calls that tie weights, such as growing the vocabulary, leave the loaded logits bit for bit."""
    write_checkpoint(tmp_path, kind)
    model = load_model(str(tmp_path), dropout=None).model
    before = logits_of(model)
    model.tie_weights()
    assert torch.equal(logits_of(model), before)
    model.resize_token_embeddings(392, mean_resizing=False)
    assert torch.equal(logits_of(model)[..., :384], before)


@pytest.mark.parametrize("kind", T5_KINDS)
def test_round_trip_keeps_logits(kind: str, tmp_path: Path) -> None:
    """Saving and loading a changed model keeps its logits bit for bit and its matrices as they were."""
    write_checkpoint(tmp_path / "start", kind)
    loaded = load_model(str(tmp_path / "start"), dropout=0.1)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.mul_(1.5)
    save_model(loaded, tmp_path / "saved")
    again = load_model(str(tmp_path / "saved"), dropout=None)
    assert torch.equal(logits_of(again.model), logits_of(loaded.model))
    assert is_separate(again.model) == is_separate(loaded.model) == (kind != "t5")


@pytest.mark.parametrize("kind", ["t5", "t5.1.1", "mt5"])
def test_plain_transformers_reads_the_same(kind: str, tmp_path: Path) -> None:
    """Plain transformers gives a saved model the same logits bit for bit, also after its own round trip."""
    # UMT5 is left out: transformers 5.23 scales its logits even with a separate output matrix.
    write_checkpoint(tmp_path / "start", kind)
    loaded = load_model(str(tmp_path / "start"), dropout=None)
    save_model(loaded, tmp_path / "saved")
    plain = plainly_loaded(tmp_path / "saved")
    assert torch.equal(logits_of(plain), logits_of(loaded.model))
    with quiet_transformers():
        plain.save_pretrained(tmp_path / "again")
    assert torch.equal(logits_of(plainly_loaded(tmp_path / "again")), logits_of(loaded.model))


def test_umt5_plain_reading_differs_by_the_scale_alone(tmp_path: Path) -> None:
    """Plain transformers gives a saved UMT5 the logits, over sqrt(d_model) before 5.24: the same text."""
    # When the range begins with 5.24, the exception for UMT5 may go.
    write_checkpoint(tmp_path / "start", "umt5")
    loaded = load_model(str(tmp_path / "start"), dropout=None)
    save_model(loaded, tmp_path / "saved")
    plain = logits_of(plainly_loaded(tmp_path / "saved"))
    # d_model is 16, so the factor is 1/4 exactly, and so is the product in floating point.
    factor = 4 if Version(transformers.__version__) < Version("5.24") else 1
    assert torch.equal(plain * factor, logits_of(loaded.model))


def test_users_generate_writes_what_the_model_writes(tmp_path: Path) -> None:
    """A user's own `generate` on a saved model writes what the model wrote before."""
    write_checkpoint(tmp_path / "start", "t5.1.1")
    loaded = load_model(str(tmp_path / "start"), dropout=None)
    save_model(loaded, tmp_path / "saved")
    encoded = loaded.tokenizer(["a cat"], return_tensors="pt")
    ours = loaded.model.generate(**encoded, do_sample=False, max_new_tokens=5)
    with quiet_transformers():
        theirs = plainly_loaded(tmp_path / "saved").generate(**encoded, do_sample=False, max_new_tokens=5)
    assert torch.equal(ours, theirs)


def test_config_of_a_tied_model_is_untouched() -> None:
    """Building a T5 1.0 keeps it tied, and its configuration says so."""
    model = build_model(tiny_config("t5"))
    assert model.config.tie_word_embeddings is True
    assert not is_separate(model)

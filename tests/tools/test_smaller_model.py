"""A checkpoint, with layers and pieces cut out."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from tests.pretraining.texts import write_text
from tools.smaller_model import cut, main
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

from lowland.models import LoadedModel, build_model, load_model, save_model
from lowland.pretraining.run import t5_config
from lowland.pretraining.settings import PretrainSettings
from lowland.pretraining.text import read_documents
from lowland.pretraining.vocabulary import load_vocabulary, train_vocabulary


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A T5.1.1 model of three and three layers with random weights."""
    folder = tmp_path_factory.mktemp("vocabulary")
    text = write_text(folder / "text.txt", documents=60)
    train_vocabulary(read_documents([text]), folder / "t", pieces=120, fold_case=False, seed=0)
    tokenizer = load_vocabulary(folder / "t")
    shape = PretrainSettings(d_model=32, d_ff=48, d_kv=8, heads=4, encoder_layers=3, decoder_layers=3)
    torch.manual_seed(0)
    return LoadedModel(model=build_model(t5_config(shape, tokenizer)), tokenizer=tokenizer, name="large")


@torch.no_grad()
def logits(loaded: LoadedModel, source: list[int], target: list[int]) -> torch.Tensor:
    """The logits of one example."""
    outputs = loaded.model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]))
    return outputs.logits[0]  # (target_len, vocabulary)


def test_layers_are_left_out(large: LoadedModel) -> None:
    """The smaller model computes what the large one computes when the cut layers are passed over."""
    small = cut(large, encoder=2, decoder=[1])
    source, target = [5, 9, 33, 7, 1], [0, 12, 44]
    whole = logits(large, source, target)
    encoder, decoder = large.model.encoder.block, large.model.decoder.block
    bias = decoder[0].layer[0].SelfAttention.relative_attention_bias
    large.model.encoder.block = encoder[:2]
    large.model.decoder.block = torch.nn.ModuleList([decoder[1]])
    decoder[1].layer[0].SelfAttention.relative_attention_bias = bias
    decoder[1].layer[0].SelfAttention.has_relative_attention_bias = True
    try:
        expected = logits(large, source, target)
    finally:
        large.model.encoder.block, large.model.decoder.block = encoder, decoder
        del decoder[1].layer[0].SelfAttention.relative_attention_bias
        decoder[1].layer[0].SelfAttention.has_relative_attention_bias = False
    assert not torch.allclose(whole, expected, atol=1e-3)
    torch.testing.assert_close(logits(small, source, target), expected)


def test_weak_hidden_units_go(large: LoadedModel) -> None:
    """The smaller model computes what the large one computes when its weakest hidden units are silent."""
    source, target = [5, 9, 33, 7, 1], [0, 12, 44]
    silent = copy.deepcopy(large.model)
    for module in silent.modules():
        if isinstance(module, T5DenseGatedActDense):
            module.wi_0.weight.data[7] *= 1e-3
            module.wi_1.weight.data[20] *= 1e-3
            module.wo.weight.data[:, 31] *= 1e-3
    small = cut(dataclasses.replace(large, model=silent), feed_forward=45)
    assert small.model.config.d_ff == 45
    for module in silent.modules():
        if isinstance(module, T5DenseGatedActDense):
            module.wo.weight.data[:, [7, 20, 31]] = 0
    expected = logits(dataclasses.replace(large, model=silent), source, target)
    torch.testing.assert_close(logits(small, source, target), expected)


def test_rare_pieces_go(tmp_path: Path, large: LoadedModel) -> None:
    """The least probable pieces of several characters go, and what is left has the logits that it had."""
    save_model(cut(large, pieces=110), tmp_path / "small")
    small = load_model(str(tmp_path / "small"), dropout=None)
    before, after = large.tokenizer.get_vocab(), small.tokenizer.get_vocab()
    assert len(after) == 210
    dropped = before.keys() - after.keys()
    assert all(len(piece) > 1 for piece in dropped)
    assert after["<extra_id_0>"] == 209
    assert small.tokenizer.convert_ids_to_tokens([0, 1, 2]) == large.tokenizer.convert_ids_to_tokens(
        [0, 1, 2]
    )
    pieces = [piece for piece in sorted(after) if "extra" not in piece][:12]
    target = [0, *[before[piece] for piece in pieces[:3]]]
    expected = logits(large, [before[piece] for piece in pieces], target)
    found = logits(small, [after[piece] for piece in pieces], [0, *[after[piece] for piece in pieces[:3]]])
    torch.testing.assert_close(
        found[:, [after[piece] for piece in pieces]], expected[:, [before[piece] for piece in pieces]]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decoder-layers", "9"], "name each once, ascending, from 0"),
        (["--decoder-layers", "1,0"], "name each once, ascending, from 0"),
        (["--encoder-layers", "0"], "name each once, ascending, from 0"),
        (["--encoder-layers", "all"], "neither a number of layers nor a list"),
        (["--feed-forward", "0"], "Invalid feed_forward=0. Must be from 1 to 384"),
        (["--feed-forward", "641"], "Invalid feed_forward=641. Must be from 1 to 384"),
        (["--pieces", "20"], "Invalid pieces=20. Must be from"),
        (["--pieces", "100000"], "Invalid pieces=100000. Must be from"),
    ],
)
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """What cannot be cut ends with exit code 2 and one sentence, and leaves no folder."""
    with pytest.raises(SystemExit) as ended:
        main(["embedded", str(tmp_path / "small"), *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "small").exists()

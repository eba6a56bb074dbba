"""LoRA, DoRA and IA3 from the command line: trained, interrupted, saved, loaded, merged, trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.cli.command import call, succeed, trajectory
from tests.families.test_losses import classes
from tests.families.test_training import SHORT, family_of, interrupted
from tests.families.tiny import CLASSIFIERS, write_model, write_rows

from lowland.errors import UserError
from lowland.families.base import Start
from lowland.families.recognise import load_family
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.models.load import quiet_transformers
from lowland.models.save import save_model
from lowland.runs.prepared import _model_hash

LOG = "out/sam-seed0/train.jsonl"
KINDS = [
    "llama",
    pytest.param("bert", marks=pytest.mark.slow),
    pytest.param("t5", marks=pytest.mark.slow),
    pytest.param("gpt2", marks=pytest.mark.slow),
    pytest.param("deberta-v2", marks=pytest.mark.slow),
    pytest.param("bart", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_from_start_to_finish(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only adapters and a new head are trained and saved; merged, the model answers the same without PEFT."""
    options = write_rows(tmp_path)
    base = write_model(tmp_path / "base", kind)
    words = ["train", *options, "--model", base, *SHORT, "--lora", "r=4", "alpha=8"]
    whole = tmp_path / "one" / "whole"
    succeed(*words, "--out", whole)
    interrupted(monkeypatch, [*words, "--out", tmp_path / "two" / "halves"])
    assert trajectory(whole / "sam-seed0") == trajectory(tmp_path / "two" / "halves" / "sam-seed0")

    model = whole / "model"
    names = load_file(model / "adapter_model.safetensors").keys()
    assert all("lora_" in name or "classifier" in name or "pooler" in name for name in names)
    assert not (model / "model.safetensors").exists()
    succeed(*words, "--merge", "--out", tmp_path / "merged")
    found = []
    for place in (model, tmp_path / "merged" / "model"):
        rows = ["--input", tmp_path / "dev.csv", "--output", tmp_path / "d.jsonl"]
        succeed("predict", "--model", place, *rows, "--precision", "fp32")
        found.append((tmp_path / "d.jsonl").read_text())
    assert found[0] == found[1]
    with quiet_transformers():
        auto = getattr(transformers, family_of(kind).auto_class)
        merged = auto.from_pretrained(tmp_path / "merged" / "model")
        options = {"num_labels": 2} if kind in CLASSIFIERS else {}
        beside = auto.from_pretrained(model, **options)
    said = (model / "README.md").read_text()
    assert ("num_labels=2" in said) == (kind in CLASSIFIERS)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert any("lora" in name for name, _ in beside.named_parameters())


@pytest.mark.parametrize("lora", [LoRASettings(r=2), LoRASettings(r=2, dora=True), LoRASettings(kind="ia3")])
def test_radius_over_adapters(tmp_path: Path, lora: LoRASettings) -> None:
    """The base is frozen: what is trained, and so perturbed within rho, are the adapters alone."""
    path = str(write_model(tmp_path, "llama"))
    family = load_family(path, lora=lora, start=Start(tasks={}, seed=1))
    again = load_family(path, lora=lora, start=Start(tasks={}, seed=1))
    trained = {name for name, weight in family.loaded.model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name or "ia3_" in name for name in trained)
    states = [each.loaded.model.state_dict() for each in (family, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_adapters_are_trained_on(tmp_path: Path) -> None:
    """A directory of adapters can be the start of an arm: its own go on, or new ones on top of them."""
    options = write_rows(tmp_path)
    base = write_model(tmp_path / "base", "llama")
    words = ["train", *options, *SHORT, "--steps", "2"]
    succeed(*words, "--model", base, "--lora", "r=4", "--out", tmp_path / "first")
    first = tmp_path / "first" / "model"
    succeed(*words, "--model", first, "--out", tmp_path / "second")
    one, two = (
        load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in ("first", "second")
    )
    assert one.keys() == two.keys() and not all(torch.equal(one[name], two[name]) for name in one)
    succeed(*words, "--model", first, "--lora", "r=2", "--merge", "--out", tmp_path / "third")
    assert (tmp_path / "third" / "model" / "model.safetensors").exists()


def test_adapters_that_do_not_fit(tmp_path: Path) -> None:
    """Unknown targets, a missing base and damaged adapters are each one sentence."""
    path = str(write_model(tmp_path / "base", "llama"))
    start = Start(tasks={})
    with pytest.raises(UserError, match="Adapters do not fit"):
        load_family(path, lora=LoRASettings(targets=("no_such_module",)), start=start)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "adapter_model.safetensors").touch()
    (tmp_path / "alone" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "gone"}))
    with pytest.raises(UserError, match="'gone', which is not here"):
        load_family(str(tmp_path / "alone"))
    config = {"base_model_name_or_path": path}
    (tmp_path / "alone" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is damaged"):
        load_family(str(tmp_path / "alone"))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="--load-in-4bit needs"):
            load_family(path, FamilySettings(load_in_4bit=True))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lora", "rank=4"], "Unknown setting 'lora.rank'. Did you mean lora.r"),
        (["--lora", "r=much"], "Invalid lora.r='much'. Must be a whole number"),
        (["--lora", "r=0"], "r=0"),
        (["--lora", "r=4", "facts"], "'facts' is no KEY=VALUE"),
        (["--system", "be short"], "Give --chat"),
        (["--family", "decoder"], "invalid choice: 'decoder' (choose from 'auto'"),
    ],
)
def test_options_that_make_no_sense(words: list[str], sentence: str) -> None:
    """A mistake in the options of families is one sentence, with the exit code of mistakes."""
    result = call("train", "facts/capitals", *words)
    assert result.code == 2 and sentence in " ".join(result.err.split())


def test_head_is_trained_beside_adapters(tmp_path: Path) -> None:
    """The new head of a classifier is trained whole, and is saved with the adapters."""
    path = str(write_model(tmp_path, "bert"))
    start = classes("no", "yes")
    family = load_family(path, lora=LoRASettings(r=2), start=start)
    trained = [name for name, weight in family.loaded.model.named_parameters() if weight.requires_grad]
    assert any("classifier" in name for name in trained) and any("lora_" in name for name in trained)
    assert not any("embeddings" in name for name in trained)


def test_a_base_is_part_of_what_adapters_are(tmp_path: Path) -> None:
    """Adapters on a base whose weights were edited are another model to start from."""
    base = write_model(tmp_path / "base", "llama")
    family = load_family(str(base), lora=LoRASettings(r=2), start=Start(tasks={}))
    save_model(family.loaded, tmp_path / "adapters")
    before = _model_hash(str(tmp_path / "adapters"), family.loaded)
    assert _model_hash(str(tmp_path / "adapters"), family.loaded) == before
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert _model_hash(str(tmp_path / "adapters"), family.loaded) != before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_checkpointed_layers(kind: str, tmp_path: Path) -> None:
    """Gradient checkpointing changes nothing but memory, frozen embeddings below the adapters or not."""
    words = ["train", *write_rows(tmp_path), "--model", write_model(tmp_path / "base", kind), *SHORT]
    words += ["--lora", "r=2", "--dropout", "0.1"]
    succeed(*words, "--out", tmp_path / "one" / "out")
    succeed(*words, "--gradient-checkpointing", "--out", tmp_path / "two" / "out")
    one, two = (
        [json.loads(line)["loss"] for line in (tmp_path / name / LOG).read_text().splitlines()]
        for name in ("one", "two")
    )
    assert one == pytest.approx(two, rel=1e-5)  # the same operations, computed twice in fp32

"""Plans: what is counted is right, what is estimated is near, and nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tests.families.tiny import write_model
from torch.autograd.graph import saved_tensors_hooks

from lowland.cli import main
from lowland.config.experiment import SEEDS, build_config
from lowland.families.recognise import load_family
from lowland.methods import rise
from lowland.methods.flat_lora import adapted_layers
from lowland.models.load import load_model
from lowland.planning import plan as planning
from lowland.planning import remaining
from lowland.planning.plan import Plan, Trial, make_plan
from lowland.planning.remaining import sam_passes
from lowland.runs.examples import load_data
from lowland.runs.prepared import prepare
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import EmbeddingNoiseName, TrainSettings

FACTS: dict[str, Any] = {
    "data": {"tasks": ["facts/states", "facts/capitals"]},
    "train": {"steps": 30, "evaluate_every": 7},
}


def _planned(*layers: dict[str, Any]) -> Plan:
    config = build_config(*layers)
    prepared, family = prepare(config, load_data(config.data))
    return make_plan(config, prepared, family, 10)


def of_length(tokens: int) -> dict[str, torch.Tensor]:
    """A batch of one example."""
    ids = torch.arange(3, tokens + 3)[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :8].clone()}


def test_activations_are_those_of_a_real_pass() -> None:
    """What a batch is said to keep for the backward pass is what a pass over it keeps."""
    train = TrainSettings(precision="fp32")
    family, batch = load_family("embedded"), of_length(40)
    counted = Trial(family, batch, train).activations(6)
    own = {parameter.data_ptr() for parameter in family.loaded.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    loss = family.loss(torch.device("cpu"), z_loss=train.z_loss)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss({name: column[[0] * 6] for name, column in batch.items()})
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    # Memory that several tensors share may be cut otherwise in a larger batch.
    assert counted == pytest.approx(real, rel=0.02)


def test_checkpointing_is_said_not_to_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """With checkpointing the plan counts no activations, and says so."""
    assert _planned(FACTS, {"train": {"gradient_checkpointing": True}}).memory["activations"] == 0
    assert main(["compare", "facts/states", "--gradient-checkpointing", "--plan"]) == 0
    assert "that checkpointing keeps are not counted" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_optimizer_bytes_are_those_of_its_state(optimizer: str) -> None:
    """The optimizer's memory is what its state holds after a step."""
    settings = TrainSettings(optimizer=optimizer)  # type: ignore[arg-type]
    model = load_model("embedded", dropout=0.0).model
    built = build_optimizer(model, settings)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    built.step()
    held = sum(
        value.nbytes
        for state in built.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    counted = _planned(FACTS, {"train": {"optimizer": optimizer}}).memory["optimizer"]
    # Step counters and scales are a few bytes a tensor.
    assert counted == pytest.approx(held, rel=0.01)


def test_runs_of_all_seeds_are_planned() -> None:
    """By default all runs of all arms and seeds are planned."""
    plan = _planned(FACTS)
    assert plan.runs == {"baseline": SEEDS, "sam": SEEDS}


def test_time_follows_the_passes_of_sam() -> None:
    """A step of SAM takes 1 + a/b of a standard one, and m + a/b where each point sees the whole batch."""
    full = {"m": 2, "descent": "full"}
    late, rare = {"start": 0.5}, {"every": 5}  # of 30 steps
    cheaper = ((late, 1.125), (rare, 1.05), ({"direction": "momentum"}, 1.0))
    methods = (
        ({"functional": True}, 1.25 + 1 / 3),
        ({"perturb": "head"}, 1 + 0.25 / 3),
        ({"rise": 0.1}, 1.25 + 0.25 / 15),
    )
    kinds = (({}, 1.25), ({"ascent_examples": 32}, 2.0), (full, 2.25), ({"m": 2}, 1.25), *cheaper, *methods)
    for sam, factor in kinds:
        assert sam_passes(build_config(FACTS, {"sam": sam}).of("sam")) == pytest.approx(factor)  # a division


def test_the_plan_knows_the_methods_figures() -> None:
    """What the plan says of a method, without loading torch, is what the method does."""
    assert remaining.EVERY == rise.EVERY
    assert list(remaining.EMBEDDING_PASSES) == list(get_args(EmbeddingNoiseName))
    config = build_config(FACTS, {"train": {"embedding_noise": "r3f"}})
    assert sam_passes(config.of("baseline")) == 2.0


def test_copies_of_the_weights_are_counted() -> None:
    """SAM takes one copy of the weights, and its direction or an average of the weights another one."""
    plan = _planned(FACTS)
    both = plan.memory
    standard = _planned(FACTS, {"arms": ["baseline"]}).memory
    assert both["weights"] == 4 * plan.parameters
    assert sum(both.values()) - sum(standard.values()) == both["weights"]
    momentum = _planned(FACTS, {"sam": {"direction": "momentum"}}).memory
    assert sum(momentum.values()) - sum(both.values()) == both["weights"]
    averaged = _planned(FACTS, {"arms": ["ema"]}).memory
    assert sum(averaged.values()) - sum(standard.values()) == both["weights"]
    eight, sixteen, all_32 = (
        _planned(FACTS, {"train": {"micro_batch_size": size}}).memory["activations"] for size in (8, 16, 32)
    )
    assert all_32 - sixteen == 2 * (sixteen - eight) > 0


def test_flat_lora_copies_the_merged_weights(tmp_path: Path) -> None:
    """Noise on merged weights takes a copy of the adapted matrices and the noise itself."""
    pytest.importorskip("peft")
    write_model(tmp_path, "t5")
    lora = {"model": str(tmp_path), "lora": {"targets": ["q", "v"]}, "arms": ["baseline", "flat-lora"]}
    config = build_config(FACTS, lora)
    prepared, family = prepare(config, load_data(config.data))
    needed = make_plan(config, prepared, family, 10).memory
    matrices = sum(layer.base_layer.weight.nbytes for layer in adapted_layers(family.loaded.model))
    assert needed["SAM's copy of the weights"] == needed["SAM's direction"] == matrices > 0


def test_planning_leaves_random_streams_alone() -> None:
    """A plan draws nothing from the random stream that a run would then miss."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _planned(FACTS)
    assert torch.equal(torch.get_rng_state(), before)


def test_advice_is_given_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits needs no advice; what does not gets a size that fits, or the device that it needs."""
    plan = _planned(FACTS)
    assert plan.advice == ""
    each = plan.memory["activations"] / 32
    fixed = sum(plan.memory.values()) - plan.memory["activations"]
    for free, words in ((fixed + 11 * each, "--micro-batch-size 8,"), (fixed, "needs a device with")):
        # A tenth is left for what is not counted.
        monkeypatch.setattr(planning, "available_memory", lambda device, free=free: int(free / 0.9))
        assert words in _planned(FACTS).advice


def test_plan_prints_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plan` prints the plan and leaves no trace of a run."""
    words = ["compare", "facts/states", "--steps", "40", "--plan", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    text = capsys.readouterr().out
    for expected in (
        "40 steps of 32 examples",
        "adafactor at 0.005",
        "(the default of this model)",
        "rho 0.15, ascent 0.25, m 1; this rho is the paper's",
        "M weights",
        "tokens an example",
        "free",
    ):
        assert expected in text
    assert not (tmp_path / "run").exists()

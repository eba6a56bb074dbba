"""Plans: what is counted is right, what is estimated is near, and nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
import transformers
from torch.autograd.graph import saved_tensors_hooks

from lowland.cli import main
from lowland.config.experiment import SEEDS, build_config
from lowland.errors import UserError
from lowland.families.recognise import load_family
from lowland.methods import rise
from lowland.models.load import load_model
from lowland.paper.recipes import preset_names, read_preset, read_recipe
from lowland.planning import memory, remaining
from lowland.planning.plan import Plan, Workload, make_plan, plan_experiment
from lowland.planning.remaining import sam_passes
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import EmbeddingNoiseName, TrainSettings

FACTS = {"data": {"tasks": ["facts/states", "facts/capitals"]}, "train": {"steps": 30, "evaluate_every": 7}}
WORK = Workload(
    train={"one": 640},
    rates={"one": 1.0},
    evaluation={"one": 10},
    held_out=0,
    shape=(16, 8),
    longest=(24, 8),
)


def _planned(*layers: dict[str, object]) -> Plan:
    config = build_config(*layers)
    return make_plan(config, WORK, load_family("embedded"))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # Described as 77, 250, 800 million and 3 billion; 300 and 580 million, 1.2 and 3.7 billion.
        ("google/t5-v1_1-small", 77),
        ("google/t5-v1_1-base", 248),
        ("google/t5-v1_1-large", 783),
        ("google/t5-v1_1-xl", 2850),
        ("google/mt5-small", 300),
        ("google/mt5-base", 582),
        ("google/mt5-large", 1230),
        ("google/mt5-xl", 3743),
    ],
)
def test_the_papers_models_have_their_sizes(name: str, millions: int) -> None:
    """The shapes of the paper's models have the published numbers of weights, without a download."""
    parameters = sum(parameter.numel() for parameter in memory.outline(name).parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.005)  # published figures are rounded


def test_every_model_of_the_recipes_is_known() -> None:
    """Every size of the paper can be planned without its weights."""
    models = {read_recipe(name).settings.get("model") for name in preset_names() if name != "demo"}
    assert models - {None} <= set(memory.PAPER_MODELS)


def test_activations_are_those_of_a_real_pass() -> None:
    """The bytes kept for the backward pass, counted on shapes alone, are those of a pass with numbers."""
    model = load_model("embedded", dropout=0.1).model.train()
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs, targets = torch.ones(1, 40, dtype=torch.long), torch.ones(1, 8, dtype=torch.long)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        mask = torch.ones_like(inputs)
        model(input_ids=inputs, attention_mask=mask, decoder_input_ids=targets, use_cache=False)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    counted = memory.activation_bytes(model, 40, 8)
    # The masks are made in another way, and the loss is counted too.
    assert counted == pytest.approx(real, rel=0.25)


@pytest.mark.parametrize("kind", ["Bart", "T5", "GPT2"])
def test_classifiers_of_every_body_are_counted(kind: str) -> None:
    """Classifiers that look at the end of their text, by a decoder of their own or none, have activations."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=20, d_model=8, n_embd=8, d_kv=4, d_ff=8, num_layers=1, n_layer=1, n_head=2, num_heads=2,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=8, decoder_ffn_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    assert memory.activation_bytes(model, 12, 4) > 8 * 12 * 4


def test_a_model_that_cannot_be_counted_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a strange model raises while it is planned ends in a sentence with the way on."""

    def strange(*_: object, **__: object) -> None:
        raise IndexError("of its own")

    monkeypatch.setattr("lowland.planning.memory.training_memory", strange)
    config = build_config({"data": {"tasks": ["facts/continents"]}})
    with pytest.raises(UserError, match=r"cannot be estimated for embedded \(of its own\).*leave --plan out"):
        plan_experiment(config)


def test_checkpointing_keeps_less() -> None:
    """With checkpointing a pass keeps less, but more than one layer's share of what it keeps without."""
    model = load_model("embedded", dropout=0.1).model
    layers = model.config.num_layers + model.config.num_decoder_layers
    whole, kept = (
        memory.activation_bytes(model, 40, 8, checkpointed=checkpointed) for checkpointed in (False, True)
    )
    assert whole / layers < kept < whole


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
    # Step counters and scales are a few bytes a tensor.
    assert memory.optimizer_bytes(model, settings) == pytest.approx(held, rel=0.01)


def test_steps_tokens_and_evaluations_are_counted() -> None:
    """Tokens, epochs and evaluations follow from steps, batch and shape; the last step is evaluated."""
    plan = _planned(FACTS)
    assert plan.tokens == 30 * 32 * (16 + 8)
    assert plan.epochs == 30 * 32 / 640
    assert plan.evaluations == 5
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


def test_sam_takes_one_copy_of_the_weights() -> None:
    """SAM takes one copy of the weights more, without the table of embeddings, of which few rows move."""
    plan = _planned(FACTS)
    both = plan.memory
    standard = _planned(FACTS, {"arms": ["baseline"]}).memory
    assert both["weights"] == 4 * plan.parameters
    table = 4 * 4800 * 256  # of the embedded model, whose table is not tied
    assert sum(both.values()) - sum(standard.values()) == both["weights"] - table
    previous = _planned(FACTS, {"sam": {"direction": "previous"}}).memory
    assert sum(previous.values()) - sum(standard.values()) == both["weights"]
    micro = _planned(FACTS, {"train": {"micro_batch_size": 8}}).memory
    assert micro["activations"] == pytest.approx(both["activations"] / 4, rel=1e-6)  # rounded to whole bytes


def test_planning_leaves_random_streams_alone() -> None:
    """A plan draws nothing from the random stream that a run would then miss."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _planned(FACTS)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_experiment_without_data_or_weights_can_be_planned() -> None:
    """The paper's largest recipe is planned from published numbers, and said to be."""
    plan = plan_experiment(build_config(read_preset("paper-superglue-xl")))
    assert "as published" in plan.workload.uncounted
    assert sum(plan.workload.train.values()) == 185_673
    assert plan.workload.rates["superglue/record"] == pytest.approx(138_854 / 185_673)  # a division of floats
    assert "dpr" not in plan.workload.evaluation


def test_advice_is_given_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits needs no advice; what does not gets a size that fits, or the device that it needs."""
    plan = _planned(FACTS)
    assert plan.advice == ""
    each = plan.memory["activations"] / 32
    fixed = sum(plan.memory.values()) - plan.memory["activations"]
    for free, words in ((fixed + 11 * each, "--micro-batch-size 8,"), (fixed, "needs a device with")):
        # A tenth is left for what is not counted.
        monkeypatch.setattr(memory, "available_memory", lambda device, free=free: int(free / 0.9))
        assert words in _planned(FACTS).advice


def test_plan_prints_and_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plan` prints the plan and leaves no trace of a run."""
    words = ["compare", "facts/states", "--steps", "40", "--plan", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    text = capsys.readouterr().out
    for expected in (
        "40 steps of 32 examples",
        "adafactor at 0.005",
        "rho 0.15, ascent 0.25, m 1",
        "M weights",
        "tokens an example",
        "free",
    ):
        assert expected in text
    assert not (tmp_path / "run").exists()


def test_the_sentence_of_the_papers_readers_works(capsys: pytest.CaptureFixture[str]) -> None:
    """`lowland compare superglue --preset paper-base --plan` says what it takes, with nothing at hand."""
    assert main(["compare", "superglue", "--preset", "paper-base", "--plan"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in (
        "247.6M weights",
        "250,000 steps of 128",
        "185,673 for training, as published",
        "at most",
    ):
        assert expected in text

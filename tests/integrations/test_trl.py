"""SAM in TRL's trainers: their steps, counters and metrics are their own, and the examples are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lowland import SAMConfig

pytest.importorskip("trl")

import trl
from peft import LoraConfig
from tests.integrations.toys import CHECKPOINTING, distance, same, weights
from tests.integrations.trl_runs import KINDS, data, figures, lengths, trained, trainer, update
from tests.integrations.words import tokenizer

# TRL asks transformers under names that transformers has replaced.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning"),
]

SLOW = pytest.mark.slow

# fp32 sums of a few hundred terms in another order, relative to the norm of what is compared.
ROUNDING = 1e-5


def lora() -> dict[str, Any]:
    """Options for adapters and checkpointing, as they are used with large models."""
    config = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"])
    return {"peft_config": config, CHECKPOINTING: True}


def watched(kind: str, seen: list[list[str]]) -> Any:
    """One of TRL's trainers that writes down the texts of which it computes the loss."""

    class Watched(getattr(trl, f"{kind}Trainer")):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            ids = inputs["input_ids"] if "input_ids" in inputs else inputs["completion_ids"]
            seen.append(tokenizer().batch_decode(ids, skip_special_tokens=True))
            return super().compute_loss(model, inputs, *args, **kwargs)

    return Watched


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=SLOW if kind in ("KTO", "RLOO") else ()) for kind in KINDS],
)
def test_rho_zero_is_the_stock_trainer(kind: str, tmp_path: Path) -> None:
    """At rho = 0, dropout on, weights and all figures are those of the stock trainer, bit for bit."""
    stock = trained(kind, tmp_path, None, dropout=0.1)
    sam = trained(kind, tmp_path, SAMConfig(rho=0.0), dropout=0.1)
    assert same(weights(sam.model), weights(stock.model))
    assert figures(sam) == figures(stock)


@pytest.mark.parametrize("kind", ["SFT", *(pytest.param(kind, marks=SLOW) for kind in ("DPO", "GRPO"))])
def test_adapters_and_checkpointing(kind: str, tmp_path: Path) -> None:
    """With LoRA and checkpointing rho = 0 is the stock trainer, and rho > 0 moves the adapters by rho."""
    stock = trained(kind, tmp_path, None, **lora())
    off = trained(kind, tmp_path, SAMConfig(rho=0.0), **lora())
    on = trained(kind, tmp_path, SAMConfig(rho=0.05), **lora())
    assert same(weights(off.model), weights(stock.model)) and figures(off) == figures(stock)
    assert not same(weights(on.model), weights(stock.model))
    # In the first step of GRPO all rewards of a group are equal: no gradient, and no direction.
    radii = [entry["radius"] for entry in on.state.log_history if entry.get("grad_norm")]
    assert radii == pytest.approx([0.05] * len(radii), rel=1e-4) and radii  # fp32


@pytest.mark.parametrize(
    "options", [{}, {"packing": True, "max_length": 24}, lora()], ids=["rows", "packed", "adapters"]
)
def test_accumulation(options: dict[str, Any], tmp_path: Path) -> None:
    """SFT in micro-batches of one takes the step of the whole batch, with the same count of tokens."""
    kinds = {"max_steps": 1, **options}
    whole = trained("SFT", tmp_path, SAMConfig(rho=0.05, ascent=0.5), per_device_train_batch_size=4, **kinds)
    cut = trained(
        "SFT",
        tmp_path,
        SAMConfig(rho=0.05, ascent=0.5),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=4,
        **kinds,
    )
    assert distance(weights(cut.model), weights(whole.model)) < ROUNDING
    assert figures(cut)[0]["num_tokens"] == figures(whole)[0]["num_tokens"]
    if not options.get("packing"):
        assert cut.state.log_history[0]["ascent_norm"] == pytest.approx(
            whole.state.log_history[0]["ascent_norm"], rel=1e-4
        )


@pytest.mark.parametrize("kind", ["DPO", "Reward"])
def test_pairs(kind: str, tmp_path: Path) -> None:
    """The ascent climbs on whole pairs, the first ones, and pairs in micro-batches give the whole step."""
    seen: list[list[str]] = []
    sam = SAMConfig(rho=0.05, ascent=0.5)
    whole = trained(kind, tmp_path, sam, watched(kind, seen), max_steps=1)
    ascent, descent = seen
    assert ascent == descent[:2] + descent[4:6]
    assert all("and long" in text or "very" in text for text in ascent[2:])  # the rejected ones
    small = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    seen.clear()
    cut = trained(kind, tmp_path, sam, watched(kind, seen), max_steps=1, **small)
    assert [len(texts) for texts in seen] == [2] * 6  # two pairs of the ascent, four of the descent
    assert distance(update(cut, kind), update(whole, kind)) < ROUNDING


@SLOW
def test_pairs_with_figures_of_the_reference(tmp_path: Path) -> None:
    """Likelihoods of the reference, one a pair, go with their pairs."""
    sam = SAMConfig(rho=0.05)
    asked = trained("DPO", tmp_path, sam, max_steps=1)
    known = trained("DPO", tmp_path, sam, max_steps=1, precompute_ref_log_probs=True)
    assert distance(update(known, "DPO"), update(asked, "DPO")) < ROUNDING


def test_padding_free(tmp_path: Path) -> None:
    """Sequences in one row without padding take the step of the same sequences in rows."""
    seen: list[list[str]] = []
    sam = SAMConfig(rho=0.05, ascent=0.5)
    rows = trained("SFT", tmp_path, sam, max_steps=1)
    options = {"padding_free": True, "max_length": None}
    free = trained("SFT", tmp_path, sam, watched("SFT", seen), max_steps=1, **options)
    assert distance(update(free, "SFT"), update(rows, "SFT")) < ROUNDING
    ascent, descent = (texts[0] for texts in seen)
    assert ascent.count("the film was") == 2 and descent.startswith(ascent)


def test_packing(tmp_path: Path) -> None:
    """With packing, too, the ascent takes whole sequences, and rho = 0 is the stock trainer."""
    seen: list[list[str]] = []
    packed = {"packing": True, "max_length": 24, "max_steps": 1, "per_device_train_batch_size": 2}
    trained("SFT", tmp_path, SAMConfig(rho=0.05), watched("SFT", seen), **packed)
    ascent, descent = (texts[0] for texts in seen)
    assert ascent.count("the film was") == round(descent.count("the film was") / 4) > 0
    assert descent.startswith(ascent + " the film was")
    stock = trained("SFT", tmp_path, None, **packed)
    assert same(weights(trained("SFT", tmp_path, SAMConfig(rho=0.0), **packed).model), weights(stock.model))


OFTEN: list[Any] = [{}, {"steps_per_generation": 2}, {"num_iterations": 2}]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GRPO", OFTEN[0]),
        ("GRPO", OFTEN[1]),
        pytest.param("GRPO", OFTEN[2], marks=SLOW),
        *(pytest.param("RLOO", options, marks=SLOW) for options in OFTEN),
    ],
    ids=str,
)
def test_generations(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """With accumulation, completions are generated when the stock trainer generates, and are the same."""
    runs: list[tuple[list[list[str]], list[int]]] = []
    small = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "max_steps": 2, **options}
    for sam in (None, SAMConfig(rho=0.0)):
        seen: list[list[str]] = []
        asked: list[int] = []

        def reward(completions: list[str], asked: list[int] = asked, **columns: Any) -> list[float]:
            asked.append(len(completions))
            return lengths(completions)

        made = trained(kind, tmp_path, sam, watched(kind, seen), reward=reward, **small)
        ascents = slice(None) if sam is None else slice(1, None)  # the first pass of a step is the ascent
        runs.append((seen[: len(seen) // 2][ascents] + seen[len(seen) // 2 :][ascents], asked))
        assert made._step == 8
    (stock, asked_by_stock), (ours, asked_by_us) = runs
    assert asked_by_us == asked_by_stock
    assert [sorted(texts) for texts in ours[:4]] == [sorted(texts) for texts in stock[:4]]


@pytest.mark.parametrize(
    "kind", ["SFT", *(pytest.param(kind, marks=SLOW) for kind in ("DPO", "KTO", "GRPO"))]
)
def test_figures_of_the_ascent_are_left_out(kind: str, tmp_path: Path) -> None:
    """With rho > 0 the first step's counts are the stock trainer's, and its metrics have as many entries."""
    stock = trained(kind, tmp_path, None, max_steps=1)
    sam = trained(kind, tmp_path, SAMConfig(rho=0.05), max_steps=1)
    assert figures(sam)[0].keys() == figures(stock)[0].keys()
    assert figures(sam)[0]["num_tokens"] == figures(stock)[0]["num_tokens"]


@SLOW
def test_resume(tmp_path: Path) -> None:
    """SFT with LoRA, stopped and resumed from its checkpoint, ends where the uninterrupted run ends."""
    changes = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "optim": "adamw_torch", **lora()}
    through = trained("SFT", tmp_path, SAMConfig(rho=0.05), **changes)
    again = trainer("SFT", tmp_path, SAMConfig(rho=0.05), **{**changes, **lora()})
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same(weights(again.model), weights(through.model))


def test_reentrant_checkpointing(tmp_path: Path) -> None:
    """Reentrant checkpointing, which hides weights from the ascent, ends in a sentence with TRL's option."""
    options = {CHECKPOINTING: True, f"{CHECKPOINTING}_kwargs": {"use_reentrant": True}}
    with pytest.raises(ValueError, match=r"gradient_checkpointing_kwargs=\{'use_reentrant': False\}"):
        trained("SFT", tmp_path, SAMConfig(rho=0.05), max_steps=1, **options)


@SLOW
def test_metrics_of_an_evaluation(tmp_path: Path) -> None:
    """An evaluation has TRL's metrics under its prefix, and none of SAM's figures."""
    made = trainer("SFT", tmp_path, SAMConfig(rho=0.05), eval_strategy="no")
    made.train()
    scores = made.evaluate(data("SFT", 4))
    assert torch.isfinite(torch.tensor(scores["eval_loss"]))
    assert "eval_entropy" in made.state.log_history[-1] and "radius" not in made.state.log_history[-1]

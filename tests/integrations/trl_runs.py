"""TRL's trainers on tiny random models, a few steps each. TRL must be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from tests.integrations.toys import CHECKPOINTING, moves, weights
from tests.integrations.words import BAD, GOOD, WORDS, tokenizer
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

import lowland
from lowland import SAMConfig

KINDS = ("SFT", "DPO", "KTO", "Reward", "GRPO", "RLOO")
TIMES = ("runtime", "per_second", "step_time", "ascent_", "radius", "moved", "cosine")
"""Parts of the names of figures that are not compared."""


QUIET: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "seed": 3,
}
"""Arguments of a short run on the CPU."""


def model(kind: str, dropout: float = 0.0) -> Any:
    """A random Llama of some thousand parameters."""
    made = LlamaForSequenceClassification if kind == "Reward" else LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        attention_dropout=dropout,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        num_labels=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return made(config)


def loaded(kind: str, folder: Path, dropout: float) -> Any:
    """The same from a folder, from which trainers load a second one for reference."""
    model(kind, dropout).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    return type(model(kind)).from_pretrained(folder / "model")


def data(kind: str, count: int = 16) -> Dataset:
    """Rows of very different lengths, in the columns that a trainer wants."""
    made = []
    for i in range(count):
        one, other = GOOD[i % 3], BAD[(i // 3) % 3]
        row = {
            "prompt": "the film was",
            "chosen": f" {one}" + " and good" * (i % 4),
            "rejected": f" very {other}" + " and long" * (i % 3),
            "completion": f" {one}" + " and very warm" * (i % 5),
            "label": i % 2 == 0,
        }
        wanted = {"SFT": ("prompt", "completion"), "KTO": ("prompt", "completion", "label")}
        made.append({name: row[name] for name in wanted.get(kind, ("prompt", "chosen", "rejected"))})
        if kind in ("GRPO", "RLOO"):
            made[-1] = {"prompt": "the film was" + " very" * (i % 3)}
    return Dataset.from_list(made)


def lengths(completions: list[str], **columns: Any) -> list[float]:
    """A reward: completions with many different words are good."""
    return [float(len(set(text.split()))) for text in completions]


def trainer(
    kind: str, folder: Path, sam: SAMConfig | None, base: Any = None, dropout: float = 0.0, **changes: Any
) -> Any:
    """One of TRL's trainers, with SAM if there are settings of it."""
    base = getattr(trl, f"{kind}Trainer") if base is None else base
    options: dict[str, Any] = {"peft_config": changes.pop("peft_config", None)}
    if kind in ("GRPO", "RLOO"):
        options["reward_funcs"] = changes.pop("reward", lengths)
        changes = {"num_generations": 2, "max_completion_length": 6, **changes}
    settings: dict[str, Any] = {
        **QUIET,
        "output_dir": str(folder),
        CHECKPOINTING: False,
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "learning_rate": 0.05,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
    }
    if sam is not None:
        base, options["sam"] = lowland.sam_trainer(base), sam
    return base(
        loaded(kind, folder, dropout),
        args=getattr(trl, f"{kind}Config")(**(settings | changes)),
        train_dataset=data(kind),
        processing_class=tokenizer(),
        **options,
    )


def trained(*args: Any, **changes: Any) -> Any:
    """A trainer that has trained."""
    made = trainer(*args, **changes)
    made.train()
    return made


def update(made: Any, kind: str) -> list[Tensor]:
    """How far training has taken the weights."""
    return moves(weights(made.model), weights(model(kind)))


def figures(made: Any) -> list[dict[str, float]]:
    """What was logged, without times and SAM's own figures."""
    return [
        {name: value for name, value in entry.items() if not any(time in name for time in TIMES)}
        for entry in made.state.log_history
    ]

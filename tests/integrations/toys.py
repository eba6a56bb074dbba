"""Tiny random models of several kinds, their batches, and Trainers over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Seq2SeqTrainer,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

import lowland

Row = dict[str, Tensor]
KINDS = ("t5", "gpt2", "llama", "bert")
# Its name in newer and in older versions of transformers.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)
SAMTrainer = lowland.sam_trainer(Trainer)


class SAMSeq2SeqTrainer(lowland.SAMTrainerMixin, Seq2SeqTrainer):
    """As the documentation writes it."""


def tiny(kind: str, dropout: float = 0.1, seed: int = 0) -> PreTrainedModel:
    """A random model of some thousand parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        match kind:
            case "t5":
                return T5ForConditionalGeneration(
                    T5Config(
                        vocab_size=32,
                        d_model=16,
                        d_kv=4,
                        d_ff=32,
                        num_layers=1,
                        num_heads=4,
                        dropout_rate=dropout,
                        decoder_start_token_id=0,
                    )
                )
            case "gpt2":
                return GPT2LMHeadModel(
                    GPT2Config(
                        vocab_size=32,
                        n_positions=16,
                        n_embd=16,
                        n_layer=1,
                        n_head=2,
                        resid_pdrop=dropout,
                        embd_pdrop=dropout,
                        attn_pdrop=dropout,
                        bos_token_id=0,
                        eos_token_id=0,
                    )
                )
            case "llama":
                return LlamaForCausalLM(
                    LlamaConfig(
                        vocab_size=32,
                        hidden_size=16,
                        intermediate_size=32,
                        num_hidden_layers=1,
                        num_attention_heads=2,
                        max_position_embeddings=16,
                        attention_dropout=dropout,
                    )
                )
            case "bert":
                return BertForSequenceClassification(
                    BertConfig(
                        vocab_size=32,
                        hidden_size=16,
                        num_hidden_layers=1,
                        num_attention_heads=2,
                        intermediate_size=32,
                        max_position_embeddings=16,
                        num_labels=3,
                        hidden_dropout_prob=dropout,
                        attention_probs_dropout_prob=dropout,
                    )
                )
    raise ValueError(kind)


class Rows(Dataset[Row]):
    """Examples in memory."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def rows(kind: str, count: int = 16, seed: int = 1) -> Rows:
    """Random examples, with very different numbers of target tokens where targets are texts."""
    generator = torch.Generator().manual_seed(seed)
    made: list[Row] = []
    for index in range(count):
        ids = torch.randint(1, 32, (8,), generator=generator)
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if kind == "bert":
            row["labels"] = torch.tensor(index % 3)
        else:
            targets = torch.randint(1, 32, (8,), generator=generator)
            labels = targets if kind == "t5" else ids.clone()
            labels[[8, 2, 5, 3][index % 4] :] = -100
            row["labels"] = labels
        if kind == "t5":  # label smoothing takes the labels out, which T5 would make these of
            row["decoder_input_ids"] = labels.clamp(min=0).roll(1).index_fill(0, torch.tensor(0), 0)
        made.append(row)
    return Rows(made)


def batch_of(data: Rows, count: int, start: int = 0) -> Row:
    """The examples from `start` on as one batch."""
    chosen = data.rows[start : start + count]
    return {name: torch.stack([row[name] for row in chosen]) for name in chosen[0]}


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Arguments for a quiet run on the CPU in the order of the data, with SGD and without clipping."""
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 3,
    }
    return TrainingArguments(**(settings | changes))


def weights(model: nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    """Whether two lists of tensors are equal bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def distance(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The greatest difference of two lists of tensors, relative to the norm of the second."""
    norm = max(float(b.norm()) for b in right)
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True)) / norm


def moves(after: Sequence[Tensor], before: Sequence[Tensor]) -> list[Tensor]:
    """What training did to each parameter."""
    return [a - b for a, b in zip(after, before, strict=True)]

"""Tiny random models of every kind that people fine-tune, with tokenizers made on the spot."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.fixtures.models import tokenizer_of, word_tokenizer, write_checkpoint
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lowland.models.load import quiet_transformers

WRITERS = ("t5", "mt5", "bart")
CAUSAL = ("llama", "qwen3", "gpt2", "gemma")
CLASSIFIERS = ("bert", "modernbert", "deberta-v2", "roberta")

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gemma": "GemmaForCausalLM",
    "bert": "BertForMaskedLM",
    "modernbert": "ModernBertForMaskedLM",
    "deberta-v2": "DebertaV2ForMaskedLM",
    "roberta": "RobertaForMaskedLM",
}


def byte_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes with the special tokens of a decoder (opening only) or an encoder (both)."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {
        piece: i for i, piece in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    around = "<s> $A </s>" if kind in CLASSIFIERS else "<s> $A"
    if kind != "gpt2":
        pair = "<s> $A </s> $B:1 </s>:1" if kind in CLASSIFIERS else "<s> $A $B"
        special_tokens = [("<s>", 0), ("</s>", 2)]
        tokenizer.post_processor = TemplateProcessing(single=around, pair=pair, special_tokens=special_tokens)
    padding: dict[str, Any] = {} if kind in ("gpt2", "llama") else {"pad_token": "<pad>"}
    if kind in CLASSIFIERS:
        padding |= {"cls_token": "<s>", "sep_token": "</s>"}
    if kind == "bert":
        padding |= {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    found = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", **padding
    )
    if kind in CAUSAL:
        found.chat_template = CHAT
    return found


def shape_of(kind: str) -> dict[str, Any]:
    """The fields of a configuration with a few thousand weights."""
    shared: dict[str, Any] = {
        "vocab_size": 260,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    match kind:
        case "gpt2":
            return {
                "vocab_size": 260, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256,
                "bos_token_id": 0, "eos_token_id": 2,
            }  # fmt: skip
        case "llama":
            return shared | {"num_key_value_heads": 1, "pad_token_id": None}
        case "qwen3" | "gemma":
            return shared | {"num_key_value_heads": 1, "head_dim": 8}
        case "modernbert":
            return shared | {"local_attention": 16, "cls_token_id": 0, "sep_token_id": 2}
        case "roberta":
            return shared | {"max_position_embeddings": 130, "type_vocab_size": 1}
        case "deberta-v2":
            return shared | {
                "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
                "max_position_embeddings": 128, "type_vocab_size": 0,
            }  # fmt: skip
    return shared | {"max_position_embeddings": 128}


def write_model(folder: Path, kind: str, **changes: Any) -> Path:
    """Writes a random checkpoint, as transformers does; `changes` go to its configuration."""
    if kind in WRITERS:
        write_checkpoint(folder, kind, **changes)
        return folder
    model_class = getattr(transformers, CLASSES[kind])
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(0)
        model = model_class(model_class.config_class(**(shape_of(kind) | changes)))
        model.save_pretrained(folder)
        byte_tokenizer(kind).save_pretrained(folder)
    return folder


def write_rows(folder: Path, number: int = 24, labels: tuple[str, str] = ("one", "two")) -> list[str]:
    """Writes training and evaluation rows; gives the options that name them."""
    draw = random.Random(0)
    for name, size in (("train.csv", number), ("dev.csv", 8)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for row in range(size):
                word = draw.choice(["big", "small"])
                writer.writerow([f"the {word} cat {row}", labels[word == "big"]])
    return [
        "--train", str(folder / "train.csv"), "--eval", str(folder / "dev.csv"),
        "--input", "{text}", "--target", "{label}",
    ]  # fmt: skip


__all__ = ["CAUSAL", "CLASSIFIERS", "WRITERS", "tokenizer_of", "word_tokenizer", "write_model", "write_rows"]

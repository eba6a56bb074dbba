"""Tiny random checkpoints of several kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BertConfig,
    ByT5Tokenizer,
    EncoderDecoderConfig,
    MT5Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
    UMT5Config,
)

from lowland.models import LoadedModel, build_model, quiet_transformers

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "big", "small", "one", "two", "three", "true", "false"]
T5_SHAPE: dict[str, Any] = {
    "vocab_size": 384,  # ByT5's
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
T5_KINDS = ("t5", "t5.1.1", "mt5", "umt5")
OTHER_KINDS = ("bart", "bert2bert")


def tiny_config(kind: str) -> PreTrainedConfig:
    """A configuration with a few thousand parameters."""
    vocabulary = len(word_tokenizer("bart"))
    bert = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    match kind:
        case "t5":
            return T5Config(**T5_SHAPE, feed_forward_proj="relu")
        case "t5.1.1":
            return T5Config(**T5_SHAPE, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        case "mt5":
            return MT5Config(**T5_SHAPE, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        case "umt5":
            return UMT5Config(**T5_SHAPE, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        case "bart":
            return BartConfig(
                vocab_size=vocabulary,
                d_model=16,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=32,
                decoder_ffn_dim=32,
                max_position_embeddings=64,
                pad_token_id=0,
                bos_token_id=3,
                eos_token_id=1,
                decoder_start_token_id=1,
            )
        case "bert2bert":
            return EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**bert), BertConfig(**bert))
    raise ValueError(kind)


def word_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that adds the special tokens which BART, BERT, T5 or GPT-2 (none) adds."""
    opening, closing = ("[CLS]", "[SEP]") if kind == "bert2bert" else ("<s>", "</s>")
    words = ["<pad>", closing, "<unk>", opening, *WORDS]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    templates = {
        "bart": f"{opening} $A {closing}",
        "bert2bert": f"{opening} $A {closing}",
        "umt5": f"$A {closing}",
    }
    if kind in templates:
        tokenizer.post_processor = TemplateProcessing(
            single=templates[kind], special_tokens=[(opening, 3), (closing, 1)]
        )
    names = {"bert2bert": {"cls_token": opening, "sep_token": closing}, "bart": {"bos_token": opening}}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        **({"eos_token": closing} if kind != "bert2bert" else {}),
        **names.get(kind, {}),
    )


def tokenizer_of(kind: str) -> PreTrainedTokenizerBase:
    """The tokenizer that goes with `tiny_config(kind)`."""
    return ByT5Tokenizer() if kind in ("t5", "t5.1.1", "mt5") else word_tokenizer(kind)


def tiny_model(kind: str, seed: int = 0) -> PreTrainedModel:
    """A random model, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(tiny_config(kind))


def tiny_loaded(kind: str, seed: int = 0) -> LoadedModel:
    """A random model with its tokenizer, as if it had been loaded."""
    model = tiny_model(kind, seed)
    if kind == "bert2bert":
        for settings in (model.config, model.generation_config):
            settings.pad_token_id, settings.eos_token_id, settings.decoder_start_token_id = 0, 1, 3
    return LoadedModel(model=model, tokenizer=tokenizer_of(kind), name=kind)


def write_checkpoint(directory: Path, kind: str, **changes: Any) -> PreTrainedModel:
    """Writes a random checkpoint by transformers' own means; `changes` go to config.json (None deletes)."""
    model = tiny_model(kind)
    with quiet_transformers():
        model.save_pretrained(directory)
        tokenizer_of(kind).save_pretrained(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return model


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    """The logits for two fixed inputs, in evaluation mode (2 x 4 x vocabulary)."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 3], [10, 11, 12, 3, 0, 0]])
    model.eval()
    with torch.no_grad():
        outputs = model(input_ids=ids, attention_mask=(ids != 0).long(), decoder_input_ids=ids[:, :4])
    logits: torch.Tensor = outputs.logits
    return logits

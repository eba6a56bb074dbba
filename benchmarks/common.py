"""What the benchmarks share: a model, batches, and a place for the figures."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, T5Config

from lowland import SAMConfig, SAMGradient
from lowland.families.encoder_decoder import target_logits
from lowland.models.head import build_model
from lowland.models.load import load_model
from lowland.runs.environment import describe_environment
from lowland.train.loss import BatchLoss, token_loss
from lowland.train.machine import resolve_precision
from lowland.train.settings import Precision

SHAPES = ("embedded", "t5-v1_1-small", "mt5-small")


def model_of(shape: str, device: torch.device) -> PreTrainedModel:
    """The embedded model, or one of another shape with random weights; dropout 0.1, training mode."""
    if shape == "embedded":
        model = load_model("embedded", dropout=0.1).model
    else:
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=250112 if shape == "mt5-small" else 32128,
            d_model=512,
            d_ff=1024,
            d_kv=64,
            num_heads=6,
            num_layers=8,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=0,
            dropout_rate=0.1,
        )
        model = build_model(config)
    return model.to(device).train()


def batch_of(
    model: PreTrainedModel, examples: int, input_length: int, target_length: int, seed: int = 0
) -> dict[str, Tensor]:
    """A batch of random tokens without padding."""
    generator = torch.Generator().manual_seed(seed)
    words = int(model.config.vocab_size) - 200
    return {
        "input_ids": torch.randint(2, words, (examples, input_length), generator=generator).to(model.device),
        "attention_mask": torch.ones(examples, input_length, dtype=torch.long, device=model.device),
        "labels": torch.randint(2, words, (examples, target_length), generator=generator).to(model.device),
    }


def loss_of(model: PreTrainedModel, bf16: bool) -> BatchLoss:
    """The training loss as `lowland compare` computes it; its `module` is the model to hand to a gradient."""
    return loss_maker(model)(model.device, bf16=bf16, z_loss=1e-4)


def loss_maker(model: PreTrainedModel) -> Callable[..., BatchLoss]:
    """What makes the loss of an encoder-decoder without a tokenizer, as `EncoderDecoder.loss` does."""

    def make(device: torch.device, *, bf16: bool = False, wrap: Any = None, **terms: Any) -> BatchLoss:
        def compute(module: Any, batch: dict[str, Tensor]) -> Tensor:
            return token_loss(target_logits(model, module, batch), batch["labels"], **terms)

        return BatchLoss(wrap(model) if wrap else model, compute, device, bf16=bf16)

    return make


def sam_of(module: nn.Module | list[nn.Parameter], measure: bool = False, **settings: Any) -> SAMGradient:
    """SAM with a rho of 0.05; by default in a step that is not logged, and measures nothing."""
    sam = SAMGradient(module, SAMConfig(rho=0.05, **settings))
    sam.measure = measure
    return sam


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Gives the seconds that some work takes: on GPUs between two events on the device, else by the clock."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def parser_of(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument(
        "--keep-memory", action="store_true", help="keep freed memory, as the command line does"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="auto: bf16 autocast where the machine computes it well, else fp32",
    )
    return parser


def precision_of(options: argparse.Namespace) -> str:
    """Gives `fp32` or `bf16`."""
    return resolve_precision(options.precision, torch.device(options.device))


def numbers_like(example: str) -> Callable[[str], tuple[int, ...]]:
    """Makes a reader of words such as `32x64/8`, that gives their numbers."""
    pattern = re.compile(re.sub(r"[0-9]+", r"([0-9]+)", example))

    def read(word: str) -> tuple[int, ...]:
        found = pattern.fullmatch(word)
        if found is None:
            raise argparse.ArgumentTypeError(f"must be like {example}, not {word!r}")
        return tuple(map(int, found.groups()))

    return read


def finish(name: str, rows: list[dict[str, Any]], path: Path | None) -> None:
    """Writes the figures with the environment that they are from."""
    if path is not None:
        record = {"benchmark": name, "environment": describe_environment(), "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

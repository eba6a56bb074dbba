"""Cuts layers and rare pieces out of a T5.1.1 checkpoint, to go on pre-training a smaller one.

    python tools/smaller_model.py models/large models/small --decoder-layers 1 --pieces 7580
    lowland pretrain wikipedia.txt --model models/small

Of the vocabulary the pieces stay that were most probable when it was made; a piece of one character always
stays, as nothing else could write it. What is left computes something else than the whole did, so that it is
worth little before it was trained further.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lowland.errors import UserError
from lowland.models import LoadedModel, load_model, save_model
from lowland.models.build import build_model
from lowland.models.head import is_t5
from lowland.pretraining.settings import ROWS
from lowland.pretraining.vocabulary import load_vocabulary, sentinel_ids


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("model", help="a folder with a checkpoint, or embedded")
    parser.add_argument("out", type=Path, help="a new folder for the smaller one")
    for stack in ("encoder", "decoder"):
        parser.add_argument(
            f"--{stack}-layers",
            type=_layers,
            metavar="N|A,B",
            help="how many from the bottom, or which (from 0)",
        )
    parser.add_argument("--pieces", type=int, metavar="N", help="pieces of the vocabulary that stay")
    arguments = parser.parse_args(words)
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    try:
        cut(
            load_model(arguments.model, dropout=0.0),
            arguments.out,
            encoder=arguments.encoder_layers,
            decoder=arguments.decoder_layers,
            pieces=arguments.pieces,
        )
    except (UserError, ValueError) as error:
        parser.error(str(error))
    print(f"{arguments.out}: lowland pretrain TEXT --model {arguments.out}")
    return 0


def cut(
    loaded: LoadedModel,
    out: Path,
    *,
    encoder: Sequence[int] | int | None = None,
    decoder: Sequence[int] | int | None = None,
    pieces: int | None = None,
) -> None:
    """Writes a smaller model with its smaller tokenizer.

    Args:
        loaded: A T5 model and its tokenizer.
        out: Where to.
        encoder: Layers of the encoder that stay: how many from the bottom, or their numbers; `None` for all.
        decoder: Layers of the decoder that stay.
        pieces: Pieces of the vocabulary that stay, sentinels left out; `None` for all.

    Raises:
        ValueError: If a layer is not there, or so few pieces cannot be.
    """
    if not is_t5(loaded.model):
        raise ValueError("The model is no T5.")
    large = loaded.model
    kept = {
        "encoder": _kept(encoder, large.config.num_layers, "encoder"),
        "decoder": _kept(decoder, large.config.num_decoder_layers, "decoder"),
    }
    rows = _cut_vocabulary(loaded, out, pieces)
    config = type(large.config).from_dict(large.config.to_dict())
    config.num_layers, config.num_decoder_layers = len(kept["encoder"]), len(kept["decoder"])
    config.vocab_size = -(-len(rows) // ROWS) * ROWS
    small = build_model(config)
    _copy(large, small, kept, rows)
    save_model(LoadedModel(model=small, tokenizer=load_vocabulary(out), name=out.name), out, overwrite=True)


def _layers(word: str) -> list[int] | int:
    """Reads `2` as two layers, `0,3` as these."""
    return [int(part) for part in word.split(",") if part] if "," in word else int(word)


def _kept(wanted: Sequence[int] | int | None, layers: int, stack: str) -> list[int]:
    numbers = (
        list(range(layers if wanted is None else wanted))
        if not isinstance(wanted, Sequence)
        else list(wanted)
    )
    if not numbers or numbers != sorted(set(numbers)) or not 0 <= numbers[0] <= numbers[-1] < layers:
        raise ValueError(f"Invalid layers of the {stack}: {wanted!r}. It has {layers}, counted from 0.")
    return numbers


def _cut_vocabulary(loaded: LoadedModel, out: Path, pieces: int | None) -> list[int]:
    """Writes the tokenizer with fewer pieces; gives the rows of the embeddings that stay."""
    tokenizer = loaded.tokenizer
    content = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]  # of fast ones
    vocabulary = content["model"]["vocab"]  # [piece, log probability], by id
    special = {entry["id"] for entry in content["added_tokens"]}
    ordinary = [id for id in range(len(vocabulary)) if id not in special]
    # Padding, EOS and the unknown piece count as pieces, as SentencePiece counts.
    spare = len(vocabulary) - len(sentinel_ids(tokenizer)) - (pieces or len(vocabulary))
    long = sorted((id for id in ordinary if len(vocabulary[id][0]) > 1), key=lambda id: vocabulary[id][1])
    if spare > len(long):
        raise ValueError(
            f"Invalid {pieces=}. So many are single characters, special or none: {len(vocabulary)}."
        )
    dropped = set(long[: max(spare, 0)])
    rows = [id for id in range(len(vocabulary)) if id not in dropped]
    content["model"]["vocab"] = [vocabulary[id] for id in rows]
    for entry in content["added_tokens"]:
        entry["id"] = rows.index(entry["id"])
    tokenizer.save_pretrained(out)
    (out / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (out / "spiece.model").unlink(missing_ok=True)  # it holds the whole vocabulary
    return rows


@torch.no_grad()
def _copy(
    large: PreTrainedModel, small: PreTrainedModel, kept: dict[str, list[int]], rows: list[int]
) -> None:
    """Copies weights; the bias of relative positions stays in each stack's first layer."""
    for getter in ("get_input_embeddings", "get_output_embeddings"):
        target: Tensor = getattr(small, getter)().weight
        target.zero_()
        target[: len(rows)] = getattr(large, getter)().weight[rows]
    for stack, numbers in kept.items():
        source: nn.Module = getattr(large, stack)
        target_stack: nn.Module = getattr(small, stack)
        for place, number in enumerate(numbers):
            target_stack.block[place].load_state_dict(source.block[number].state_dict(), strict=False)  # type: ignore[index,union-attr]
        # T5's lowest layer alone has it, for all of its stack.
        bias = "layer.0.SelfAttention.relative_attention_bias.weight"
        if bias not in source.block[numbers[0]].state_dict():  # type: ignore[index,union-attr]
            target_stack.block[0].get_parameter(bias).copy_(source.block[0].get_parameter(bias))  # type: ignore[index,union-attr]
        target_stack.final_layer_norm.load_state_dict(source.final_layer_norm.state_dict())  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())

"""Cuts layers, hidden units and rare pieces out of a T5.1.1 checkpoint, to go on pre-training a smaller one.

    python tools/smaller_model.py models/large models/small --feed-forward 384 --pieces 4700
    lowland pretrain wikipedia.txt --model models/small

Of the vocabulary the pieces stay that were most probable when it was made; a piece of one character always
stays, as nothing else could write it. Of a feed-forward network's hidden units those stay whose weights, in
and out, multiply to the largest norms. What is left computes something else than the whole did, so that it is
worth little before it was trained further.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lowland.errors import UserError
from lowland.models import LoadedModel, build_model, load_model, save_model
from lowland.pretraining.run import ROWS
from lowland.pretraining.spans import sentinel_ids
from lowland.pretraining.vocabulary import load_vocabulary


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
            help="how many from the bottom, or which, counted from 0 (`3,` is the fourth alone)",
        )
    parser.add_argument(
        "--feed-forward", type=int, metavar="N", help="hidden units of each feed-forward network that stay"
    )
    parser.add_argument("--pieces", type=int, metavar="N", help="pieces of the vocabulary that stay")
    arguments = parser.parse_args(words)
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    try:
        smaller = cut(
            load_model(arguments.model, dropout=None),
            encoder=arguments.encoder_layers,
            decoder=arguments.decoder_layers,
            feed_forward=arguments.feed_forward,
            pieces=arguments.pieces,
        )
        save_model(smaller, arguments.out)
    except (UserError, ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{arguments.out}: lowland pretrain TEXT --model {arguments.out}")
    return 0


def cut(
    large: LoadedModel,
    *,
    encoder: Sequence[int] | int | None = None,
    decoder: Sequence[int] | int | None = None,
    feed_forward: int | None = None,
    pieces: int | None = None,
) -> LoadedModel:
    """Gives a smaller model with its smaller tokenizer.

    Args:
        large: A T5, T5.1.1 or mT5 model and its tokenizer.
        encoder: Layers of the encoder that stay: how many from the bottom, or their numbers; `None` for all.
        decoder: Layers of the decoder that stay.
        feed_forward: Hidden units of each feed-forward network that stay; `None` for all.
        pieces: Pieces of the vocabulary that stay, sentinels left out; `None` for all.

    Raises:
        ValueError: If it is another model, a layer or a unit is not there, or so few pieces cannot be.
    """
    config = large.model.config
    if config.model_type not in ("t5", "mt5"):
        raise ValueError(f"The model is of the type {config.model_type}; it must be T5, T5.1.1 or mT5.")
    kept = {
        "encoder": _kept(encoder, config.num_layers, "encoder"),
        "decoder": _kept(decoder, config.num_decoder_layers, "decoder"),
    }
    units = config.d_ff if feed_forward is None else feed_forward
    if not 1 <= units <= config.d_ff:
        raise ValueError(f"Invalid {feed_forward=}. Must be from 1 to {config.d_ff}.")
    rows, tokenizer = list(range(config.vocab_size)), large.tokenizer
    if pieces is not None:
        rows, tokenizer = _cut_vocabulary(large.tokenizer, pieces)
        padding = range(len(large.tokenizer), config.vocab_size)
        # Rows that stand for nothing were trained to be improbable.
        rows += padding[: -len(rows) % ROWS]
    smaller = type(config).from_dict(config.to_dict())
    smaller.num_layers, smaller.num_decoder_layers = len(kept["encoder"]), len(kept["decoder"])
    smaller.vocab_size, smaller.d_ff = len(rows), units
    model = build_model(smaller)
    _copy(large.model, model, kept, rows)
    return LoadedModel(model=model, tokenizer=tokenizer, name=large.name)


def _layers(word: str) -> list[int] | int:
    """Reads `2` as two layers, `0,3` as these."""
    try:
        return [int(part) for part in word.split(",") if part] if "," in word else int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{word!r} is neither a number of layers nor a list like 0,3"
        ) from None


def _kept(wanted: Sequence[int] | int | None, layers: int, stack: str) -> list[int]:
    numbers = (
        list(wanted) if isinstance(wanted, Sequence) else list(range(layers if wanted is None else wanted))
    )
    if not numbers or numbers != sorted(set(numbers)) or not 0 <= numbers[0] <= numbers[-1] < layers:
        raise ValueError(
            f"Invalid layers of the {stack}: {wanted!r}. It has {layers}; name each once, ascending, from 0."
        )
    return numbers


def _cut_vocabulary(
    tokenizer: PreTrainedTokenizerBase, pieces: int
) -> tuple[list[int], PreTrainedTokenizerBase]:
    """Gives the rows of the embeddings that stay, and the tokenizer with their pieces."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend is not None else {"model": {"type": "none"}}
    if content["model"]["type"] != "Unigram" or len(content["model"]["vocab"]) != len(tokenizer):
        raise ValueError("The tokenizer is no SentencePiece unigram alone, of which pieces could be cut.")
    vocabulary = content["model"]["vocab"]  # [piece, log probability], by id
    special = {entry["id"] for entry in content["added_tokens"]}
    long = [id for id in range(len(vocabulary)) if id not in special and len(vocabulary[id][0]) > 1]
    # Padding, EOS and the unknown piece count as pieces, as SentencePiece counts.
    there = len(vocabulary) - len(sentinel_ids(tokenizer))
    if not there - len(long) <= pieces <= there:
        raise ValueError(f"Invalid {pieces=}. Must be from {there - len(long)} to {there}.")
    dropped = set(sorted(long, key=lambda id: vocabulary[id][1])[: there - pieces])
    rows = [id for id in range(len(vocabulary)) if id not in dropped]
    content["model"]["vocab"] = [vocabulary[id] for id in rows]
    for entry in content["added_tokens"]:
        entry["id"] = rows.index(entry["id"])
    with tempfile.TemporaryDirectory() as aside:
        tokenizer.save_pretrained(aside)
        (Path(aside) / "spiece.model").unlink(missing_ok=True)  # it holds the whole vocabulary
        text = json.dumps(content, ensure_ascii=False)
        (Path(aside) / "tokenizer.json").write_text(text, encoding="utf-8")
        return rows, load_vocabulary(Path(aside))


@torch.no_grad()
def _copy(
    large: PreTrainedModel, small: PreTrainedModel, kept: dict[str, list[int]], rows: list[int]
) -> None:
    """Copies weights; the bias of relative positions stays in each stack's first layer."""
    for getter in ("get_input_embeddings", "get_output_embeddings"):
        getattr(small, getter)().weight.copy_(getattr(large, getter)().weight[rows])
    weights = large.state_dict()
    for stack, numbers in kept.items():
        target: nn.Module = getattr(small, stack)
        for name, weight in target.state_dict().items():
            if name == "embed_tokens.weight":
                continue
            part, _, rest = name.partition(".")
            if part == "block":
                place, _, rest = rest.partition(".")
                # T5's lowest layer alone has the bias, for all of its stack.
                number = 0 if "relative_attention_bias" in rest else numbers[int(place)]
                rest = f"{number}.{rest}"
            whole = weights[f"{stack}.{part}.{rest}"]
            before, network, matrix = f"{stack}.{part}.{rest}".partition("DenseReluDense.")
            if network:
                units = _strongest(weights, before + network, small.config.d_ff)
                whole = whole[:, units] if matrix == "wo.weight" else whole[units]
            weight.copy_(whole)


def _strongest(weights: Mapping[str, torch.Tensor], network: str, count: int) -> torch.Tensor:
    """Gives the hidden units, in their order, that the network can say most with."""
    strength = weights[f"{network}wo.weight"].float().norm(dim=0)  # (d_ff,)
    for name, weight in weights.items():
        if name.startswith(f"{network}wi"):
            strength = strength * weight.float().norm(dim=1)
    return strength.topk(count).indices.sort().values


if __name__ == "__main__":
    sys.exit(main())

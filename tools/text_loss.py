"""Measures models of the T5 family as language models, on documents that pre-training kept apart.

    python tools/text_loss.py wikipedia.txt embedded runs/smaller/model --validation-documents 150

A model's loss per target token times its tokens, for each word of the text: so that models of different
vocabularies can be compared. The documents are those that `lowland pretrain` keeps apart by its default seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from lowland.cli.console import quiet_libraries
from lowland.errors import UserError
from lowland.families.encoder_decoder import EncoderDecoder
from lowland.models import load_model
from lowland.pretraining.run import split_documents
from lowland.pretraining.settings import PretrainSettings
from lowland.pretraining.spans import SpanCorruption
from lowland.pretraining.text import fixed_batches, mean_loss, read_documents, tokenise
from lowland.train import resolve_precision


def held_out(file: Path, count: int) -> list[str]:
    """Reads the documents of a text that pre-training keeps apart."""
    documents = list(read_documents([file]))
    _, kept = split_documents(len(documents), count, seed=0)
    return [documents[place] for place in kept]


def nats_a_word(model: str, documents: Sequence[str]) -> float:
    """Computes the loss of a model on texts, by span corruption as `lowland pretrain` does it."""
    loaded = load_model(model, dropout=None)
    tokens = tokenise(documents, loaded.tokenizer)
    corruption = SpanCorruption(loaded.tokenizer, PretrainSettings().input_length)
    batches = fixed_batches(tokens, corruption, batch_size=64, most=2000)
    cpu = torch.device("cpu")
    with torch.no_grad():
        loss = mean_loss(
            EncoderDecoder(loaded).loss(cpu, bf16=resolve_precision("auto", cpu) == "bf16"), batches
        )
    return loss * sum(map(len, tokens)) / sum(len(document.split()) for document in documents)


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="text file; blank lines part documents")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a folder with a checkpoint, or embedded")
    parser.add_argument("--validation-documents", type=int, default=100, metavar="N")
    options = parser.parse_args(words)
    quiet_libraries()
    try:
        documents = held_out(options.text, options.validation_documents)
        for model in options.models:
            print(f"{nats_a_word(model, documents):.3f} nats a word: {model}", flush=True)
    except (UserError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

"""Measures models of the T5 family as language models, on documents that pre-training kept apart.

    python tools/text_loss.py wikipedia.txt embedded runs/smaller/model --validation-documents 150

A model's loss per target token times its tokens, for each word of the text: so that models of different
vocabularies can be compared. The documents are those that `lowland pretrain` keeps apart by its default seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lowland.cli.console import quiet_libraries
from lowland.errors import UserError
from lowland.models import load_model
from lowland.pretraining.batches import SpanCorruption, validation_batches
from lowland.pretraining.corpus import Corpus, read_documents, tokenise
from lowland.pretraining.run import split_documents, validation_loss
from lowland.pretraining.settings import PretrainSettings
from lowland.pretraining.vocabulary import sentinel_ids
from lowland.train import resolve_precision


def held_out(file: Path, count: int) -> list[str]:
    """Reads the documents of a text that pre-training keeps apart."""
    documents = list(read_documents([file]))
    places = Corpus(tokens=np.empty(0, np.uint16), ends=np.arange(len(documents)))
    _, kept = split_documents(places, PretrainSettings(validation_documents=count))
    return [documents[place] for place in kept]


def nats_a_word(model: str, documents: Sequence[str]) -> float:
    """Computes the loss of a model on texts, by span corruption as `lowland pretrain` does it."""
    loaded = load_model(model, dropout=None)
    if not (sentinels := sentinel_ids(loaded.tokenizer)):
        raise UserError(f"The vocabulary of {model} has no sentinels, which span corruption needs.")
    settings = PretrainSettings()
    corruption = SpanCorruption(
        sentinels,
        int(loaded.tokenizer.eos_token_id),
        input_length=settings.input_length,
        density=settings.noise_density,
        mean_span=settings.mean_noise_span,
    )
    corpus = tokenise(iter(documents), loaded.tokenizer)
    batches = validation_batches(corpus, np.arange(len(corpus.ends)), corruption, batch_size=64, most=2000)
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    loss = validation_loss(loaded.model, batches, bf16=bf16)
    return loss * len(corpus.tokens) / sum(len(document.split()) for document in documents)


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

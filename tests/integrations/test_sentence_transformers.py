"""SAM in sentence-transformers' trainer, whose losses are over the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.toys import same, weights

import lowland
from lowland import SAMConfig

pytest.importorskip("sentence_transformers")

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.integrations.words import WORDS, tokenizer
from transformers import BertConfig, BertModel

LOSSES: dict[str, Any] = {
    "negatives": losses.MultipleNegativesRankingLoss,
    "cached": lambda model: losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2),
    "cosine": losses.CosineSimilarityLoss,
    "classes": lambda model: losses.SoftmaxLoss(model, 16, 3),
}


def encoder(folder: Path) -> SentenceTransformer:
    """A random BERT of some thousand parameters, with the mean over its tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder / "bert")
    tokenizer().save_pretrained(folder / "bert")
    return SentenceTransformer(modules=[Transformer(str(folder / "bert")), Pooling(16)], device="cpu")


def data(name: str) -> Dataset:
    """Pairs of sentences, with what the loss wants besides."""
    words = WORDS[3:]
    rows = [
        {"one": " ".join(words[i % 5 :][:3]), "other": " ".join(words[i % 7 :][:4]), "label": i % 3}
        for i in range(24)
    ]
    if name == "cosine":
        return Dataset.from_list([{**row, "label": row["label"] / 2} for row in rows])
    dataset = Dataset.from_list(rows)
    return dataset if name == "classes" else dataset.remove_columns("label")


def trained(name: str, folder: Path, sam: SAMConfig | None, size: int = 8) -> Any:
    """A trainer that has trained for four steps."""
    model = encoder(folder)
    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        per_device_train_batch_size=size,
        max_steps=4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    torch.manual_seed(1)  # SoftmaxLoss has weights of its own
    made = SentenceTransformerTrainer if sam is None else lowland.sam_trainer(SentenceTransformerTrainer)
    options = {} if sam is None else {"sam": sam}
    trainer = made(model, args, train_dataset=data(name), loss=LOSSES[name](model), **options)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "negatives" else pytest.mark.slow) for name in LOSSES]
)
def test_rho_zero_is_the_stock_trainer(name: str, tmp_path: Path) -> None:
    """At rho = 0 the weights are the stock trainer's bit for bit, and at rho > 0 they are moved by rho."""
    stock = trained(name, tmp_path, None)
    assert same(weights(trained(name, tmp_path, SAMConfig(rho=0.0)).model), weights(stock.model))
    sam = trained(name, tmp_path, SAMConfig(rho=0.05))
    radii = [entry["radius"] for entry in sam.state.log_history if "radius" in entry]
    assert radii == pytest.approx([0.05] * 4, rel=1e-4)  # fp32


def test_in_batch_negatives_need_an_ascent_of_two(tmp_path: Path) -> None:
    """With one ascent pair, which has no negatives, SAM is off, and says so with the setting to change."""
    with pytest.warns(UserWarning, match=r"ascent examples \(1 of 4\) is zero.*ascent_examples="):
        trained("negatives", tmp_path, SAMConfig(rho=0.05), size=4)
    sam = trained("negatives", tmp_path, SAMConfig(rho=0.05, ascent_examples=2), size=4)
    assert all(entry["radius"] for entry in sam.state.log_history if "radius" in entry)

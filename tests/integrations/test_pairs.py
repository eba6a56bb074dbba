"""Batches in two halves are recognised by who makes them, and cut in both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BatchEncoding

from lowland.batches.batch import batch_size, cut
from lowland.integrations.examples import Pairs, examples_of

BATCH: dict[str, Any] = {
    "input_ids": torch.arange(12).view(6, 2),
    "attention_mask": torch.ones(6, 2),
    "margin": torch.arange(3.0),
    "texts": ["a", "b", "c", "d", "e", "f"],
    "use_cache": False,
    "scale": torch.tensor(2.0),
    "nothing": None,
}


def maker(name: str, module: str, *bases: type) -> type:
    """A class of that name in that module."""
    return type(name, bases, {"__module__": module, "data_collator": None})


DPO = maker("DPOTrainer", "trl.trainer.dpo_trainer")
PAIRED = {
    "trl": DPO,
    "derived": maker("MyTrainer", "__main__", DPO),
    "unsloth": maker("_UnslothRewardTrainer", "UnslothRewardTrainer"),
    "llama-factory": maker("PairwiseTrainer", "llamafactory.train.rm.trainer"),
}
PLAIN = {
    "another's of the same name": maker("RewardTrainer", "my_project.train"),
    "sft": maker("SFTTrainer", "trl.trainer.sft_trainer"),
}


@pytest.mark.parametrize("made", PAIRED.values(), ids=PAIRED)
def test_makers_of_pairs(made: type) -> None:
    """Trainers of TRL, what is derived or made of them, and of LLaMA-Factory have pairs for examples."""
    assert isinstance(examples_of(made(), BATCH), Pairs)
    columns = {"input_ids_chosen": torch.zeros(2), "input_ids_rejected": torch.zeros(2)}
    assert examples_of(made(), columns) is columns


@pytest.mark.parametrize("made", PLAIN.values(), ids=PLAIN)
def test_makers_of_rows(made: type) -> None:
    """Other trainers have rows for examples, whatever the name of their class."""
    assert examples_of(made(), BATCH) is BATCH


def test_collators_of_pairs() -> None:
    """A collator of pairs makes a plain Trainer's batches pairs, too."""
    trainer = maker("Trainer", "transformers.trainer")()
    trainer.data_collator = maker("PairwiseDataCollatorWithPadding", "llamafactory.data.collator")()
    assert isinstance(examples_of(trainer, BATCH), Pairs)


@pytest.mark.parametrize("made", [dict, BatchEncoding])
def test_both_halves_are_cut(made: type) -> None:
    """A range of pairs has both texts of each, figures of a pair once, and everything else as it was."""
    pairs = Pairs(made(BATCH))
    assert batch_size(pairs) == 3
    (taken,) = cut([pairs], 1, 3)
    assert type(taken.inputs) is made
    assert taken.inputs["input_ids"].tolist() == [[2, 3], [4, 5], [8, 9], [10, 11]]
    assert taken.inputs["margin"].tolist() == [1, 2]
    assert taken.inputs["texts"] == ["b", "c", "e", "f"]
    assert (
        taken.inputs["use_cache"] is False and taken.inputs["scale"] == 2 and taken.inputs["nothing"] is None
    )
    assert cut([pairs, pairs], 0, 3)[0] is pairs


def test_parts_of_other_lengths() -> None:
    """What has neither a row a text nor one a pair is named, with the way out."""
    with pytest.raises(ValueError, match=r"'patches' has 7 rows in a batch of 3 pairs.*Whole\(inputs\)"):
        Pairs({**BATCH, "patches": torch.zeros(7, 2)})[0:1]

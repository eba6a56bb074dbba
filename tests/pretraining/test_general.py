"""The loss on general text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.families.tiny import write_model

from lowland.errors import UserError
from lowland.families.recognise import load_family
from lowland.pretraining.general import GeneralText
from lowland.pretraining.text import cut, read_documents, tokenise

TEXT = "\n\n".join(
    f"The river number {number} rises in the hills and runs to the sea, past {number + 2} towns and a mill."
    for number in range(40)
)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A plain text of forty documents."""
    file = tmp_path / "general.txt"
    file.write_text(TEXT)
    return file


def test_causal_models_are_asked_for_the_next_token(text: Path, tmp_path: Path) -> None:
    """The loss of a causal model is the mean of transformers' own over the same pieces."""
    family = load_family(str(write_model(tmp_path / "model", "llama")))
    found = GeneralText(text, pieces=7, length=32, batch_size=3)(family)
    pieces = cut(tokenise(read_documents([text]), family.tokenizer), 32)
    model = family.loaded.model.eval()
    losses = []
    for piece in pieces[:7]:
        ids = torch.from_numpy(piece)[None]
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    # Sums in fp32, in another order.
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_encoder_decoders_are_asked_for_spans(text: Path) -> None:
    """The loss is that of transformers on the same spans, always the same, and a spoilt model has more."""
    family = load_family("embedded")
    general = GeneralText(text, pieces=9, length=48, batch_size=4)
    found = general(family)
    batches = general.batches(family)
    assert batches is not None
    assert [len(batch["labels"]) for batch in batches] == [4, 4, 1]
    with torch.no_grad():
        losses = [float(family.loaded.model(**batch).loss) * len(batch["labels"]) for batch in batches]
    # Sums in fp32, in another order.
    assert found == pytest.approx(sum(losses) / 9, rel=1e-4)
    assert found == GeneralText(text, pieces=9, length=48, batch_size=4)(family)
    with torch.no_grad():
        for parameter in family.loaded.model.parameters():
            parameter.mul_(0.5)
    after = general(family)
    assert after is not None and found is not None and after > found + 0.5


def test_others_are_left_out(text: Path, tmp_path: Path) -> None:
    """A model without sentinels has no such loss, and a text shorter than a piece is refused."""
    family = load_family(str(write_model(tmp_path / "bart", "bart")))
    assert GeneralText(text)(family) is None
    causal = load_family(str(write_model(tmp_path / "llama", "llama")))
    with pytest.raises(UserError, match=r"general\.txt has fewer than 100000 tokens"):
        GeneralText(text, length=100_000)(causal)
    with pytest.raises(UserError, match="cannot be read"):
        GeneralText(tmp_path / "none.txt")

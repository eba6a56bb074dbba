"""The loss on general text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.families.tiny import write_model

from lowland.comparison.outcomes import EVERY, SPAN, general_loss, read_text
from lowland.errors import UserError
from lowland.families.recognise import load_family


def pieces(family: object, length: int = 128) -> torch.Tensor:
    """The package's text in pieces, without lowland."""
    ids = family.tokenizer(read_text(""), add_special_tokens=False)["input_ids"]  # type: ignore[attr-defined]
    return torch.tensor(ids[: len(ids) // length * length]).reshape(-1, length)


@pytest.mark.filterwarnings("ignore:Token indices")
def test_causal_models_are_asked_for_the_next_token(tmp_path: Path) -> None:
    """The loss of a causal model is the mean of transformers' own over the same pieces."""
    family = load_family(str(write_model(tmp_path / "model", "llama")))
    found = general_loss(family, read_text(""), batch_size=5)
    with torch.no_grad():
        length, _ = family.lengths(128, 128)
        rows = pieces(family, length)[:128]
        losses = [float(family.loaded.model(input_ids=row[None], labels=row[None]).loss) for row in rows]
    # Sums in fp32, in another order.
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_encoder_decoders_are_asked_for_spans() -> None:
    """The loss is that of transformers on 3 of every 20 tokens, and a spoilt model has more."""
    family = load_family("embedded")
    found = general_loss(family, read_text(""))
    sentinel = family.tokenizer.convert_tokens_to_ids("<extra_id_0>")
    losses = []
    for row in pieces(family):
        inputs, targets, at = [], [], 0
        for number, start in enumerate(range(10, 125, 20)):
            inputs += [*row[at:start].tolist(), sentinel - number]
            targets += [sentinel - number, *row[start : start + 3].tolist()]
            at = start + 3
        ids = torch.tensor([[*inputs, *row[at:].tolist(), 1]])
        with torch.no_grad():
            losses.append(
                float(family.loaded.model(input_ids=ids, labels=torch.tensor([[*targets, 1]])).loss)
            )
    assert (EVERY, SPAN) == (20, 3)
    # Sums in fp32, in another order.
    assert found == pytest.approx(np.mean(losses), rel=1e-4)
    with torch.no_grad():
        for parameter in family.loaded.model.parameters():
            parameter.mul_(0.5)
    after = general_loss(family, read_text(""))
    assert after is not None and found is not None and after > found + 0.5


def test_others_are_left_out(tmp_path: Path) -> None:
    """A model without sentinels has no such loss."""
    assert general_loss(load_family(str(write_model(tmp_path / "bart", "bart"))), "Some text.") is None


def test_own_text(tmp_path: Path) -> None:
    """A user's text is read as it is, if it is long enough; else one sentence says what is wrong."""
    file = tmp_path / "short.txt"
    file.write_text("\n" * 300)
    with pytest.raises(UserError, match=r"short\.txt has fewer than 200 characters"):
        read_text(str(file))
    file.write_text("The river was warm, and the cat sat on the mat. " * 5)
    loss = general_loss(load_family(str(write_model(tmp_path / "model", "llama"))), read_text(str(file)))
    assert loss is not None and 0 < loss < 20
    with pytest.raises(UserError, match=r"none\.txt cannot be read"):
        read_text(str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="fewer than 20 tokens"):
        general_loss(load_family("embedded"), "Some text.")

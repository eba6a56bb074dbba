"""Language modelling of models with different vocabularies, on one text."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pretraining.texts import write_text
from tools.text_loss import held_out, main, nats_a_word

from lowland.pretraining.text import read_documents


def test_documents_are_those_kept_apart(tmp_path: Path) -> None:
    """As many documents as asked for are taken, each of the text, the same ones every time."""
    file = write_text(tmp_path / "text.txt", documents=30)
    documents = held_out(file, 5)
    assert len(documents) == 5 and set(documents) < set(read_documents([file]))
    assert held_out(file, 5) == documents


def test_loss_counts_words_of_the_text() -> None:
    """The same text is the more costly the less it is like what the model was trained on."""
    text = "the town lies on the river and is the seat of the district . " * 30
    noise = "zq xk vbj wqp rrt fgh kjl mnb pqo zxc vvb hhj . " * 30
    assert 0 < nats_a_word("embedded", [text]) < nats_a_word("embedded", [noise])


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Too few documents and a model that is not there end with exit code 2 and a sentence."""
    file = write_text(tmp_path / "text.txt", documents=30)
    for words, said in (
        ([str(file), "embedded", "--validation-documents", "30"], "30 document(s), parted by blank lines"),
        ([str(file), str(tmp_path / "none"), "--validation-documents", "3"], "none"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2 and said in capsys.readouterr().err

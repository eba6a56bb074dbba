"""Saving is all or nothing, and the fingerprint tells states apart."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
import torch
from tests.fixtures.models import OTHER_KINDS, T5_KINDS, logits_of, tiny_loaded
from torch import nn

from lowland.errors import UserError
from lowland.models.load import load_model
from lowland.models.save import save_model, weights_sha256


@pytest.mark.parametrize("kind", [*T5_KINDS, *OTHER_KINDS])
def test_round_trip(kind: str, tmp_path: Path) -> None:
    """Every kind of model comes back with the same state, logits and tokens."""
    loaded = tiny_loaded(kind)
    save_model(loaded, tmp_path / "model")
    again = load_model(str(tmp_path / "model"), dropout=None)
    assert weights_sha256(again.model) == weights_sha256(loaded.model)
    assert torch.equal(logits_of(again.model), logits_of(loaded.model))
    text = "the big cat sat on a mat"
    assert again.tokenizer(text)["input_ids"] == loaded.tokenizer(text)["input_ids"]


def test_nothing_private_is_written(tmp_path: Path) -> None:
    """Where a model was read from is not in the files of its next save."""
    loaded = load_model("embedded", dropout=0.1)
    save_model(loaded, tmp_path / "model")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        text = (tmp_path / "model" / name).read_text()
        assert "embedded" not in text and "local_files_only" not in text


def test_a_full_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory that holds something is not written to unless that is asked for."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        save_model(tiny_loaded("t5"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_empty_directory_is_taken(tmp_path: Path) -> None:
    """An empty directory is used."""
    (tmp_path / "model").mkdir()
    save_model(tiny_loaded("t5"), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_overwriting_replaces_everything(tmp_path: Path) -> None:
    """Overwriting leaves the new checkpoint alone in the directory, and nothing beside it."""
    directory = tmp_path / "model"
    save_model(tiny_loaded("t5", seed=1), directory)
    (directory / "old.txt").touch()
    save_model(tiny_loaded("t5", seed=2), directory, overwrite=True)
    assert not (directory / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    expected = weights_sha256(tiny_loaded("t5", seed=2).model)
    assert weights_sha256(load_model(str(directory), dropout=None).model) == expected


@pytest.mark.parametrize("failing", ["save_pretrained", "rename"])
def test_interrupted_save_keeps_the_old_checkpoint(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save that fails, while writing or while renaming, leaves the old checkpoint whole and no rubbish."""
    directory = tmp_path / "model"
    save_model(tiny_loaded("t5", seed=1), directory)
    loaded = tiny_loaded("t5", seed=2)
    if failing == "save_pretrained":

        def fail(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(loaded.tokenizer, "save_pretrained", fail)
    else:
        rename, failed = Path.rename, []

        def fail_at_last(self: Path, target: Path) -> Path:
            if target == directory and not failed:
                failed.append(self)
                raise KeyboardInterrupt
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_at_last)
    with pytest.raises(KeyboardInterrupt):
        save_model(loaded, directory, overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    expected = weights_sha256(tiny_loaded("t5", seed=1).model)
    assert weights_sha256(load_model(str(directory), dropout=None).model) == expected


class Small(nn.Module):
    """A parameter, a buffer and a scalar buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4.0))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("rounded", torch.ones(3, dtype=torch.bfloat16))


def test_fingerprint_is_a_hash_of_names_and_bytes() -> None:
    """The fingerprint is SHA-256 over names, types, shapes and bytes, whatever the memory layout."""
    expected = hashlib.sha256(
        b"count torch.int64 ()\n"
        + struct.pack("<q", 7)
        + b"rounded torch.bfloat16 (3,)\n"
        + bytes.fromhex("803f") * 3
        + b"weight torch.float32 (4,)\n"
        + struct.pack("<4f", 0, 1, 2, 3)
    ).hexdigest()
    model = Small()
    assert weights_sha256(model) == expected
    model.weight = nn.Parameter((torch.arange(8.0) // 2)[::2])
    assert not model.weight.is_contiguous()
    assert weights_sha256(model) == expected


def test_fingerprint_sees_every_bit() -> None:
    """A change of one bit in a parameter, of a buffer, or of the sign of a zero changes the fingerprint."""
    seen = {weights_sha256(Small())}
    changed = Small()
    with torch.no_grad():
        changed.weight[3] = torch.nextafter(changed.weight[3], torch.tensor(9.0))
    seen.add(weights_sha256(changed))
    changed = Small()
    changed.count += 1
    seen.add(weights_sha256(changed))
    changed = Small()
    with torch.no_grad():
        changed.weight[0] = -0.0
    seen.add(weights_sha256(changed))
    assert len(seen) == 4

"""What a pre-training is, so that a directory goes on with the same one or is refused."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
import torch

from lowland.errors import UserError
from lowland.files import fingerprint, remove, write_atomic
from lowland.models import LoadedModel, load_model, save_model, weights_sha256
from lowland.models.head import is_t5
from lowland.pretraining.corpus import text_sha256
from lowland.pretraining.settings import PretrainSettings, ShapeSettings
from lowland.pretraining.vocabulary import load_vocabulary, sentinel_ids

FILE = "pretraining.toml"
ELSEWHERE = "Give another directory with --out."


def identity_of(
    settings: PretrainSettings,
    files: Sequence[Path],
    *,
    arm: str,
    vocabulary: Path | None,
    model: str | None,
    dtype: torch.dtype | None,
) -> dict[str, Any]:
    """Says what a run is: settings, text, and the type that its weights are left in.

    A checkpoint's name stands for its shape and vocabulary; its weights, like a given vocabulary, are
    compared with those that the run has kept.

    Args:
        settings: What decides the outcome.
        files: Text files; their content counts, their names do not.
        arm: `baseline` or `sam`.
        vocabulary: Directory of a tokenizer; `None` where one is trained or `model` gives it.
        model: The checkpoint to begin with; `None` for random weights.
        dtype: What the weights of the final model are cast to; `None` for fp32.

    Raises:
        UserError: If a text file cannot be read.
    """
    plain = settings.to_dict()
    saved = "bf16" if dtype == torch.bfloat16 else "fp32"
    identity: dict[str, Any] = {"settings": plain, "arm": arm, "text": text_sha256(files), "save_as": saved}
    settled: tuple[str, ...] = ()
    if model is not None:
        identity["model"] = model
        settled = ("pieces", "fold_case", "vocabulary_lines", "shape")
    elif vocabulary is not None:
        identity["vocabulary"] = "given"
        settled = ("pieces", "fold_case", "vocabulary_lines")
    for name in settled:
        del plain[name]
    return identity


def own_directory(identity: Mapping[str, Any]) -> Path:
    """Names the directory of a run for which none is given."""
    parts = ["pretrain", identity["arm"], fingerprint(identity)]
    if "model" in identity:
        model = Path(identity["model"])
        # A run leaves its checkpoint in a folder of this name.
        parts.insert(1, model.resolve().parent.name if model.name == "model" else model.name)
    return Path("runs") / "-".join(parts)


def claim(path: Path, identity: Mapping[str, Any]) -> None:
    """Makes a directory that of a run, or finds that it is.

    What another call left there that had not begun to train, for want of text for instance, gives way.

    Raises:
        UserError: If it holds another run, or something else.
    """
    file = path / FILE
    if not file.exists():
        if any(found.name[0] != "." for found in path.iterdir()):
            raise UserError(f"{path} exists and holds no pre-training. {ELSEWHERE}")
    else:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        if found == tomllib.loads(tomli_w.dumps(identity)):
            return
        if any(path.glob("*-seed*")):
            other = ", ".join(
                sorted(name for name in {*found, *identity} if found.get(name) != identity.get(name))
            )
            raise UserError(f"{path} holds a pre-training with other settings ({other}). {ELSEWHERE}")
        for name in ("vocabulary", "start", "corpus"):
            remove(path / name)
    write_atomic(file, tomli_w.dumps(identity).encode())


def keep_start(model: str, kept: Path) -> None:
    """Copies the checkpoint to begin with into the run, which goes on whatever becomes of it.

    Raises:
        UserError: If it cannot be loaded or pre-trained, or is not the one that the run began with.
    """
    if kept.exists():
        if Path(model).is_dir():
            now, then = (weights_sha256(load_model(name, dropout=None).model) for name in (model, str(kept)))
            if now != then:
                raise UserError(
                    f"{kept.parent} holds a pre-training from another checkpoint than {model} holds now. "
                    f"{ELSEWHERE}"
                )
        return
    loaded = load_model(model, dropout=None)
    if not is_t5(loaded.model) or not sentinel_ids(loaded.tokenizer):
        raise UserError(
            f"{model} cannot be pre-trained further, for it is no T5 whose vocabulary ends in sentinels "
            "(..., <extra_id_1>, <extra_id_0>)."
        )
    save_model(loaded, kept)


def refuse_other_vocabulary(vocabulary: Path, kept: Path) -> None:
    """Refuses another vocabulary than the one that a run has kept; the folder that it came from may be gone.

    Raises:
        UserError: If it is another one, or cannot be loaded.
    """
    if kept.exists() and vocabulary.exists():
        now, then = (load_vocabulary(folder).get_vocab() for folder in (vocabulary, kept))
        if now != then:
            raise UserError(f"{kept.parent} holds a pre-training with another vocabulary. {ELSEWHERE}")


def as_model(settings: PretrainSettings, start: LoadedModel) -> PretrainSettings:
    """Gives the settings with a checkpoint's shape and vocabulary in the place of their own."""
    pieces = len(start.tokenizer) - len(sentinel_ids(start.tokenizer))
    return dataclasses.replace(settings, shape=ShapeSettings.of(start.model.config), pieces=pieces)

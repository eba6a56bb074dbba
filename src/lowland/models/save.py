"""Save a model so that any transformers program can load it, and a fingerprint of its weights."""

from __future__ import annotations

import copy
import hashlib
import shutil
import uuid
from pathlib import Path

import torch
from torch import nn

from lowland.errors import UserError
from lowland.models.load import LoadedModel
from lowland.models.quiet import quiet_transformers


def save_model(
    loaded: LoadedModel, directory: str | Path, *, dtype: torch.dtype | None = None, overwrite: bool = False
) -> None:
    """Writes model, tokenizer and generation settings to a directory, all or nothing.

    Everything is written beside the directory first and then renamed into place, so that an
    interrupted save never leaves half a checkpoint under the final name.

    Args:
        loaded: The model and its tokenizer.
        directory: Where to; made if it does not exist.
        dtype: What the written weights are cast to; `None` writes them as they are.
        overwrite: Whether a directory that holds something is replaced as a whole.

    Raises:
        UserError: If the directory holds something and `overwrite` is false.
    """
    directory = Path(directory)
    occupied = directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    if occupied and not overwrite:
        raise UserError(
            f"Cannot save the model to {str(directory)!r}, which is not empty; give a new directory."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = directory.with_name(f".{directory.name}-{uuid.uuid4().hex}")
    old = aside.with_name(f"{aside.name}-old")
    model = loaded.model
    if dtype is not None:
        model = copy.deepcopy(model)
        nn.Module.to(model, dtype)
    try:
        with quiet_transformers():
            model.save_pretrained(aside)
            loaded.tokenizer.save_pretrained(aside)
        if occupied:
            directory.rename(old)
        aside.rename(directory)
    except BaseException:
        if old.exists() and not directory.exists():
            old.rename(directory)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def weights_sha256(model: nn.Module) -> str:
    """Fingerprints all parameters and buffers of a model's state.

    Names, types, shapes and bytes are hashed in the order of the names; tied weights count under
    each of their names. The device does not matter.

    Args:
        model: Any module.

    Returns:
        64 hexadecimal digits, equal if and only if the states are equal bit for bit.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # Through bytes, because NumPy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

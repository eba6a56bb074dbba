"""Save a model so that any transformers program can load it, and a fingerprint of its weights."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lowland.errors import UserError
from lowland.files import aside_of, put_in_place, remove, system_errors, write_sums
from lowland.models.load import BASE_CONFIG, LoadedModel, quiet_transformers


def save_model(loaded: LoadedModel, directory: str | Path, *, overwrite: bool = False) -> None:
    """Writes model, tokenizer and generation settings to a directory, with checksums, all or nothing."""
    directory = Path(directory)
    occupied = directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    if occupied and not overwrite:
        raise UserError(
            f"Cannot save the model to {str(directory)!r}, which is not empty; give a new directory."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(directory)
    model: Any = loaded.model
    try:
        with quiet_transformers(), system_errors(aside):
            model.save_pretrained(aside)
            if not isinstance(model, PreTrainedModel):  # adapters, whose model has labels of its own
                config = copy.deepcopy(model.config)
                config.architectures = [type(model.get_base_model()).__name__]
                config.to_json_file(aside / BASE_CONFIG)
            loaded.tokenizer.save_pretrained(aside)
        write_sums(aside)
        put_in_place(aside, directory)
    finally:
        remove(aside)


def weights_sha256(model: nn.Module) -> str:
    """Fingerprints the names, types, shapes and bytes of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # Through bytes, because NumPy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

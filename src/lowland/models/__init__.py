"""Sequence-to-sequence models: load a checkpoint, build one from a configuration, save one."""

from lowland.models.build import build_model
from lowland.models.load import LoadedModel, load_model
from lowland.models.save import save_model, weights_sha256

__all__ = ["LoadedModel", "build_model", "load_model", "save_model", "weights_sha256"]

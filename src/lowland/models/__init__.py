"""Sequence-to-sequence models: load a checkpoint, build one from a configuration, save one."""

from lowland.models.build import build_model
from lowland.models.load import LoadedModel, load_model
from lowland.models.quiet import quiet_transformers
from lowland.models.save import save_model, weights_sha256

__all__ = ["LoadedModel", "build_model", "load_model", "quiet_transformers", "save_model", "weights_sha256"]

"""Language models: load a checkpoint, build one, and save one."""

from lowland.models.checkpointing import checkpoint_layers
from lowland.models.head import build_model
from lowland.models.load import EMBEDDED, Kind, LoadedModel, load_model, read_config, resolve
from lowland.models.quiet import quiet_transformers
from lowland.models.save import save_model, weights_sha256

__all__ = [
    "EMBEDDED",
    "Kind",
    "LoadedModel",
    "build_model",
    "checkpoint_layers",
    "load_model",
    "quiet_transformers",
    "read_config",
    "resolve",
    "save_model",
    "weights_sha256",
]

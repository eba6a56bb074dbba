"""Gradient checkpointing: memory for time."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from lowland.errors import UserError


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Lets a model that is trained whole keep only the inputs of its layers, and compute the rest again.

    The recomputation is not reentrant: SAM refuses the reentrant kind, which hides weights from its ascent.
    """
    if not model.supports_gradient_checkpointing:
        name = type(model).__name__
        raise UserError(
            f"{name} does not support gradient checkpointing; leave out --gradient-checkpointing."
        )
    enable: Any = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 6 on
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    # These hooks are for frozen embeddings; here the embeddings are trained.
    model.disable_input_require_grads()

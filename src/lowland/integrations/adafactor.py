"""AdaFactor with T5's settings, which the Trainer's `optim="adafactor"` does not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers.optimization import Adafactor


def t5_adafactor(model: nn.Module, learning_rate: float = 1e-3) -> Adafactor:
    """Builds AdaFactor as T5 is fine-tuned with: `Trainer(..., optimizers=(t5_adafactor(model), None))`.

    The Trainer's own `optim="adafactor"` sets `scale_parameter=False`: the learning rate is then that of the
    steps themselves, and not relative to the size of each weight. T5 also keeps it constant
    (`lr_scheduler_type="constant"`) and does not clip the gradient (`max_grad_norm=0`).

    Source:
        Shazeer and Stern (2018); T5's fine-tuning settings.
    """
    from transformers.optimization import Adafactor

    if not learning_rate >= 0:
        raise ValueError(f"Invalid {learning_rate=}. Must be >= 0.")
    return Adafactor(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        scale_parameter=True,
        relative_step=False,
        warmup_init=False,
    )

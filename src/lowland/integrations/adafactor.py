"""AdaFactor with T5's settings, which the Trainer's `optim="adafactor"` does not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers.optimization import Adafactor


def t5_adafactor(model: nn.Module, learning_rate: float = 1e-3) -> Adafactor:
    """Builds AdaFactor as T5 is fine-tuned with: `Trainer(..., optimizers=(t5_adafactor(model), None))`.

    The Trainer's own `optim="adafactor"` always sets `scale_parameter=False`: its steps are of the size of
    the learning rate, not relative to the size of each weight, and T5's learning rate of 1e-3 is then
    another one. T5 also keeps it constant (`lr_scheduler_type="constant"`) and does not clip the norm of
    the gradient (`max_grad_norm=0`).

    Args:
        model: The model; frozen parameters are left out.
        learning_rate: Relative to the root mean square of each weight, >= 0.

    Returns:
        The optimizer.

    Raises:
        ValueError: If the learning rate is negative.

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

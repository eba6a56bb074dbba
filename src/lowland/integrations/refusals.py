"""Set-ups of a Trainer in which SAM is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowland.errors import UserError

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer


def refuse(trainer: _Trainer) -> None:
    """Refuses set-ups in which SAM could not work, or not be right.

    Args:
        trainer: A Trainer that is made and has not trained.

    Raises:
        UserError: If it is one of them.
    """
    args = trainer.args
    optim = getattr(args.optim, "value", args.optim)
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    reasons = {
        "SAM does not run under DeepSpeed, which keeps the weights out of reach between passes. Use DDP or "
        "FSDP2 (fsdp_config={'fsdp_version': 2}).": trainer.is_deepspeed_enabled,
        "SAM's radius would be wrong under FSDP1, whose flat parameters hide the shards. Use FSDP2: "
        "fsdp_config={'fsdp_version': 2}.": trainer.is_fsdp_enabled
        and getattr(plugin, "fsdp_version", 1) == 1,
        "SAM does not run under torch_xla's FSDP.": bool(trainer.is_fsdp_xla_enabled),
        f"SAM does not run under DataParallel, which this process would use for its {args.n_gpu} devices. "
        "Start one process a device with torchrun, or show it one device only.": args.n_gpu > 1,
        "SAM does not run with tensor, context or sequence parallelism.": any(
            getattr(trainer, name)() > 1
            for name in ("get_tp_size", "get_cp_size", "get_sp_size")
            if hasattr(trainer, name)
        ),
        f"SAM does not run with {optim=}, which steps inside the backward pass: it would "
        "step in the ascent. Use an optimizer that steps after the gradient.": any(
            word in optim for word in ("lomo", "layerwise")
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(reason)

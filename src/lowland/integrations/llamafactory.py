"""SAM in LLaMA-Factory, which names its Trainers in its own code: `use_sam` puts others in their place."""

from __future__ import annotations

from importlib import import_module

from lowland.integrations.trainer import sam_trainer
from lowland.sam import SAMConfig

STAGES = {
    "pt": "CustomTrainer",
    "sft": "CustomSeq2SeqTrainer",
    "rm": "PairwiseTrainer",
    "dpo": "CustomDPOTrainer",
    "kto": "CustomKTOTrainer",
}
"""The Trainer of each of LLaMA-Factory's stages; that of PPO is none of transformers'."""


def use_sam(sam: SAMConfig) -> None:
    """Makes LLaMA-Factory train with SAM, in all stages but PPO, until the process ends.

        use_sam(lowland.SAMConfig(rho=0.05))
        llamafactory.train.tuner.run_exp()

    Args:
        sam: SAM's settings.
    """
    for stage, name in STAGES.items():
        trainer, workflow = (
            import_module(f"llamafactory.train.{stage}.{part}") for part in ("trainer", "workflow")
        )
        made = sam_trainer(getattr(trainer, name))
        made.sam = sam
        setattr(trainer, name, made)  # some workflows import it when they run, some have imported it already
        if hasattr(workflow, name):
            setattr(workflow, name, made)

"""SAM in LLaMA-Factory, which names its Trainers in its own code: `use_sam` puts others in their place.

    import lowland
    from llamafactory.train.tuner import run_exp
    from lowland.integrations.llamafactory import use_sam

    use_sam(lowland.SAMConfig(rho=0.05))
    run_exp()

is a script that takes what `llamafactory-cli train` takes. The classes can also be had one by one, with
their settings in the environment variable LOWLAND_SAM: `lowland.integrations.llamafactory.SAMSeq2SeqTrainer`.
"""

from __future__ import annotations

from importlib import import_module

from lowland.integrations.named import classes
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

PARTS = ("trainer", "workflow")

__getattr__ = classes(
    __name__,
    {
        f"SAM{name.removeprefix('Custom')}": f"llamafactory.train.{stage}.trainer.{name}"
        for stage, name in STAGES.items()
    },
)


def use_sam(sam: SAMConfig) -> None:
    """Makes LLaMA-Factory train with SAM, in all stages but PPO, until the process ends.

    Args:
        sam: SAM's settings.
    """
    for stage, name in STAGES.items():
        trainer, workflow = (import_module(f"llamafactory.train.{stage}.{part}") for part in PARTS)
        made = sam_trainer(getattr(trainer, name))
        made.sam = sam
        setattr(trainer, name, made)  # some workflows import it when they run, some have imported it already
        if hasattr(workflow, name):
            setattr(workflow, name, made)

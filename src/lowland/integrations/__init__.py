"""Adapters for loops that own the line `loss.backward()`: Hugging Face's Trainer and its kin."""

from lowland.integrations.adafactor import t5_adafactor
from lowland.integrations.examples import Examples, Whole
from lowland.integrations.trainer import SAMTrainerMixin, sam_trainer

__all__ = ["Examples", "SAMTrainerMixin", "Whole", "sam_trainer", "t5_adafactor"]

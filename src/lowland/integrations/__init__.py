"""Adapters for other people's training loops.

Most loops need none: `lowland.SAM` takes the place of `loss.backward()` in any
of them. Hugging Face's Trainer owns that line, hence the adapter for it.
"""

from lowland.integrations.adafactor import t5_adafactor
from lowland.integrations.examples import Examples, Whole
from lowland.integrations.trainer import SAMTrainerMixin, sam_trainer

__all__ = ["Examples", "SAMTrainerMixin", "Whole", "sam_trainer", "t5_adafactor"]

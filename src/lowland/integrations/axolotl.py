"""SAM in axolotl, whose configuration names the Trainer's class.

    trainer_cls: lowland.integrations.axolotl.SAMTrainer

with SAM's settings in the environment: `LOWLAND_SAM="rho=0.05" axolotl train config.yml`. For DPO and the
others the class is `SAMDPOTrainer`, `SAMKTOTrainer`, `SAMORPOTrainer`, `SAMCPOTrainer` or `SAMGRPOTrainer`.
"""

from __future__ import annotations

from lowland.integrations.named import classes

__getattr__ = classes(
    __name__,
    {
        "SAMTrainer": "axolotl.core.trainers.AxolotlTrainer",
        "SAMDPOTrainer": "axolotl.core.trainers.AxolotlDPOTrainer",
        "SAMKTOTrainer": "axolotl.core.trainers.AxolotlKTOTrainer",
        "SAMORPOTrainer": "axolotl.core.trainers.AxolotlORPOTrainer",
        "SAMCPOTrainer": "axolotl.core.trainers.AxolotlCPOTrainer",
        "SAMGRPOTrainer": "axolotl.core.trainers.grpo.trainer.AxolotlGRPOTrainer",
    },
)

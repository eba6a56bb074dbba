"""SAM in axolotl, whose configuration names the Trainer's class.

    trainer_cls: lowland.integrations.axolotl.SAMTrainer

with SAM's settings in the environment: `LOWLAND_SAM="rho=0.05" axolotl train config.yml`. For DPO and the
others the class is `SAMDPOTrainer`, `SAMKTOTrainer`, `SAMORPOTrainer`, `SAMCPOTrainer` or `SAMGRPOTrainer`.
"""

from __future__ import annotations

import json
import os
import shlex
from importlib import import_module
from typing import Any

from lowland.errors import UserError, unknown_name
from lowland.integrations.trainer import sam_trainer
from lowland.sam import SAMConfig

VARIABLE = "LOWLAND_SAM"
"""Environment variable with SAM's settings, such as "rho=0.05 ascent=0.5"."""

_HOMES = {
    "SAMTrainer": "axolotl.core.trainers",
    "SAMDPOTrainer": "axolotl.core.trainers",
    "SAMKTOTrainer": "axolotl.core.trainers",
    "SAMORPOTrainer": "axolotl.core.trainers",
    "SAMCPOTrainer": "axolotl.core.trainers",
    "SAMGRPOTrainer": "axolotl.core.trainers.grpo.trainer",
}


def __getattr__(name: str) -> Any:
    # Made when they are asked for: axolotl is imported, and the settings are read, only then.
    if name in _HOMES:
        own = sam_trainer(getattr(import_module(_HOMES[name]), name.replace("SAM", "Axolotl", 1)))
        globals()[name] = type(name, (own,), {"__module__": __name__, "sam": settings_of_environment()})
        return globals()[name]
    if name.startswith("SAM"):
        raise AttributeError(str(unknown_name(f"class of {__name__}", name, _HOMES)))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def settings_of_environment() -> SAMConfig:
    """Reads SAM's settings from the environment.

    Raises:
        UserError: If there are none, or they are not right.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        raise UserError(
            f"SAM's settings are read from the environment variable {VARIABLE}, which is not set. Write, for "
            f'example, {VARIABLE}="rho=0.05" before the command.'
        )
    try:
        pairs = dict(word.split("=", 1) for word in shlex.split(text))
        return SAMConfig(**{name: _value(value) for name, value in pairs.items()})
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The environment variable {VARIABLE} is {text!r}: {error} "
            "Write settings of lowland.SAMConfig as name=value, with blanks between them."
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)

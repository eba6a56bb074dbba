"""Trainer classes with SAM that other programs find by a dotted path, with settings from the environment."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from lowland.errors import UserError, unknown_name
from lowland.integrations.trainer import sam_trainer
from lowland.sam import SAMConfig

VARIABLE = "LOWLAND_SAM"
"""Environment variable with SAM's settings, such as "rho=0.05 ascent=0.5"."""


def settings_of_environment() -> SAMConfig:
    """Reads SAM's settings from the environment.

    Returns:
        The settings.

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


def classes(module: str, paths: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes a module's `__getattr__`, which makes Trainer classes with SAM when they are asked for.

    Args:
        module: The module's name.
        paths: The dotted path of each class's Trainer, by the name of the class with SAM.

    Returns:
        The function. The settings of its classes are those of the environment.
    """

    @cache
    def made(name: str) -> type[Any]:
        where, _, trainer = paths[name].rpartition(".")
        trainer_class = sam_trainer(getattr(import_module(where), trainer))
        return type(name, (trainer_class,), {"__module__": module, "sam": settings_of_environment()})

    def get(name: str) -> Any:
        if name in paths:
            return made(name)
        if name.startswith("SAM"):
            raise AttributeError(str(unknown_name(f"class of {module}", name, paths)))
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get

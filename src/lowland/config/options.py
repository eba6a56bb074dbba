"""What options are called: on the command line, in Python, and in other tools."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import is_dataclass
from typing import Any

from lowland.errors import UserError, unknown_name
from lowland.settings import described, kinds_of

ELSEWHERE = {
    "learning-rate": "lr",
    "batch-size": "batch bs per-device-train-batch-size",
    "steps": "max-steps iterations",
    "epochs": "num-epochs num-train-epochs",
    "test": "validation valid val dev test-file eval-file",
    "train": "train-file data dataset",
    "target": "label labels output-column",
    "out": "output output-dir directory",
    "model": "model-name model-name-or-path",
    "precision": "bf16 fp16 fp32 dtype",
    "lora": "peft use-peft adapter",
    "seeds": "seed",
    "arms": "arm grid",
}
"""Our options -> what they are called in other tools."""


def settings_by_option(kind: type[Any], section: str = "") -> dict[str, str]:
    """Lists the options that stand for a setting, with the dotted setting of each."""
    found: dict[str, str] = {}
    known = described(kind)
    for name, kinds in kinds_of(kind).items():
        if name in known:
            found |= dict.fromkeys(known[name].options(name), f"{section}{name}")
        else:
            for inner in kinds:
                if isinstance(inner, type) and is_dataclass(inner):
                    found |= settings_by_option(inner, f"{section}{name}.")
    return found


def unknown_option(kind: str, given: str, known: Collection[str]) -> UserError:
    """Builds the error for an option that is not known, with ours of the same meaning, or the nearest."""
    word = given.lstrip("-").replace("_", "-")
    for name in known:
        if word in ELSEWHERE.get(name.lstrip("-").replace("_", "-"), "").split():
            return UserError(f"Unknown {kind} {given!r}. Did you mean {name}?")
    return unknown_name(kind, given, known)

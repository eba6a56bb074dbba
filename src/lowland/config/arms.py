"""Arms: names for what is compared, each with the settings that it changes.

[arms.baseline]                     an arm that the package knows
[arms.late]                         one of your own: what differs from the settings below
sam.rho = 0.15
sam.start = 0.2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lowland.errors import UserError, unknown_name

Changes = Mapping[str, Any]  # dotted setting -> value

KNOWN: Mapping[str, Changes] = {
    "baseline": {"sam.rho": 0.0},
    "sam": {},
    "previous": {"sam.direction": "previous"},
    "momentum": {"sam.direction": "momentum"},
    # A radius by the size of each weight is another measure. Source: ASAM, Kwon et al. (2021).
    "asam": {"sam.adaptive": True, "sam.rho": 0.5},
    "late": {"sam.start": 0.7},
    "functional": {"sam.functional": True},
    "preconditioned": {"sam.precondition": True},
    "functional-preconditioned": {"sam.functional": True, "sam.precondition": True},
    "logits": {"sam.perturb": ("head",), "sam.rho": 1e-4},
    "fisher": {"sam.fisher": 0.1},
    "auto": {"sam.rise": 0.1},
    "noise": {"sam.direction": "noise"},
    "flat-lora": {"sam.direction": "noise", "sam.perturb": ("merged",)},
    "bi-lora": {"sam.direction": "adversary", "sam.perturb": ("merged",)},
    "decay": {"sam.rho": 0.0, "train.schedule": "linear"},
    "constant": {"sam.rho": 0.0, "train.schedule": "constant"},
    "ema": {"sam.rho": 0.0, "train.ema": 0.99},
    "average": {"sam.rho": 0.0, "train.average_last": 0.25},
    "smooth": {"sam.rho": 0.0, "train.label_smoothing": 0.1},
    "dropout": {"sam.rho": 0.0, "train.dropout": 0.2},
    "weight-decay": {"sam.rho": 0.0, "train.weight_decay": 0.1},
    "r3f": {"sam.rho": 0.0, "train.embedding_noise": "r3f"},
    "smart": {"sam.rho": 0.0, "train.embedding_noise": "smart"},
    "freelb": {"sam.rho": 0.0, "train.embedding_noise": "freelb"},
}
"""The arms that go by their names."""

DEFAULT = ("baseline", "sam")

FIXED = (
    *("seeds", "arms", "outcomes", "data", "train.steps", "train.batch_size", "train.evaluate_every"),
    *("train.input_length", "train.target_length", "train.deterministic"),
)
"""What all arms share: it decides which examples a step sees, or at which steps scores are compared."""

NAME = r"\w[\w.=,+-]{0,79}"  # arms name directories


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Gives nested settings as one level: `{"sam": {"rho": 0.1}}` becomes `{"sam.rho": 0.1}`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def nest(changes: Changes) -> dict[str, Any]:
    """Gives dotted settings as nested ones; none may lie in another, as `sam.rho` does in `sam`."""
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise UserError(f"The setting {name} lies in {section}, which is given a value of its own.")
        place[key] = value
    return nested


def read_arms(layers: Iterable[Mapping[str, Any]]) -> dict[str, Changes]:
    """Reads which arms there are, and what each changes, from layers of settings.

    The tables `[arms.NAME]` of a layer name its arms, and so does a list of names; `more_arms` adds to those
    of the layers below. The first arm is the reference.
    """
    defined: dict[str, Changes] = dict(KNOWN)
    chosen: Sequence[str] = DEFAULT
    for layer in layers:
        given, more = layer.get("arms", ()), layer.get("more_arms", {})
        if isinstance(given, Mapping):
            chosen = tuple(given)
            _define(defined, given)
        elif given:
            chosen = _names(given)
        _define(defined, more)
        chosen = (*chosen, *(name for name in more if name not in chosen))
    for name in chosen:
        if name not in defined:
            raise unknown_name("arm", name, list(defined))
    return {name: defined[name] for name in chosen}


def parse_arm(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `late: sam.rho=0.15 sam.start=0.2`; what cannot be read is a `ValueError`."""
    name, colon, words = text.partition(":")
    changes: dict[str, Any] = {}
    for word in words.split():
        setting, equals, value = word.partition("=")
        if setting in changes:
            raise ValueError(f"{setting} is given twice in {text!r}")
        changes[setting] = parse_value(value)
        colon = colon and equals
    if not colon or not name.strip():
        raise ValueError(f'must be like "late: sam.rho=0.15 sam.start=0.2", not {text!r}')
    return name.strip(), changes


def parse_value(text: str) -> Any:
    """Reads a value: a whole number, a number, true or false, or else a text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text, text)


def describe(changes: Changes) -> str:
    """Writes what an arm changes, such as `sam.rho=0.15 sam.start=0.2`."""
    return " ".join(
        f"{name}={','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in changes.items()
    )


def is_fixed(setting: str) -> bool:
    """Says whether all arms share a setting."""
    return any(setting == fixed or setting.startswith(f"{fixed}.") for fixed in FIXED)


def _define(defined: dict[str, Changes], tables: Any) -> None:
    """Lays what tables say of arms over what is defined."""
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        sentence = "Write a table for each in TOML, such as [arms.late] with sam.rho = 0.15."
        raise UserError(f"Invalid arms. {sentence}")
    for name, table in tables.items():
        if not re.fullmatch(NAME, name):
            letters = "letters, digits and . = , + - _ only, 80 at most, and begin with a letter or digit"
            raise UserError(f"Invalid arm {name!r}. Must be {letters}.")
        for setting in filter(is_fixed, own := flatten(table)):
            raise UserError(
                f"The arm {name!r} changes {setting}, which all arms share: seeds are compared in pairs over "
                f"the same batches. Compare its values by --grid {setting}=VALUE,VALUE."
            )
        try:
            nest(own)
        except UserError as error:
            raise UserError(f"Arm {name!r}: {error}") from None
        defined[name] = {**defined.get(name, {}), **own}


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
        raise UserError(f"Invalid arms={given!r}. Must be names of arms, such as baseline and sam.")
    if len(set(given)) < len(given):
        raise UserError(f"Invalid arms={','.join(given)}. Each arm must be named once.")
    return tuple(given)

"""What an experiment is: data, model, training, SAM, seeds.

A configuration is made of layers, each holding only what differs from the one
below: the defaults, the defaults of the model, a preset, a file, the command line.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from lowland.errors import UserError, unknown_name
from lowland.families.recognise import family_defaults
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.files import fingerprint
from lowland.sam.config import SAMConfig
from lowland.sam.setting import changes, described
from lowland.tasks.rows import task_name
from lowland.train.settings import ARMS, Arm, TrainSettings

Layer = Mapping[str, Any]
"""Nested settings, each section a mapping, holding only what is set."""

T = TypeVar("T")

MODEL_DEFAULTS: dict[str, Layer] = {
    # A small model wants larger steps and batches that a CPU gets through.
    "embedded": {"train": {"learning_rate": 5e-3, "batch_size": 32, "steps": 400, "evaluate_every": 100}},
}


@dataclass(frozen=True, kw_only=True)
class CustomData:
    """A user's own files.

    Attributes:
        train: Training file (JSONL, JSON, CSV, TSV or Parquet).
        evaluation: Evaluation file.
        split: The fraction of the training file that is for evaluation, where there is no other file.
        input: Template of the input text, such as `review: {text}`.
        target: Template of the target text, such as `{label}`.
        metrics: Names of metrics.
        answers: Field with all right answers of a question.
        positive: The class that the metric `f1` is of.
        skip_empty: Whether rows with an empty target are left out; otherwise they are an error.
        name: Name of the task in reports; by default that of the training file.
    """

    train: str
    evaluation: str | None = None
    split: float | None = None
    input: str
    target: str
    metrics: tuple[str, ...] = ("accuracy",)
    answers: str | None = None
    positive: str | None = None
    skip_empty: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if (self.evaluation is None) == (self.split is None):
            raise ValueError(
                "Own data need rows to be scored on: give a file with --eval, or split a part of the "
                "training file off with --split, such as --split 0.2; not both."
            )
        object.__setattr__(self, "name", self.name or task_name(self.train))


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which examples there are to train on and to be scored on.

    Attributes:
        tasks: Names of tasks and mixtures.
        custom: The user's own files, besides or instead.
        data_dir: Directory with official files.
        hub: Whether data and models may be fetched from the hub.
        fraction: Fraction of each task's training examples that is used.
        label_noise: Fraction of each task's used training examples, the held-out ones among them, that get
            another of the task's labels.
        held_out: Part of the training examples that is kept from training, to choose checkpoints by: a
            fraction (a float in [0, 1)) or a number a task (an int); 0 for none.
        held_out_limit: Most held-out examples of a task.
        evaluation_limit: The first examples of each evaluation set that are scored: a fraction (a float in
            (0, 1]) or a number (an int); 0 for all.
        cap: Examples of a task beyond this number do not raise the rate at which it is drawn; `None` for no
            limit.
        temperature: Of the rates at which tasks are drawn: 1 draws in proportion to their numbers of
            examples, more makes the rates more alike.
    """

    tasks: tuple[str, ...] = ()
    custom: CustomData | None = None
    data_dir: str | None = None
    hub: bool = False
    fraction: float = 1.0
    label_noise: float = 0.0
    held_out: float | int = 0.1
    held_out_limit: int = 200
    evaluation_limit: float | int = 0
    cap: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.tasks and self.custom is None:
            raise ValueError(
                "There is nothing to train on. Name a task (see `lowland tasks`), or give files of your own "
                "with --train, --eval, --input and --target."
            )
        if not 0 < self.fraction <= 1:
            raise ValueError(f"Invalid fraction={self.fraction!r}. Must be in (0, 1].")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"Invalid label_noise={self.label_noise!r}. Must be in [0, 1].")
        if not self.held_out >= 0 or (isinstance(self.held_out, float) and self.held_out >= 1):  # NaN too
            raise ValueError(
                f"Invalid held_out={self.held_out!r}. Must be a fraction in [0, 1) or a number of examples."
            )
        if self.held_out_limit < 0:
            raise ValueError(f"Invalid held_out_limit={self.held_out_limit!r}. Must be >= 0.")
        limit = self.evaluation_limit
        if not (0 < limit <= 1 if isinstance(limit, float) else limit >= 0):
            raise ValueError(
                f"Invalid evaluation_limit={limit!r}. Must be a fraction in (0, 1] or a number of examples."
            )
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"Invalid cap={self.cap!r}. Must be >= 1.")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"Invalid temperature={self.temperature!r}. Must be a finite number > 0.")


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that decides an experiment's results.

    Attributes:
        model: `embedded`, a directory, or a name on the hub.
        arms: Which gradients are compared.
        seeds: Seeds; every seed is one pair of runs.
        data: Examples.
        train: What both arms share.
        sam: What only the SAM arm uses.
        family: How the model is used.
        lora: Adapters that are trained instead of the model's weights; `None` for none.
        merge: Whether the adapters of the best model are added to its weights when it is handed over.
    """

    model: str = "embedded"
    arms: tuple[Arm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    data: DataSettings
    train: TrainSettings = field(default_factory=TrainSettings)
    sam: SAMConfig = field(default_factory=SAMConfig)
    family: FamilySettings = field(default_factory=FamilySettings)
    lora: LoRASettings | None = None
    merge: bool = False

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(
                f"Invalid seeds={','.join(map(str, self.seeds)) or 'none'}. "
                "Must be different whole numbers >= 0."
            )
        if not self.arms or any(arm not in ARMS for arm in self.arms):
            raise ValueError(f"Invalid arms={self.arms!r}. Must be some of: {', '.join(ARMS)}.")
        size, a, m = self.train.batch_size, self.sam.ascent_examples, self.sam.m
        if "sam" not in self.arms:
            return
        if a is not None and a > size:
            raise ValueError(f"Invalid ascent_examples={a}. Must be at most the batch size, {size}.")
        if size % m:
            raise ValueError(f"Invalid m={m}. Must divide the batch size, {size}.")
        if a is None and self.sam.ascent * size < 0.5 * m:
            raise ValueError(
                f"Invalid ascent={self.sam.ascent}. Of a batch of {size} examples it leaves fewer than one "
                f"for each of m={m} points; give at least {m / size:g}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Gives the configuration as nested plain values, without what is unset."""
        plain: dict[str, Any] = _without_none(dataclasses.asdict(self))
        return plain

    def to_toml(self) -> str:
        """Writes the configuration as TOML."""
        return tomli_w.dumps(_lists(self.to_dict()))

    def decisive(self) -> dict[str, Any]:
        """Gives what must agree between runs of one experiment: all but the seeds and arms."""
        settings = self.to_dict()
        del settings["seeds"], settings["arms"]
        return settings

    def fingerprint(self) -> str:
        """Gives eight hexadecimal digits of the decisive settings that differ from the defaults.

        So a setting that is added with its default leaves the fingerprints of other runs as they are.
        """
        different = changes(self)
        for name in ("seeds", "arms"):
            different.pop(name, None)
        return fingerprint(_lists(different))


def build_config(*layers: Layer) -> ExperimentConfig:
    """Builds a configuration out of layers, later ones over earlier ones.

    Args:
        layers: From the least to the most particular. The defaults of the model that they name lie
            beneath them all.

    Returns:
        The configuration.

    Raises:
        UserError: If a name is unknown or a value invalid.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer)
    model = str(merged.get("model", "embedded"))
    known = family_defaults(
        model,
        merged.get("family", {}),
        lora="lora" in merged,
        hub=bool(merged.get("data", {}).get("hub")),
    )
    merged = merge(merge(known, MODEL_DEFAULTS.get(model, {})), merged)
    merged.setdefault("data", {})
    return build_section(ExperimentConfig, merged, "")


def read_layer(path: Path) -> Layer:
    """Reads a TOML file of settings.

    Raises:
        UserError: If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start + 1} is not UTF-8; settings are text in TOML.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not a valid TOML file ({error}).") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: a number is too long, or lists lie too deep in one another.") from None


def merge(below: Layer, above: Layer) -> dict[str, Any]:
    """Lays one layer over another, section by section."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def differences(one: Layer, other: Layer, prefix: str = "") -> list[str]:
    """Names the settings in which two nested configurations differ, each with both values."""
    found: list[str] = []
    for key in sorted(set(one) | set(other)):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif _lists(left) != _lists(right):
            found.append(f"{prefix}{key}: {left} there, {right} here")
    return found


def build_section(kind: type[T], values: Layer, path: str = "") -> T:
    """Builds a settings dataclass out of nested plain values, and checks them.

    Args:
        kind: The dataclass.
        values: Field -> value; sections are mappings.
        path: What the section is called in messages, with a dot at the end.

    Raises:
        UserError: If a name is unknown or a value invalid.
    """
    hints = typing.get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    checked = described(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            raise unknown_name("setting", f"{path}{key}", [f"{path}{name}" for name in names])
        # Described settings check themselves, and say what they must be.
        arguments[key] = value if key in checked else _convert(hints[key], value, f"{path}{key}")
    required = [
        item.name
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise UserError(f"The setting {path}{missing[0]} is missing. Give it a value.")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise UserError(str(error)) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Checks a plain value against a field's type, and builds sections and tuples."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(option, type) and isinstance(value, Mapping):
            return build_section(option, value, f"{path}.")
        origin = typing.get_origin(option)
        if origin is tuple and isinstance(value, (list, tuple)):
            return tuple(_convert(typing.get_args(option)[0], item, path) for item in value)
        if origin is typing.Literal and value in typing.get_args(option):
            return value
        if isinstance(option, type) and type(value) is option:
            return value
    if float in options and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if float in options and isinstance(value, float) and math.isnan(value):
        raise UserError(f"Invalid {path}={value!r}. Must be a number.")
    known = [
        str(choice) for option in options for choice in typing.get_args(option) if isinstance(choice, str)
    ]
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if any(dataclasses.is_dataclass(option) for option in options):
        raise UserError(f"Invalid {path}={value!r}. Must be a section of settings: a table [{path}] in TOML.")
    expected = (
        f"one of: {', '.join(known)}"
        if known
        else " or ".join(names.get(o, "") for o in options if o in names)
    )
    raise UserError(f"Invalid {path}={value!r}. Must be {expected or 'a list'}.")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value

"""What an experiment is: data, model, training, SAM, seeds.

A configuration is made of layers, each holding only what differs from the one
below: the defaults, the defaults of the model, a preset, a file, the command line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tomli_w

from lowland.config.arms import DEFAULT, KNOWN, Changes, nest, read_arms
from lowland.config.layers import Layer, build_section, merge, with_lists, without_none
from lowland.errors import UserError
from lowland.families.recognise import family_defaults
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.files import fingerprint
from lowland.sam.config import SAMConfig
from lowland.settings import changes
from lowland.tasks.rows import task_name
from lowland.train.settings import TrainSettings

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
class RunConfig:
    """Everything that decides a run's results besides its seed.

    Attributes:
        model: `embedded`, a directory, or a name on the hub.
        data: Examples.
        train: How the model is trained, SAM apart.
        sam: SAM's settings; at a radius of 0, which is the baseline, all others are at their defaults.
        family: How the model is used.
        lora: Adapters that are trained instead of the model's weights; `None` for none.
        merge: Whether the adapters of the best model are added to its weights when it is handed over.
    """

    model: str = "embedded"
    data: DataSettings
    train: TrainSettings = field(default_factory=TrainSettings)
    sam: SAMConfig = field(default_factory=SAMConfig)
    family: FamilySettings = field(default_factory=FamilySettings)
    lora: LoRASettings | None = None
    merge: bool = False

    def __post_init__(self) -> None:
        size, a, m = self.train.batch_size, self.sam.ascent_examples, self.sam.m
        if self.sam.rho == 0:
            # Runs without SAM are the same, however it is set.
            object.__setattr__(self, "sam", SAMConfig(rho=0.0))
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
        return dict(without_none(dataclasses.asdict(self)))

    def to_toml(self) -> str:
        """Writes the configuration as TOML."""
        return tomli_w.dumps(with_lists(self.to_dict()))


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(RunConfig):
    """Everything that decides an experiment's results: what all arms share, the arms, and the seeds.

    Attributes:
        arms: Arm -> the dotted settings that it changes; the first one is the reference.
        seeds: Seeds; every arm has a run of each.
    """

    arms: Mapping[str, Changes] = field(default_factory=lambda: {name: KNOWN[name] for name in DEFAULT})
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        # Settings that no arm takes as they are need not go together: `of` checks those of each arm.
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(
                f"Invalid seeds={','.join(map(str, self.seeds)) or 'none'}. "
                "Must be different whole numbers >= 0."
            )
        if not self.arms:
            raise ValueError("There is no arm. Name some, such as baseline and sam.")
        seen: dict[str, str] = {}
        for name in self.arms:
            own = self.of(name)
            other = seen.setdefault(repr(own), name)
            if other != name:
                raise ValueError(
                    f"The arms {other!r} and {name!r} are the same: nothing in their settings differs."
                    + (" At rho=0 SAM is the baseline." if own.sam.rho == 0 else "")
                )

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))

    def of(self, arm: str) -> RunConfig:
        """Gives the settings of an arm.

        Raises:
            ValueError: If they are invalid; the message names the arm.
        """
        try:
            return build_section(RunConfig, merge(self.decisive(), nest(self.arms[arm])))
        except UserError as error:
            raise ValueError(f"Arm {arm!r}: {error}" if self.arms[arm] else str(error)) from None

    def to_dict(self) -> dict[str, Any]:
        """Gives the configuration as nested plain values, without what is unset."""
        return {**super().to_dict(), "arms": {name: nest(changed) for name, changed in self.arms.items()}}

    def decisive(self) -> dict[str, Any]:
        """Gives what must agree between the commands of one experiment: all but its arms and seeds."""
        return {key: value for key, value in self.to_dict().items() if key not in ("arms", "seeds")}

    def fingerprint(self) -> str:
        """Gives eight hexadecimal digits of all settings but the seeds that differ from the defaults.

        So a setting that is added with its default leaves the fingerprints of other experiments as they are.
        """
        different = {key: value for key, value in changes(self).items() if key != "seeds"}
        return fingerprint(with_lists({**different, "arms": self.arms}))


def _section(settings: Layer, name: str) -> Layer:
    """Gives a section as far as it is one; what else stands in its place is refused when it is built."""
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


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
        merged = merge(
            merged, {key: value for key, value in layer.items() if key not in ("arms", "more_arms")}
        )
    model = str(merged.get("model", "embedded"))
    known = family_defaults(
        model,
        _section(merged, "family"),
        lora="lora" in merged,
        hub=bool(_section(merged, "data").get("hub")),
    )
    merged = merge(merge(known, MODEL_DEFAULTS.get(model, {})), merged)
    merged.setdefault("data", {})
    return build_section(ExperimentConfig, {**merged, "arms": read_arms(layers)}, "")

"""What an experiment is: data, model, training, SAM, seeds.

A configuration is made of layers, each holding only what differs from the one
below: the defaults, the defaults of the model, a preset, a file, the command line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tomli_w

from lowland.config.arms import DEFAULT, KNOWN, Changes, nest, read_arms
from lowland.config.data import DataSettings
from lowland.config.layers import Layer, build_section, merge, plain
from lowland.config.outcomes import OutcomeSettings
from lowland.errors import UserError
from lowland.families.settings import FamilySettings, LoRASettings
from lowland.files import fingerprint
from lowland.sam.config import SAMConfig
from lowland.settings import at_home, changes, check, setting
from lowland.train.settings import TrainSettings

MODEL_DEFAULTS: dict[str, Layer] = {
    # A small model wants larger steps and batches that a CPU gets through.
    "embedded": {"train": {"learning_rate": 5e-3, "batch_size": 32, "steps": 400, "evaluate_every": 100}},
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run's results besides its seed."""

    model: str = setting(
        "embedded",
        "directory of a checkpoint, or its name on the hub with --hub; embedded is a small one in the "
        "package",
        metavar="NAME",
        path=True,
    )
    data: DataSettings
    train: TrainSettings = field(default_factory=TrainSettings)
    sam: SAMConfig = field(default_factory=SAMConfig)
    family: FamilySettings = field(default_factory=FamilySettings)
    lora: LoRASettings | None = setting(
        None, "train adapters beside the weights, such as r=16 alpha=32", metavar="KEY=VALUE"
    )
    merge: bool = setting(
        False, "merge the adapters into the weights of DIR/model, instead of saving the adapters alone"
    )

    def __post_init__(self) -> None:
        check(self)
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
        return dict(plain(dataclasses.asdict(self)))

    def to_toml(self) -> str:
        """Writes the configuration as TOML."""
        return tomli_w.dumps(self.to_dict())


SEEDS, MOST_SEEDS = 5, 40
"""Seeds by default, and at most where they are added until the score is decided."""

UNDECISIVE = ("arms", "seeds", "outcomes")
"""What may differ between the commands of one experiment."""


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(RunConfig):
    """An experiment: what all arms share, the arms, the seeds, and what is measured on their runs."""

    # Arm -> the dotted settings that it changes; the first one is the reference.
    arms: Mapping[str, Changes] = field(default_factory=lambda: {name: KNOWN[name] for name in DEFAULT})
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    outcomes: OutcomeSettings = field(default_factory=OutcomeSettings)

    def __post_init__(self) -> None:
        # Settings that no arm takes as they are need not go together: `of` checks those of each arm.
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            given = ",".join(map(str, self.seeds)) or "none"
            raise ValueError(f"Invalid seeds={given}. Must be different whole numbers >= 0.")
        if not self.arms:
            raise ValueError("There is no arm. Name some, such as baseline and sam.")
        seen: dict[str, str] = {}
        for name in self.arms:
            own = self.of(name)
            if (other := seen.setdefault(repr(own), name)) != name:
                hint = " At rho=0 SAM is the baseline." if own.sam.rho == 0 else ""
                raise ValueError(
                    f"The arms {other!r} and {name!r} are the same: nothing in their settings differs.{hint}"
                )

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.arms))

    def of(self, arm: str) -> RunConfig:
        """Gives the settings of an arm; the message of what is invalid names it."""
        try:
            return build_section(RunConfig, merge(self.decisive(), nest(self.arms[arm])))
        except UserError as error:
            raise ValueError(f"Arm {arm!r}: {error}" if self.arms[arm] else str(error)) from None

    def to_dict(self) -> dict[str, Any]:
        """Gives the configuration as nested plain values, without what is unset."""
        arms = {name: nest(changed) for name, changed in self.arms.items()}
        return {**super().to_dict(), "arms": plain(arms)}

    def decisive(self) -> dict[str, Any]:
        """Gives what must agree between the commands of one experiment."""
        return {key: value for key, value in self.to_dict().items() if key not in UNDECISIVE}

    def fingerprint(self) -> str:
        """Gives eight hexadecimal digits of what differs from the defaults, seeds and outcomes apart."""
        different = {key: value for key, value in changes(self).items() if key not in UNDECISIVE}
        return fingerprint({**different, "arms": self.arms})


def build_config(*layers: Layer, of_family: bool = True) -> ExperimentConfig:
    """Builds a configuration out of layers, from the least to the most particular.

    The defaults of the model that they name lie beneath them all; those of its family only `of_family`, since
    looking them up loads torch.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, {key: value for key, value in layer.items() if value is not None})
    merged = {key: value for key, value in merged.items() if key not in ("arms", "more_arms")}
    model = merged["model"] = at_home(merged.get("model", "embedded"))
    if not isinstance(model, str):
        raise UserError(f"Invalid model={model!r}. Must be text: a directory, or a name on the hub.")
    if model in MODEL_DEFAULTS:
        merged = merge(MODEL_DEFAULTS[model], merged)
    elif of_family:
        from lowland.families.recognise import family_defaults  # which loads torch

        data, family = (
            own if isinstance(own := merged.get(name), Mapping) else {} for name in ("data", "family")
        )
        defaults = family_defaults(model, family, lora="lora" in merged, hub=bool(data.get("hub")))
        merged = merge(defaults, merged)
    return build_section(ExperimentConfig, {"data": {}, **merged, "arms": read_arms(layers)})

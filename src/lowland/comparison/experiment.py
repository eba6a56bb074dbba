"""An experiment that is ready to run: settings and data, checked before torch is loaded."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.config.data import DataSettings
from lowland.config.experiment import MODEL_DEFAULTS, UNDECISIVE, ExperimentConfig, build_config
from lowland.config.layers import Layer, differences, merge
from lowland.errors import UserError
from lowland.runs.examples import ExperimentData, load_data, load_tasks, part
from lowland.runs.store import FOLDER
from lowland.train.settings import TrainSettings

EPOCHS, LEAST_STEPS = 10, 100
"""The default length of training on a user's own rows; never more than the model's default."""

MANY_PASSES = 30
"""The number of passes over a user's own rows above which a warning is given."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment whose settings and data were checked, and which is ready to run.

    Attributes:
        config: Its settings.
        data: Its examples.
        reasons: Setting -> why it has its value, of those that depend on the model or the data.
        warnings: What the user should know.
    """

    config: ExperimentConfig
    data: ExperimentData
    reasons: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def build_experiment(
    layers: Sequence[Layer],
    *,
    epochs: float | None = None,
    arms: Callable[[ExperimentConfig], ExperimentConfig] = lambda config: config,
    read: Callable[[DataSettings], ExperimentData] = load_data,
) -> Experiment:
    """Checks settings and data, before torch is loaded where that is possible.

    Args:
        layers: Layers of settings, from the least to the most particular.
        epochs: Passes over the training examples, in place of steps.
        arms: Makes the arms of a grid.
        read: Reads the examples.

    Raises:
        UserError: If something is wrong.
    """
    if epochs is not None and not (epochs > 0 and math.isfinite(epochs)):
        raise UserError(f"Invalid epochs={epochs!r}. Must be a finite number > 0.")
    given: dict[str, Any] = {}
    for layer in layers:
        given = merge(given, layer)
    steps_given = "steps" in _section(given, "train")
    if epochs is not None and steps_given:
        raise UserError("Steps and epochs both say how long to train. Give one of them.")
    # What is wrong with options is said first, then what is wrong with data; both without the model.
    config = arms(build_config(*layers, of_family=False))
    load_tasks(config.data)  # a name that is not known is better said before files are read
    data = read(config.data)
    config = arms(build_config(*layers))
    reasons = _reasons(given, config)
    own = config.data.custom is not None
    doubts = [(arm, config.of(arm).sam.doubt) for arm in config.arms]
    warnings = tuple(f"Arm {arm!r}: {doubt}" for arm, doubt in doubts if doubt)
    if not (own or epochs is not None):
        return Experiment(config=config, data=data, reasons=reasons, warnings=warnings)
    rows = sum(map(len, part(data, config.data, config.seeds[0]).train.values()))
    if epochs is not None or not steps_given:
        least = 1 if epochs is not None else LEAST_STEPS
        steps = max(least, math.ceil((epochs or EPOCHS) * rows / config.train.batch_size))
        steps = steps if epochs is not None else min(steps, config.train.steps)
        layer = {"train": {"steps": steps}}
        if "evaluate_every" not in _section(given, "train"):
            layer["train"]["evaluate_every"] = min(config.train.evaluate_every, math.ceil(steps / 4))
        config = arms(build_config(*layers, layer))
        passes = steps * config.train.batch_size / rows
        shown = f"{passes:,.0f}" if passes >= 100 else f"{passes:.3g}"
        reasons["train.steps"] = f"{shown} epochs" + (
            "" if epochs is not None else ", the default for own data"
        )
    passes = config.train.steps * config.train.batch_size / rows
    over = f"the {rows:,} training examples" if rows > 1 else "the only training example"
    many = (
        f"A run passes {passes:,.0f} times over {over}. "
        f"Give --epochs {EPOCHS}, or fewer --steps, unless that is meant."
    )
    warnings += (many,) if own and passes > MANY_PASSES else ()
    return Experiment(config=config, data=data, reasons=reasons, warnings=warnings)


def default_directory(config: ExperimentConfig, command: str, what: str | None = None) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = what or "-".join(names).replace("/", "-")
    return Path(FOLDER) / f"{command}-{what[:60]}-{config.fingerprint()}"


def refuse_other(config: ExperimentConfig, path: Path) -> None:
    """Refuses a directory that holds an experiment with other settings."""
    blocking = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise UserError(f"{path} cannot be made: {blocking} is a file. Give another directory with --out.")
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to what is not there. Give another directory with --out.")
    existing = path / "experiment.toml"
    if not existing.exists():
        # Hidden files are all that a process leaves that was killed before it wrote anything.
        if path.exists() and (not path.is_dir() or any(found.name[0] != "." for found in path.iterdir())):
            raise UserError(f"{path} exists and holds no experiment. Give another directory with --out.")
        return
    try:
        settings = tomllib.loads(existing.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{existing}: cannot be read ({error}). Give another directory with --out.") from None
    there = {key: value for key, value in settings.items() if key not in UNDECISIVE}
    different = differences(there, config.decisive())
    if different:
        shown = "; ".join(different[:3]) + ("; ..." if len(different) > 3 else "")
        raise UserError(f"{path} holds another experiment ({shown}). Give another directory with --out.")


def _section(settings: Layer, name: str) -> Layer:
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _reasons(given: Layer, config: ExperimentConfig) -> dict[str, str]:
    """Says why settings that depend on the model have their values."""
    reasons = {}
    embedded = MODEL_DEFAULTS.get(config.model, {}).get("train", {})
    for name in ("learning_rate", "optimizer", "batch_size", "steps"):
        value = getattr(config.train, name)
        if name in _section(given, "train"):
            continue
        if name in embedded:
            reasons[f"train.{name}"] = f"the default of the {config.model} model"
        elif value != getattr(TrainSettings(), name):
            reasons[f"train.{name}"] = "the default of its kind of model"
        else:
            reasons[f"train.{name}"] = "the paper's"
    if "rho" not in _section(given, "sam"):
        reasons["sam.rho"] = "the paper's; small models often want less, see --grid"
    if "seeds" not in given:
        reasons["seeds"] = "the default"
    return reasons

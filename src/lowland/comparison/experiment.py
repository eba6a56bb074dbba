"""An experiment that is ready to run: settings and data, checked before torch is loaded."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from lowland.config.data import DataSettings
from lowland.config.experiment import UNDECISIVE, ExperimentConfig, build_config
from lowland.config.layers import Layer, differences, merge
from lowland.errors import UserError
from lowland.runs.examples import ExperimentData, load_data, load_tasks, part
from lowland.runs.store import FOLDER

EPOCHS, LEAST_STEPS = 10, 100
"""The default length of training on a user's own rows; never more than the model's default."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment whose settings and data were checked, and which is ready to run."""

    config: ExperimentConfig
    data: ExperimentData
    warnings: tuple[str, ...] = ()


def build_experiment(
    layers: Sequence[Layer],
    *,
    epochs: float | None = None,
    arms: Callable[[ExperimentConfig], ExperimentConfig] = lambda config: config,
    read: Callable[[DataSettings], ExperimentData] = load_data,
) -> Experiment:
    """Checks settings and data, before torch is loaded where that is possible.

    The layers of settings go from the least to the most particular; `epochs` replaces their steps, and `arms`
    makes the arms of a grid.
    """
    if epochs is not None and not (isinstance(epochs, (int, float)) and 0 < epochs < math.inf):
        raise UserError(f"Invalid epochs={epochs!r}. Must be a finite number > 0.")
    # What is wrong with options is said first, then what is wrong with data; both without the model.
    config = arms(build_config(*layers, of_family=False))
    train = reduce(merge, layers).get("train", {})
    if epochs is not None and "steps" in train:
        raise UserError("Steps and epochs both say how long to train. Give one of them.")
    load_tasks(config.data)  # a name that is not known is better said before files are read
    data = read(config.data)
    config = arms(build_config(*layers))
    if epochs is not None or (config.data.custom is not None and "steps" not in train):
        rows = sum(map(len, part(data, config.data, config.seeds[0]).train.values()))
        steps = math.ceil((epochs or EPOCHS) * rows / config.train.batch_size)
        if epochs is None:
            steps = min(max(LEAST_STEPS, steps), config.train.steps)
        layer = {"train": {"steps": steps}}
        if "evaluate_every" not in train:
            layer["train"]["evaluate_every"] = min(config.train.evaluate_every, math.ceil(steps / 4))
        config = arms(build_config(*layers, layer))
    doubts = [(arm, config.of(arm).sam.doubt) for arm in config.arms]
    warnings = tuple(f"Arm {arm!r}: {doubt}" for arm, doubt in doubts if doubt)
    return Experiment(config=config, data=data, warnings=warnings)


def default_directory(config: ExperimentConfig, command: str, what: str | None = None) -> Path:
    """Names the directory of an experiment after what it is, so that the same command finds it again."""
    names = [*config.data.tasks, *([config.data.custom.name] if config.data.custom else [])]
    what = what or "-".join(names).replace("/", "-")
    return Path(FOLDER) / f"{command}-{what[:60]}-{config.fingerprint()}"


def refuse_other(config: ExperimentConfig, path: Path) -> None:
    """Refuses a directory that cannot be made, or that holds anything but this experiment."""
    existing, another = path / "experiment.toml", "Give another directory with --out."
    blocking = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise UserError(f"{path} cannot be made: {blocking} is a file. {another}")
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to what is not there. {another}")
    if not existing.exists():
        # Hidden files are all that a process leaves that was killed before it wrote anything.
        if path.exists() and (not path.is_dir() or any(found.name[0] != "." for found in path.iterdir())):
            raise UserError(f"{path} exists and holds no experiment. {another}")
        return
    try:
        settings = tomllib.loads(existing.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{existing}: cannot be read ({error}). {another}") from None
    there = {key: value for key, value in settings.items() if key not in UNDECISIVE}
    if different := differences(there, config.decisive()):
        shown = "; ".join(different[:3]) + ("; ..." if len(different) > 3 else "")
        raise UserError(f"{path} holds another experiment ({shown}). {another}")

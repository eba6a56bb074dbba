"""Where runs lie: each once, in a folder that all experiments beside it share.

A run is found by what decides its results: the settings of its arm, the examples and the starting weights
by their content, and the seed. An experiment's directory holds a link to each of its runs. All of this is
told without torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lowland
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.errors import UserError
from lowland.files import aside_of, examples_hash, fingerprint, model_hash
from lowland.runs.directory import RunDirectory
from lowland.runs.examples import ExperimentData
from lowland.settings import changes

FOLDER = "runs"

PLACES = ("data_dir", "hub")
"""Where data come from, which does not matter beside what they are."""


def store_of(path: Path) -> Path:
    """Gives where an experiment's runs lie: the folder `runs` that its directory is in, or one beside it."""
    path = path.absolute()
    return next((parent for parent in path.parents if parent.name == FOLDER), path.parent / FOLDER)


def run_name(config: RunConfig, content: Mapping[str, str], seed: int) -> str:
    """Names a run by what decides its results: of the settings, those that differ from their defaults."""
    settings = changes(config)
    for name in ("model", "merge"):  # the one by its content; the other says what is handed over
        settings.pop(name, None)
    data: dict[str, Any] = {key: value for key, value in settings.pop("data").items() if key not in PLACES}
    if "custom" in data:
        own = data["custom"].items()
        data["custom"] = {key: value for key, value in own if key not in ("train", "evaluation")}
    made_from = {name: value for name, value in content.items() if not name.startswith("model ")}
    identity = {**settings, "data": data, "content": made_from, "start": content[f"model {config.model}"]}
    return f"{fingerprint(identity, digits=16)}-seed{seed}"


def runs_of(
    config: ExperimentConfig, store: Path, content: Mapping[str, str], *, writes: bool = True
) -> list[RunDirectory]:
    """Lists the runs of an experiment seed by seed, so that a machine that slows down slows all arms."""
    arms = {arm: config.of(arm) for arm in config.arms}
    return [
        RunDirectory(store, arm, seed, run_name(own, content, seed), writes=writes)
        for seed in config.seeds
        for arm, own in arms.items()
    ]


def link_runs(path: Path, runs: Iterable[RunDirectory]) -> None:
    """Puts a link to each run into an experiment's directory, and takes out those to others."""
    folder = path.resolve()
    wanted = {f"{run.arm}-seed{run.seed}": os.path.relpath(run.path.resolve(), folder) for run in runs}
    for found in folder.glob("*-seed*"):
        if found.is_symlink() and wanted.get(found.name) != str(found.readlink()):
            found.unlink()
    for name, target in wanted.items():
        link = folder / name
        if not link.is_symlink():
            if link.exists():
                raise UserError(
                    f"{path / name} is in the way: a link to a run belongs there. Move it away, or give "
                    "another directory with --out."
                )
            aside = aside_of(link)
            aside.symlink_to(target)
            aside.replace(link)


def content_of(data: ExperimentData) -> dict[str, str]:
    """Hashes the examples of an experiment: `train NAME` or `evaluation NAME` -> hash."""
    content = {f"train {name}": examples_hash(examples) for name, examples in data.train.items()}
    return content | {f"evaluation {name}": examples_hash(found) for name, found in data.evaluation.items()}


def model_folder(name: str) -> Path:
    """Gives the folder that a model's name stands for, whether it is there or not."""
    return Path(lowland.__file__).parent / "models" / name if name == "embedded" else Path(name)


def all_done(config: ExperimentConfig, store: Path, data: ExperimentData, made_from: object) -> bool:
    """Says whether all runs are done and reported; never of models of the hub and adapters."""
    content = content_of(data)
    for model in {config.of(arm).model for arm in config.arms}:
        folder = model_folder(model)
        if not folder.is_dir() or (folder / "adapter_config.json").exists():
            return False
        content[f"model {model}"] = model_hash(folder)
    return content == made_from and all(run.done for run in runs_of(config, store, content))

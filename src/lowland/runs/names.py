"""What a run is called, and where it lies: told from settings and data, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lowland
from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.content import examples_hash, model_hash
from lowland.files import fingerprint
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
        data["custom"] = {
            key: value for key, value in data["custom"].items() if key not in ("train", "evaluation")
        }
    made_from = {name: value for name, value in content.items() if not name.startswith("model ")}
    identity = {**settings, "data": data, "content": made_from, "start": content[f"model {config.model}"]}
    return f"{fingerprint(identity, digits=16)}-seed{seed}"


def content_of(data: ExperimentData) -> dict[str, str]:
    """Hashes the examples of an experiment: `train NAME` or `evaluation NAME` -> hash."""
    content = {f"train {name}": examples_hash(examples) for name, examples in data.train.items()}
    return content | {f"evaluation {name}": examples_hash(found) for name, found in data.evaluation.items()}


def model_folder(name: str) -> Path:
    """Gives the folder that a model's name stands for, whether it is there or not."""
    return Path(lowland.__file__).parent / "models" / name if name == "embedded" else Path(name).expanduser()


def all_done(config: ExperimentConfig, store: Path, data: ExperimentData) -> bool:
    """Says whether every run of an experiment is done, as far as that can be told without torch.

    Models of the hub and adapters are not looked at: experiments with them are not known to be done.
    """
    content = content_of(data)
    for model in {config.of(arm).model for arm in config.arms}:
        folder = model_folder(model)
        if not folder.is_dir() or (folder / "adapter_config.json").exists():
            return False
        content[f"model {model}"] = model_hash(folder)
    return all(
        RunDirectory(store, arm, seed, name=run_name(config.of(arm), content, seed)).done
        for seed in config.seeds
        for arm in config.arms
    )

"""Where runs lie: each once, in a folder that all experiments beside it share.

A run is found by what decides its results: the settings of its arm, the examples and the starting weights
by their content, and the seed. So experiments that have an arm in common share its runs, and data or weights
that were edited make new runs. An experiment's directory holds a link to each of its runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from lowland.config.experiment import ExperimentConfig
from lowland.content import model_hash
from lowland.errors import UserError
from lowland.families.adapters import find
from lowland.families.base import Family
from lowland.files import aside_of, remove, remove_asides
from lowland.models import LoadedModel, weights_sha256
from lowland.runs.directory import RunDirectory
from lowland.runs.encodings import Encodings
from lowland.runs.examples import ExperimentData, load_data
from lowland.runs.names import content_of, model_folder, run_name
from lowland.runs.run import processes
from lowland.runs.start import start_model


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an experiment's runs are made from.

    Attributes:
        data: All examples.
        encodings: Arm -> the token ids of all training examples.
        content: `train NAME`, `evaluation NAME` or `model NAME` -> hash of its content.
    """

    data: ExperimentData
    encodings: Mapping[str, Encodings]
    content: Mapping[str, str]


def prepare(config: ExperimentConfig, data: ExperimentData | None = None) -> tuple[Prepared, Family]:
    """Reads the examples of an experiment, and finds out what its runs are made from.

    Args:
        config: The experiment.
        data: Its examples where they were read before.

    Returns:
        The examples, and the model of the reference.

    Raises:
        UserError: If something about the data or a model is wrong.
    """
    data = data or load_data(config.data)
    content = content_of(data)
    reference = start_model(config.of(config.reference), data, config.seeds[0])
    encoded: dict[str, Encodings] = {}
    encodings = {}
    for arm in config.arms:
        own = config.of(arm)
        alike = repr((own.model, own.family))
        if alike not in encoded:
            family = reference if not encoded else start_model(own, data, config.seeds[0])
            content[f"model {own.model}"] = _model_hash(own.model, family.loaded)
            encoded[alike] = Encodings(data, family, config.train)
        encodings[arm] = encoded[alike]
    return Prepared(data=data, encodings=encodings, content=content), reference


def _model_hash(name: str, loaded: LoadedModel) -> str:
    """Hashes a model to start from; one of the hub by what lies in its cache."""
    base, adapters = find(name, hub=True)
    if adapters is not None:
        return hashlib.sha256(f"{model_hash(adapters)} {_model_hash(base, loaded)}".encode()).hexdigest()
    folder = model_folder(name)
    if not folder.is_dir() and isinstance(cached := try_to_load_from_cache(name, "config.json"), str):
        folder = Path(cached).parent
    if folder.is_dir():
        return model_hash(folder)
    vocabulary = sorted(loaded.tokenizer.get_vocab().items())
    return hashlib.sha256(f"{weights_sha256(loaded.model)} {vocabulary}".encode()).hexdigest()


class Runs:
    """The runs of an experiment.

    Args:
        config: The experiment.
        store: Where they lie.
        content: What they are made from.
    """

    def __init__(self, config: ExperimentConfig, store: Path, content: Mapping[str, str]) -> None:
        writes = processes().is_main_process
        self._runs = {
            (arm, seed): RunDirectory(store, arm, seed, run_name(own, content, seed), writes=writes)
            for seed in config.seeds
            for arm, own in ((arm, config.of(arm)) for arm in config.arms)
        }

    def __iter__(self) -> Iterator[RunDirectory]:
        """Lists the runs seed by seed, so that a machine that slows down slows all arms."""
        return iter(self._runs.values())

    def __getitem__(self, key: tuple[str, int]) -> RunDirectory:
        """Gives the run of an arm and seed."""
        return self._runs[key]

    def link(self, path: Path) -> None:
        """Puts a link to each run into an experiment's directory, and takes out those to others.

        Raises:
            UserError: If something else is in the place of a link.
        """
        folder = path.resolve()
        wanted = {f"{run.arm}-seed{run.seed}": os.path.relpath(run.path.resolve(), folder) for run in self}
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


def tidy(run: RunDirectory) -> None:
    """Removes what killed processes left half-written of a run."""
    for left in run.path.parent.glob(f".{run.path.name}.*.aside"):
        remove(left)
    if run.path.is_dir():
        remove_asides(run.path)


def changes(before: Mapping[str, str], now: Mapping[str, str], config: ExperimentConfig) -> list[str]:
    """Says what an experiment is made from now that it was not made from when its directory was written."""
    names = {"train": "training examples", "evaluation": "evaluation examples", "model": "starting weights"}
    own = config.data.custom
    files = {"train": own.train, "evaluation": own.evaluation} if own is not None else {}
    changed = []
    for key, value in now.items():
        kind, _, name = key.partition(" ")
        if before.get(key, value) == value:
            continue
        where = f", {files[kind]}" if own is not None and name == own.name and kind in files else ""
        changed.append(f"the {names[kind]} of {name}{where}")
    if not changed:
        return []
    return [
        f"Changed since this experiment was last run: {'; '.join(changed)}. New runs are trained and shown; "
        "those of before stay where they lie, and count again when the change is undone."
    ]

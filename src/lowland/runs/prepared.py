"""What the runs of an experiment are made from: examples, token ids, the model, and hashes of all content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from huggingface_hub import try_to_load_from_cache

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.errors import UserError
from lowland.families.adapters import find
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.files import model_hash
from lowland.models.load import LoadedModel
from lowland.models.save import weights_sha256
from lowland.runs.encodings import Encodings
from lowland.runs.examples import ExperimentData, SeedData, part
from lowland.runs.store import content_of, model_folder
from lowland.train.loop import build_gradient


def processes() -> PartialState:
    """Gives the processes that train together: those that torchrun started, or this one alone."""
    # While the first process evaluates, the others wait, which may take longer than the usual half hour.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def start_model(config: RunConfig, data: ExperimentData, seed: int) -> Family:
    """Loads the model of an arm as a seed's run begins with it; examples tell a classifier's labels."""
    tasks = {name: (data.tasks[name], examples) for name, examples in data.train.items()}
    return load_family(
        config.model,
        config.family,
        lora=config.lora,
        start=Start(tasks=tasks, seed=seed),
        dropout=config.train.dropout,
        hub=config.data.hub,
    )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an experiment's runs are made from."""

    data: ExperimentData
    parts: dict[int, SeedData]  # of each seed
    encodings: Mapping[str, Encodings]  # of each arm
    content: Mapping[str, str]  # `train NAME`, `evaluation NAME` or `model NAME` -> hash of its content

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the data and of what the models make of them."""
        own: list[Encodings | SeedData] = [*self.encodings.values(), *self.parts.values()]
        return [*self.data.warnings, *(sentence for one in own for sentence in one.warnings)]

    def add(self, config: ExperimentConfig) -> None:
        """Parts the examples for the seeds of an experiment that have no part yet."""
        for seed in config.seeds:
            if seed not in self.parts:
                self.parts[seed] = part(self.data, config.data, seed, config.train.batch_size)


def prepare(config: ExperimentConfig, data: ExperimentData) -> tuple[Prepared, Family]:
    """Finds out what the runs of an experiment are made from; gives the model of the reference, too."""
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
    _refuse_misfits(config, reference)
    prepared = Prepared(data=data, parts={}, encodings=encodings, content=content)
    prepared.add(config)
    return prepared, reference


def _refuse_misfits(config: ExperimentConfig, family: Family) -> None:
    """Refuses arms whose kind of SAM the reference's model does not take, before any arm is trained."""
    first = config.of(config.reference)
    for arm in config.arms:
        own = config.of(arm)
        if (own.model, own.family, own.lora) == (first.model, first.family, first.lora):
            # Here the model is not wrapped yet.
            sam = own.sam if processes().num_processes == 1 else replace(own.sam, ranks="shared")
            try:
                build_gradient(family.loaded.model, own.train, sam)
            except UserError as error:
                raise UserError(f"Arm {arm!r}: {error}") from None


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

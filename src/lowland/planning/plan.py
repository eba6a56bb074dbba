"""What an experiment will do, before it starts: examples, tokens, memory, disk and time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import psutil
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.families.base import Family
from lowland.methods.flat_lora import adapted_layers
from lowland.report.words import gigabytes
from lowland.runs.examples import ExperimentData, SeedData
from lowland.runs.prepared import Prepared
from lowland.train.machine import resolve_precision
from lowland.train.settings import TrainSettings

BATCHES, TRIED = 8, 8
"""Batches that are looked at to see how long they are; examples that a step is tried on at most."""

USABLE = 0.9
"""A batch is to fit in this part of the free memory; the rest is for what is not counted."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment will do on this machine."""

    config: ExperimentConfig
    runs: Mapping[str, int]  # arm -> runs that are left
    data: ExperimentData
    parted: SeedData  # of the first seed
    shape: tuple[int, int]  # tokens of an input and of a target as they are padded in a batch, on average
    outcome_examples: int  # of each evaluation set, on which outcomes are measured, at most
    parameters: int
    memory: Mapping[str, int]  # what takes memory -> bytes, by the arm that takes the most
    available: int  # bytes that are free on the device
    device: str
    precision: str
    disk: Mapping[str, int]  # what is written -> bytes, at least
    advice: str  # what to change where training does not fit; empty where it does
    step_seconds: float | None  # of the baseline; `None` where it was not tried


def make_plan(
    config: ExperimentConfig,
    prepared: Prepared,
    family: Family,
    outcome_examples: int,
    runs: Mapping[str, int] | None = None,
    *,
    timed: bool = False,
) -> Plan:
    """Counts what the runs that are left take of this machine; an example is tried, some steps if `timed`."""
    train, device, seed = config.train, PartialState().device, config.seeds[0]
    available, parted = available_memory(device), prepared.parts[seed]
    stream = prepared.encodings[config.reference].batches(parted, train.batch_size, seed, family)
    batches = [next(stream) for _ in range(BATCHES)]
    inputs, targets = zip(*map(family.shape, batches), strict=True)
    longest = max(batches, key=lambda batch: sum(family.shape(batch)))
    examples = math.ceil(train.batch_size / PartialState().num_processes)
    examples = min(examples, train.micro_batch_size or examples)
    trial = Trial(family, longest, train)
    # With checkpointing few activations are kept, which are not counted.
    activations = 0 if train.gradient_checkpointing else trial.activations(examples)
    needed = training_memory(config, family.loaded.model, activations)
    runs = runs if runs is not None else dict.fromkeys(config.arms, len(config.seeds))
    checkpoints = (2 if any(parted.held_out.values()) else 1) * sum(runs.values()) + 1
    return Plan(
        config=config,
        runs=runs,
        data=prepared.data,
        parted=parted,
        shape=(round(fmean(inputs)), round(fmean(targets))),
        outcome_examples=outcome_examples,
        parameters=sum(parameter.numel() for parameter in family.loaded.model.parameters()),
        memory=needed,
        available=available,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        precision=resolve_precision(train.precision, device),
        disk={
            "for the models of all runs": needed["gradients"] * checkpoints,
            "to resume a run (until it is done)": 3 * (needed["weights"] + needed["optimizer"]),
        },
        advice=_advice(needed, examples, available),
        step_seconds=trial.seconds(examples) if timed else None,
    )


def _advice(needed: Mapping[str, int], examples: int, available: int) -> str:
    """Says what to change where training does not fit."""
    fixed = sum(needed.values()) - needed["activations"]
    each, room = needed["activations"] / examples, USABLE * available
    if fixed + examples * each <= room:
        return ""
    if fixed + each > room:
        least = gigabytes((fixed + each) / USABLE)
        return f"Even one example at a time does not fit: it needs a device with {least}."
    # A power of two, so that the pieces of a usual batch are alike.
    micro = 2 ** int(math.log2((room - fixed) / each))
    computed = f"which computes the same in {gigabytes(fixed + micro * each)}"
    return f"A batch does not fit at once: give --micro-batch-size {micro}, {computed}."


def training_memory(config: ExperimentConfig, model: nn.Module, activations: int) -> dict[str, int]:
    """Counts what training takes at its peak, by the arm that takes the most."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    trained = 4 * sum(map(Tensor.numel, weights))
    copies = [_copies(config.of(arm), model, trained) for arm in config.arms]
    return {
        "weights": sum(weight.nbytes for weight in model.parameters()),
        "gradients": trained,
        **max(copies, key=lambda of_arm: sum(of_arm.values())),
        "optimizer": sum(_state_bytes(weight, config.train) for weight in weights),
        "activations": activations,
    }


def _copies(config: RunConfig, model: nn.Module, trained: int) -> dict[str, int]:
    """Counts the copies of the weights that an arm makes, as if all of them were perturbed."""
    sam, train, memory = config.sam, config.train, {}
    perturbed = trained
    if sam.perturb == ("merged",) and sam.direction == "noise":  # Flat-LoRA
        perturbed = sum(layer.base_layer.weight.nbytes for layer in adapted_layers(model))
    if sam.rho:
        memory["SAM's copy of the weights"] = perturbed
    if sam.direction in ("previous", "momentum", "noise"):
        memory["SAM's direction"] = perturbed
    if train.ema or train.average_last:
        memory["averaged weights"] = trained
    return memory


def _state_bytes(weight: Tensor, train: TrainSettings) -> int:
    """Counts the optimizer's state: AdaFactor's is a row and a column of a matrix, AdamW's two copies."""
    size = weight.numel()
    if train.optimizer == "adamw":
        return 8 * size
    return 4 * (size if weight.dim() < 2 else size // weight.shape[-1] + size // weight.shape[-2])


class Trial:
    """The baseline's passes over a batch, where it trains; the random streams stay as they are."""

    def __init__(self, family: Family, batch: Mapping[str, Tensor], train: TrainSettings) -> None:
        self._device = PartialState().device
        self._model, self._batch = family.loaded.model.to(self._device).train(), batch
        bf16 = resolve_precision(train.precision, self._device) == "bf16"
        z, smoothing = train.z_loss, train.label_smoothing
        self._loss = family.loss(self._device, bf16=bf16, z_loss=z, label_smoothing=smoothing)

    def _pass(self, rows: list[int]) -> Tensor:
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            return self._loss({name: column[rows] for name, column in self._batch.items()})

    def activations(self, examples: int) -> int:
        """Measures the bytes that a pass of so many examples, each as long as the longest one, keeps."""
        longest = int(self._batch["attention_mask"].sum(1).argmax())
        # Alone and twice: some memory is the same for any number.
        one, two = self._kept([longest]), self._kept([longest, longest])
        return max(one, one + (examples - 1) * (two - one))

    def _kept(self, rows: list[int]) -> int:
        tensors = (*self._model.parameters(), *self._model.buffers())
        own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        # Storages are held, so that no other one gets their address.
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            self._pass(rows)
        return sum(storage.nbytes() for storage in kept.values())

    def seconds(self, most: int) -> float:
        """Measures the time of the batch, by its first examples."""
        size = len(self._batch["labels"])
        examples = min(most, size, TRIED)

        def timed() -> float:
            started = time.perf_counter()
            self._pass(list(range(examples))).backward()
            self._model.zero_grad()
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            return time.perf_counter() - started

        timed()  # warms up
        return min(timed(), timed()) * size / examples


def available_memory(device: torch.device) -> int:
    """Gives the bytes that are free on a device; for the CPU, within what its container allows."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        return min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return free

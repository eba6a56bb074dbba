"""What an experiment will do, before it starts: examples, tokens, steps, memory, disk."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.families.base import Family
from lowland.planning import memory
from lowland.planning.glance import glance
from lowland.planning.remaining import step_seconds
from lowland.report.words import gigabytes
from lowland.runs.encodings import Encodings
from lowland.runs.examples import (
    ExperimentData,
    SeedData,
    evaluation_count,
    load_data,
    load_tasks,
    part,
)
from lowland.runs.start import start_model
from lowland.tasks.base import Source, TaskData
from lowland.tasks.mixture import rates
from lowland.tasks.sources import MissingFilesError
from lowland.train import resolve_precision

BATCHES = 8
"""How many batches are looked at to see how long they are."""

USABLE = 0.9
"""The part of the free memory that a smaller batch is to fit in; the rest is for what no estimate knows."""

FAR = 1.2
"""An estimate of memory may be off by a fifth; what is further above the free memory does not fit."""

UNPUBLISHED = {"superglue/record": 10_000}
"""Sizes of evaluation sets that the tasks count in another way: ReCoRD's queries."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The examples of a seed, as far as they decide what training costs.

    Attributes:
        train: Task -> training examples.
        rates: Task -> share of a batch.
        evaluation: Evaluation set -> examples.
        held_out: Held-out examples.
        shape: Tokens of an input and of a target as they are padded in a batch, on average.
        longest: The most tokens of an input and of a target.
        warnings: What the user should know.
        counted: Whether the examples were read and counted; otherwise their published numbers and the
            longest lengths stand for them.
        read: Whether the examples were read; without the model's tokenizer their lengths are not known.
        glance: What to show of them, topic and text: classes with counts, one example.
    """

    train: Mapping[str, int]
    rates: Mapping[str, float]
    evaluation: Mapping[str, int]
    held_out: int
    shape: tuple[int, int]
    longest: tuple[int, int]
    warnings: tuple[str, ...] = ()
    counted: bool = True
    read: bool = True
    glance: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment will do on this machine. How long all of it takes is told after its first steps.

    Attributes:
        config: The experiment.
        workload: Its examples.
        runs: Arm -> runs that are left.
        parameters: Weights of the model.
        memory: What takes memory -> bytes, in training by the arm that takes the most.
        available: Bytes that are free on the device.
        device: The device, in words.
        precision: `fp32` or `bf16`.
        disk: What is written -> bytes, at least, for the runs that are left.
        advice: Sentences to show below the plan.
        step_seconds: Time of a step of the baseline on this machine; `None` where it was not tried.
    """

    config: ExperimentConfig
    workload: Workload
    runs: Mapping[str, int]
    parameters: int
    memory: Mapping[str, int]
    available: int
    device: str
    precision: str
    disk: Mapping[str, int]
    advice: tuple[str, ...]
    step_seconds: float | None = None

    @property
    def evaluations(self) -> int:
        """Evaluations of a run."""
        return math.ceil(self.config.train.steps / self.config.train.evaluate_every)

    @property
    def epochs(self) -> float:
        """Passes of a run over the training examples."""
        train = self.config.train
        return train.steps * train.batch_size / sum(self.workload.train.values())

    @property
    def tokens(self) -> int:
        """Tokens of a run, padding included."""
        train = self.config.train
        return train.steps * train.batch_size * sum(self.workload.shape)


def plan_experiment(config: ExperimentConfig, data: ExperimentData | None = None) -> Plan:
    """Plans an experiment without running it; what is not on this machine is taken from publications.

    Args:
        config: The experiment.
        data: Its examples where they were read before.

    Raises:
        UserError: If something the user gave is wrong, or the model is neither here nor one of the
            paper's.
    """
    first = config.of(config.reference)
    if first.model in memory.PAPER_MODELS:
        return make_plan(config, published_workload(config), memory.outline(first.model))
    if data is None:
        with contextlib.suppress(MissingFilesError):
            data = load_data(config.data)
    seed = config.seeds[0]
    family = start_model(first, data, seed)
    if data is None:
        return make_plan(config, published_workload(config, family), family)
    encodings = Encodings(data, family, config.train)
    parted = part(data, config.data, seed, config.train.batch_size)
    plan = make_plan(config, count_workload(config, data, parted, encodings, seed, family), family)
    batch = next(encodings.batches(parted, config.train.batch_size, seed, family))
    return replace(plan, step_seconds=step_seconds(family, batch, config.train))


def count_workload(
    config: ExperimentConfig,
    data: ExperimentData,
    parted: SeedData,
    encodings: Encodings,
    seed: int,
    family: Family,
) -> Workload:
    """Counts the examples of a seed, and looks at its first batches to see how long they are."""
    stream = encodings.batches(parted, config.train.batch_size, seed, family)
    shapes = [family.shape(next(stream)) for _ in range(BATCHES)]
    shape = [round(fmean(widths)) for widths in zip(*shapes, strict=True)]
    return Workload(
        train={name: len(examples) for name, examples in parted.train.items()},
        rates=parted.rates,
        evaluation={name: len(examples) for name, examples in data.evaluation.items()},
        held_out=sum(len(examples) for examples in parted.held_out.values()),
        shape=(shape[0], shape[1]),
        longest=family.longest(*encodings.longest),
        warnings=(*data.warnings, *encodings.warnings, *parted.warnings),
        glance=glance(data.tasks, data.train),
    )


def published_workload(config: ExperimentConfig, family: Family | None = None) -> Workload:
    """Takes the published numbers of examples where the data are not here, and the longest lengths.

    Own data, and what the package carries, are read and counted; only their lengths are not known.

    Raises:
        UserError: If something about own data is wrong.
    """
    train: dict[str, int] = {}
    evaluation: dict[str, int] = {}
    own: dict[str, TaskData] = {}
    tasks = load_tasks(config.data)
    for task in tasks:
        if task.data is None:
            own[task.name] = found = task.load(Source())
            number = len(found.train)
            evaluation |= {name: len(examples) for name, examples in found.evaluation.items()}
        else:
            number = (task.data.train and task.data.train.published) or 0
            for name, split in task.data.evaluation.items() if task.evaluated else ():
                evaluation[name] = split.published or UNPUBLISHED[name]
        if number:
            train[task.name] = max(1, round(number * config.data.fraction))
    shape = (
        config.train.input_length or max(task.input_length for task in tasks),
        config.train.target_length or max(task.target_length for task in tasks),
    )
    shape = shape if family is None else family.longest(*family.lengths(*shape))
    return Workload(
        train=train,
        rates=rates(train, config.data.cap, config.data.temperature),
        evaluation={
            n: evaluation_count(size, config.data.evaluation_limit) for n, size in evaluation.items()
        },
        held_out=0,
        shape=shape,
        longest=shape,
        warnings=tuple(sentence for data in own.values() for sentence in data.warnings),
        counted=False,
        read=len(own) == len(tasks),
        glance=glance({task.name: task for task in tasks}, {name: data.train for name, data in own.items()}),
    )


def make_plan(
    config: ExperimentConfig,
    workload: Workload,
    family: Family | PreTrainedModel,
    runs: Mapping[str, int] | None = None,
) -> Plan:
    """Counts what an experiment takes of this machine.

    Args:
        config: The experiment.
        workload: Its examples.
        family: The model of its reference, or its outline alone.
        runs: Arm -> runs that are left; all by default.
    """
    train, device, processes = config.train, PartialState().device, PartialState().num_processes
    runs = runs if runs is not None else {arm: len(config.seeds) for arm in config.arms}
    precision = resolve_precision(train.precision, device)
    examples = math.ceil(train.batch_size / processes)
    examples = min(examples, train.micro_batch_size or examples)
    model = family.loaded.model if isinstance(family, Family) else family
    needed = memory.training_memory(
        model,
        train,
        [config.of(arm).sam for arm in config.arms],
        examples,
        workload.longest,
        bf16=precision == "bf16",
        processes=processes,
    )
    available = memory.available_memory(device)
    trained = needed["gradients"]
    return Plan(
        config=config,
        workload=workload,
        runs=runs,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        memory=needed,
        available=available,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        precision=precision,
        disk={
            "checkpoints": trained * ((2 if workload.held_out else 1) * sum(runs.values()) + 1),
            "states for resuming, during a run": 3 * (needed["weights"] + needed["optimizer"]),
        },
        advice=_advice(needed, examples, available),
    )


def _advice(needed: Mapping[str, int], examples: int, available: int) -> tuple[str, ...]:
    """Says what to change where training does not fit."""
    fixed = sum(needed.values()) - needed["activations"]
    each, room = needed["activations"] / examples, USABLE * available
    if fixed + examples * each <= room:
        return ()
    if fixed + each > room:
        least = gigabytes((fixed + each) / USABLE)
        return (
            f"This does not fit: {gigabytes(available)} are free, and even one example at a time needs a "
            f"device with {least}.",
        )
    # A power of two, so that the pieces of a usual batch are alike.
    micro = 2 ** int(math.log2((room - fixed) / each))
    return (
        f"A batch does not fit at once: give --micro-batch-size {micro}, which computes the same in "
        f"{gigabytes(fixed + micro * each)}.",
    )


def refuse_oversized(plan: Plan, path: Path, jobs: int = 1) -> None:
    """Refuses an experiment that needs far more memory or disk than is free, and would be killed.

    Args:
        plan: What it will do.
        path: Where its results go.
        jobs: Runs at a time, each of which needs the memory.

    Raises:
        UserError: If it does not fit; the sentence says how it would, and how to start it regardless.
    """
    jobs = min(jobs, sum(plan.runs.values())) if plan.device == "CPU" else 1
    needed = jobs * sum(plan.memory.values())
    if needed > FAR * plan.available:
        together = f" for {jobs} runs at a time" if jobs > 1 else ""
        remedy = next(iter(plan.advice), "Give fewer --jobs." if jobs > 1 else "Give a smaller --batch-size.")
        raise UserError(
            f"Training needs about {gigabytes(needed)} of memory{together}, and {gigabytes(plan.available)} "
            f"are free. {remedy} --anyway starts it regardless."
        )
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
    free, wanted = shutil.disk_usage(there).free, sum(plan.disk.values())
    if wanted > FAR * free:
        raise UserError(
            f"The results need about {gigabytes(wanted)} of disk, and {gigabytes(free)} are free at {there}. "
            "Give another place with --out. --anyway starts it regardless."
        )

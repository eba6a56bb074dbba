"""What an experiment will do, before it starts: examples, tokens, steps, memory, disk."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
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
from lowland.planning.remaining import step_seconds
from lowland.report.words import gigabytes
from lowland.runs.encodings import Encodings
from lowland.runs.examples import ExperimentData, SeedData, evaluation_count, load_data, load_tasks, part
from lowland.runs.prepared import start_model
from lowland.tasks.base import Example, Source, Task
from lowland.tasks.custom import CustomTask
from lowland.tasks.registry import rates
from lowland.tasks.sources import MissingFilesError
from lowland.train.machine import resolve_precision

BATCHES = 8
"""How many batches are looked at to see how long they are."""

USABLE = 0.9
"""The part of the free memory that a smaller batch is to fit in; the rest is for what no estimate knows."""

FAR = 1.2
"""An estimate of memory may be off by a fifth; what is further above the free memory does not fit."""

UNPUBLISHED = {"superglue/record": 10_000}
"""Sizes of evaluation sets that the tasks count in another way: ReCoRD's queries."""

MOST_CLASSES, MOST_TASKS, MOST_SHOWN = 12, 3, 120
"""Classes that are listed, of how many tasks; characters of an input that are shown."""


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
        uncounted: Why the longest lengths, and perhaps published numbers, stand for what was not counted.
        glance: What to show of the examples, topic and text: classes with counts, one example.
    """

    train: Mapping[str, int]
    rates: Mapping[str, float]
    evaluation: Mapping[str, int]
    held_out: int
    shape: tuple[int, int]
    longest: tuple[int, int]
    warnings: tuple[str, ...] = ()
    uncounted: str = ""
    glance: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment will do on this machine.

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
        advice: What to change where training does not fit; empty where it does.
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
    advice: str
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


def plan_experiment(
    config: ExperimentConfig, data: ExperimentData | None = None, family: Family | None = None
) -> Plan:
    """Plans an experiment without running it; what is not on this machine is taken from publications.

    Args:
        config: The experiment.
        data: Its examples; they are read where `None`.
        family: The model that its reference starts from; it is loaded where `None`.

    Raises:
        UserError: If something the user gave is wrong, or the model is neither here nor one of the paper's.
    """
    first = config.of(config.reference)
    if family is None and first.model in memory.PAPER_MODELS:
        return make_plan(config, published_workload(config), memory.outline(first.model))
    if data is None:
        with contextlib.suppress(MissingFilesError):
            data = load_data(config.data)
    seed = config.seeds[0]
    family = family or start_model(first, data, seed)
    if data is None:
        return make_plan(config, published_workload(config, family), family)
    encodings = Encodings(data, family, config.train)
    parted = part(data, config.data, seed, config.train.batch_size)
    workload = count_workload(config, data, parted, encodings, seed, family)
    try:
        plan = make_plan(config, workload, family)
    except UserError:
        raise
    except Exception as error:  # whatever a strange model comes up with
        raise UserError(
            f"Memory cannot be estimated for {first.model} ({error}). It may train all the same: leave "
            "--plan out."
        ) from error
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
    inputs, targets = (round(fmean(widths)) for widths in zip(*shapes, strict=True))
    return Workload(
        train={name: len(examples) for name, examples in parted.train.items()},
        rates=parted.rates,
        evaluation={name: len(examples) for name, examples in data.evaluation.items()},
        held_out=sum(len(examples) for examples in parted.held_out.values()),
        shape=(inputs, targets),
        longest=family.longest(*encodings.longest),
        warnings=(*data.warnings, *encodings.warnings, *parted.warnings),
        glance=_glance(data.tasks, data.train),
    )


def published_workload(config: ExperimentConfig, family: Family | None = None) -> Workload:
    """Takes the published numbers of examples where the data are not here, and the longest lengths.

    Own data, and what the package carries, are read and counted; only their lengths are not known.
    """
    tasks = {task.name: task for task in load_tasks(config.data)}
    own = {name: task.load(Source()) for name, task in tasks.items() if task.data is None}
    train = {name: len(found.train) for name, found in own.items()}
    evaluation = {name: len(rows) for found in own.values() for name, rows in found.evaluation.items()}
    for name, task in tasks.items():
        if task.data is not None:
            train[name] = (task.data.train and task.data.train.published) or 0
            sets = task.data.evaluation if task.evaluated else {}
            evaluation |= {name: split.published or UNPUBLISHED[name] for name, split in sets.items()}
    sizes = {name: max(1, round(size * config.data.fraction)) for name, size in train.items() if size}
    shape = (
        config.train.input_length or max(task.input_length for task in tasks.values()),
        config.train.target_length or max(task.target_length for task in tasks.values()),
    )
    shape = shape if family is None else family.longest(*family.lengths(*shape))
    limit = config.data.evaluation_limit
    unread = ", as published: the data were not read"
    return Workload(
        train=sizes,
        rates=rates(sizes, config.data.cap, config.data.temperature),
        evaluation={name: evaluation_count(size, limit) for name, size in evaluation.items()},
        held_out=0,
        shape=shape,
        longest=shape,
        warnings=tuple(sentence for found in own.values() for sentence in found.warnings),
        uncounted=unread
        if len(own) < len(tasks)
        else " (their lengths in this model's tokens are not known)",
        glance=_glance(tasks, {name: found.train for name, found in own.items()}),
    )


def _glance(tasks: Mapping[str, Task], train: Mapping[str, Sequence[Example]]) -> tuple[tuple[str, str], ...]:
    """Shows the classes of the first tasks that have some, with their counts, and one example."""
    lines = []
    for name, examples in list(train.items())[:MOST_TASKS]:
        if not tasks[name].labels(examples):
            continue
        counts = Counter(example.targets for example in examples).most_common()
        text = ", ".join(f"{label} {number:,}" for label, number in counts)
        if len(counts) > MOST_CLASSES:
            text = f"{len(counts)}, of {counts[-1][1]:,} to {counts[0][1]:,} examples"
        task = tasks[name]
        if isinstance(task, CustomTask) and task.domain and any(score.name == "f1" for score in task.scores):
            text += f"; f1 is of {task.domain.positive}"
        lines.append(("classes", f"{name}: {text}" if len(train) > 1 else text))
    for examples in list(train.values())[:1]:
        texts = (examples[0].inputs, examples[0].targets)
        shown = (text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ..." for text in texts)
        lines.append(("an example", " -> ".join(map(repr, shown))))
    return tuple(lines)


def make_plan(
    config: ExperimentConfig,
    workload: Workload,
    family: Family | PreTrainedModel,
    runs: Mapping[str, int] | None = None,
) -> Plan:
    """Counts what an experiment takes of this machine; `family` is its reference's, or an outline alone."""
    train, device, processes = config.train, PartialState().device, PartialState().num_processes
    runs = runs if runs is not None else {arm: len(config.seeds) for arm in config.arms}
    precision = resolve_precision(train.precision, device)
    examples = math.ceil(train.batch_size / processes)
    examples = min(examples, train.micro_batch_size or examples)
    model = family.loaded.model if isinstance(family, Family) else family
    needed = memory.training_memory(
        model, config, examples, workload.longest, bf16=precision == "bf16", processes=processes
    )
    available = memory.available_memory(device)
    checkpoints = (2 if workload.held_out else 1) * sum(runs.values()) + 1
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
            "checkpoints": needed["gradients"] * checkpoints,
            "states for resuming, during a run": 3 * (needed["weights"] + needed["optimizer"]),
        },
        advice=_advice(needed, examples, available),
    )


def _advice(needed: Mapping[str, int], examples: int, available: int) -> str:
    """Says what to change where training does not fit."""
    fixed = sum(needed.values()) - needed["activations"]
    each, room = needed["activations"] / examples, USABLE * available
    if fixed + examples * each <= room:
        return ""
    if fixed + each > room:
        least = gigabytes((fixed + each) / USABLE)
        return (
            f"This does not fit: {gigabytes(available)} are free, and even one example at a time needs a "
            f"device with {least}."
        )
    # A power of two, so that the pieces of a usual batch are alike.
    micro = 2 ** int(math.log2((room - fixed) / each))
    return (
        f"A batch does not fit at once: give --micro-batch-size {micro}, which computes the same in "
        f"{gigabytes(fixed + micro * each)}."
    )


def refuse_oversized(plan: Plan, path: Path, jobs: int = 1) -> None:
    """Refuses an experiment that needs far more memory or disk than is free, and would be killed.

    Raises:
        UserError: If it does not fit; the sentence says how it would, and how to start it regardless.
    """
    jobs = min(jobs, sum(plan.runs.values())) if plan.device == "CPU" else 1
    needed = jobs * sum(plan.memory.values())
    if needed > FAR * plan.available:
        together = f" for {jobs} runs at a time" if jobs > 1 else ""
        remedy = plan.advice or ("Give fewer --jobs." if jobs > 1 else "Give a smaller --batch-size.")
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

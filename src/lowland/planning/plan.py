"""What an experiment will do, before it starts: examples, tokens, steps, memory, time, disk, devices."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from lowland.config.experiment import ExperimentConfig, RunConfig
from lowland.config.outcomes import SHARE
from lowland.families.base import Family
from lowland.planning import cost
from lowland.planning.advice import advise
from lowland.planning.glance import glance, most_tokens
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
from lowland.sam.schedule import scheduled_rho
from lowland.tasks.base import Source, TaskData
from lowland.tasks.mixture import rates
from lowland.tasks.sources import MissingFilesError
from lowland.train import resolve_precision

BATCHES = 8
"""How many batches are looked at to see how long they are."""

GENERATION = 2.0
"""Generating an answer token by token takes about this much longer than its forward pass."""

BF16_SHARE = 0.5
"""What is left of the activations under bf16 autocast."""

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
        text_bytes: Bytes of the evaluation's texts, which each evaluation writes with its predictions.
        warnings: What the user should know.
        counted: Whether the examples were read and counted; otherwise their published numbers and the
            longest lengths stand for them.
        read: Whether the examples were read; without the model's tokenizer their lengths are not known.
        glance: What to show of them: topic and text.
    """

    train: Mapping[str, int]
    rates: Mapping[str, float]
    evaluation: Mapping[str, int]
    held_out: int
    shape: tuple[int, int]
    longest: tuple[int, int]
    text_bytes: int
    warnings: tuple[str, ...] = ()
    counted: bool = True
    read: bool = True
    glance: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an experiment will do on this machine.

    Attributes:
        config: The experiment.
        workload: Its examples.
        runs: Runs that are left.
        parameters: Weights of the model.
        memory: What takes memory -> bytes, in training by the arm that takes the most.
        available: Bytes that are free on the device.
        device: The device, in words.
        precision: `fp32` or `bf16`.
        step_seconds: Arm -> seconds of a step.
        evaluation_seconds: Seconds of one evaluation.
        measured: Whether the speed was measured on the model itself.
        disk: What is written -> bytes, for the runs that are left.
        advice: What to do where the experiment does not fit, or takes days.
    """

    config: ExperimentConfig
    workload: Workload
    runs: Mapping[str, int]
    parameters: int
    memory: Mapping[str, int]
    available: int
    device: str
    precision: str
    step_seconds: Mapping[str, float]
    evaluation_seconds: float
    measured: bool
    disk: Mapping[str, int]
    advice: tuple[str, ...]

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

    @property
    def outcome_seconds(self) -> float:
        """The time that measuring a run's outcomes may take: a share of the arithmetic of the fastest arm."""
        measured = bool(self.config.outcomes.measure)
        return measured * SHARE * self.config.train.steps * min(self.step_seconds.values())

    def run_seconds(self, arm: str) -> float:
        """Estimates the time of a run."""
        steps = self.config.train.steps * self.step_seconds[arm]
        return steps + self.evaluations * self.evaluation_seconds + self.outcome_seconds

    @property
    def seconds(self) -> float:
        """The time of the runs that are left, one after another."""
        return sum(number * self.run_seconds(arm) for arm, number in self.runs.items())


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
        text_bytes=sum(
            len(example.inputs.encode()) + 2 * len(example.targets.encode())
            for examples in data.evaluation.values()
            for example in examples
        ),
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
        known = task.data
        if known is None:
            own[task.name] = found = task.load(Source())
            train[task.name] = max(1, round(len(found.train) * config.data.fraction))
            evaluation |= {
                name: evaluation_count(len(examples), config.data.evaluation_limit)
                for name, examples in found.evaluation.items()
            }
            continue
        if known.train is not None:
            train[task.name] = max(1, round((known.train.published or 0) * config.data.fraction))
        if task.evaluated:
            sizes = {name: split.published or UNPUBLISHED[name] for name, split in known.evaluation.items()}
            evaluation |= {
                name: evaluation_count(size, config.data.evaluation_limit) for name, size in sizes.items()
            }
    shape = (
        max(
            config.train.input_length or most_tokens(task.input_length, own.get(task.name), "inputs")
            for task in tasks
        ),
        max(
            config.train.target_length or most_tokens(task.target_length, own.get(task.name), "targets")
            for task in tasks
        ),
    )
    if family is not None:
        shape = family.longest(*family.lengths(*shape))
    return Workload(
        train=train,
        rates=rates(train, config.data.cap, config.data.temperature),
        evaluation=evaluation,
        held_out=0,
        shape=shape,
        longest=shape,
        # About four bytes a token.
        text_bytes=sum(evaluation.values()) * 4 * sum(shape),
        warnings=tuple(sentence for data in own.values() for sentence in data.warnings),
        counted=False,
        read=len(own) == len(tasks),
        glance=glance({task.name: task for task in tasks}, {name: data.train for name, data in own.items()}),
    )


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
    if first.model in cost.known_models():
        return make_plan(config, published_workload(config), cost.outline(first.model))
    if data is None:
        with contextlib.suppress(MissingFilesError):
            data = load_data(config.data)
    seed = config.seeds[0]
    family = start_model(first, data, seed)
    if data is None:
        return make_plan(config, published_workload(config, family), family)
    encodings = Encodings(data, family, config.train)
    parted = part(data, config.data, seed, config.train.batch_size)
    return make_plan(config, count_workload(config, data, parted, encodings, seed, family), family)


def make_plan(
    config: ExperimentConfig,
    workload: Workload,
    family: Family | PreTrainedModel,
    runs: Mapping[str, int] | None = None,
) -> Plan:
    """Estimates what an experiment takes on this machine, in a second or two.

    Args:
        config: The experiment.
        workload: Its examples.
        family: The model, which may be moved to the device where it will train; or its outline alone.
        runs: Arm -> runs that are left; all by default.
    """
    train, device, processes = config.train, PartialState().device, PartialState().num_processes
    runs = runs if runs is not None else {arm: len(config.seeds) for arm in config.arms}
    precision = resolve_precision(train.precision, device)
    own = math.ceil(train.batch_size / processes)  # examples of a batch that this process gets
    pieces = min(own, train.micro_batch_size or own)

    model = family.loaded.model if isinstance(family, Family) else family
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weights, optimizer = 4 * parameters, cost.optimizer_bytes(model, train)
    shapes = cost.outline_of(model)
    flops = cost.forward_flops(shapes, *workload.shape)
    speed, measured = cost.training_speed(family, flops, workload.shape, pieces, device, precision == "bf16")
    kept = cost.activation_bytes(shapes, *workload.longest, checkpointed=train.gradient_checkpointing)
    # The arm that takes the most memory; what arms change besides SAM is not looked at here.
    arms = [config.of(arm) for arm in config.arms]
    most = max(arms, key=lambda arm: sum(_sam_memory(arm, model, weights, processes).values()))
    if precision == "bf16":
        kept *= BF16_SHARE

    def activations(examples: int) -> float:
        return kept * examples

    memory = {"weights": weights, "gradients": 4 * trained, "optimizer": optimizer}
    memory |= _sam_memory(most, model, weights, processes)
    fixed = sum(memory.values())
    memory["activations"] = round(activations(pieces))

    # Processes on CPUs are taken to share this machine.
    passes = (1 + cost.BACKWARD) * flops * (own if device.type == "cuda" else train.batch_size) / speed
    step_seconds = {arm: passes * sam_passes(config.of(arm)) for arm in config.arms}
    scored = sum(workload.evaluation.values()) + workload.held_out
    evaluations = math.ceil(train.steps / train.evaluate_every)
    number = sum(runs.values())
    available = cost.available_memory(device)
    disk = {
        "checkpoints and the best model": 4 * trained * ((2 if workload.held_out else 1) * number + 1),
        "states to go on from, while a run lasts": 3 * (weights + optimizer),
        "predictions": workload.text_bytes * evaluations * number,
    }
    evaluation_seconds = GENERATION * flops * scored / speed
    return Plan(
        config=config,
        workload=workload,
        runs=runs,
        parameters=parameters,
        memory=memory,
        available=available,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        precision=precision,
        step_seconds=step_seconds,
        evaluation_seconds=evaluation_seconds,
        measured=measured,
        disk=disk,
        advice=advise(
            config,
            pieces=pieces,
            fixed=fixed,
            activations=activations,
            available=available,
            run_seconds={
                arm: train.steps * seconds + evaluations * evaluation_seconds
                for arm, seconds in step_seconds.items()
            },
            runs=runs,
            speed=speed,
        ),
    )


def _sam_memory(config: RunConfig, model: PreTrainedModel, weights: int, processes: int) -> dict[str, int]:
    """Counts the bytes that SAM takes besides: what of it -> bytes."""
    if not config.sam.rho:
        return {}
    memory = {"SAM's copy of the weights": cost.copied_bytes(model, config.sam, processes)}
    if config.sam.direction == "momentum":
        memory["momentum of the direction"] = weights
    return memory


def sam_passes(config: RunConfig) -> float:
    """What an average step takes, in units of one of the baseline."""
    sam, steps = config.sam, config.train.steps
    if sam.rho == 0:
        return 1.0
    share = _ascent_share(config) if sam.direction == "ascent" else 0.0
    active = sum(scheduled_rho(sam, step, steps) is not None for step in range(steps)) / steps
    return 1 + active * (share + (sam.m - 1 if sam.descent == "full" else 0))


def _ascent_share(config: RunConfig) -> float:
    """The share of a batch that the ascent uses."""
    number = config.sam.ascent_examples
    return config.sam.ascent if number is None else number / config.train.batch_size

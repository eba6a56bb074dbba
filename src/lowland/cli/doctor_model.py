"""What `lowland doctor` says of a model: whether it loads as it was saved, and what its steps cost."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors import safe_open
from torch import nn

from lowland.cli.findings import Finding, Findings, gigabytes
from lowland.data import EncodedExample
from lowland.errors import UserError
from lowland.families.base import Family, Start
from lowland.families.recognise import load_family
from lowland.models import LoadedModel, checkpoint_layers
from lowland.models.head import has_separate_head, is_t5
from lowland.planning.cost import (
    activation_bytes,
    available_memory,
    copied_bytes,
    optimizer_bytes,
    outline_of,
)
from lowland.planning.plan import BF16_SHARE
from lowland.sam import SAMConfig
from lowland.tasks import Source, get_task
from lowland.train import TrainSettings, keep_freed_memory, resolve_precision
from lowland.train.gradients import build_gradient
from lowland.train.machine import resolve_operations
from lowland.train.optimizers import build_optimizer

ROUNDS = 5
SECONDS = 20.0
"""Timing stops after so many rounds, or when it has taken so long."""

TASK = "facts/capitals"
CLASSES = "glue/sst2"
"""A task whose labels stand for those of a classifier."""

QUESTION = (16, 8)
"""Tokens of its questions and answers, padded."""


def load(name: str, hub: bool, dropout: float) -> tuple[Family | None, list[Finding]]:
    """Loads a model as training does.

    Returns:
        The model, or `None` where it cannot be loaded, and what was found.
    """
    try:
        start = Start(tasks=lambda: {CLASSES: (get_task(CLASSES), ())})
        family = load_family(name, start=start, dropout=dropout, hub=hub)
    except UserError as error:
        return None, [Finding("problem", "model", str(error))]
    loaded = family.loaded
    model, tokenizer = loaded.model, loaded.tokenizer
    count = sum(parameter.numel() for parameter in model.parameters())
    text = f"{name}: {model.config.model_type} ({family.name}), {count / 1e6:.1f} million weights"
    found = [Finding("ok", "model", text)]
    sample = "What is the capital of France?"
    ids = tokenizer(sample)["input_ids"]
    back = " ".join(str(tokenizer.decode(ids, skip_special_tokens=True)).split())
    text = f"{len(tokenizer):,} tokens, which fit the embeddings"
    if back == sample:
        found.append(Finding("ok", "tokenizer", text))
    else:
        found.append(Finding("note", "tokenizer", f"{text}; {sample!r} comes back as {back!r}"))
    if is_t5(model):
        found.append(head(loaded, Path(name).expanduser()))
    found += [Finding("note", "", sentence) for sentence in family.notes]
    return family, found


def head(loaded: LoadedModel, directory: Path) -> Finding:
    """Checks that the output matrix of a T5 model is the one that its files hold."""
    name = "lm_head.weight"
    weight = loaded.model.get_output_embeddings().weight
    for file in sorted(directory.glob("*.safetensors")) if directory.is_dir() else []:
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys() and not torch.equal(tensors.get_tensor(name).to(weight), weight):  # noqa: SIM118
                return Finding("problem", "lm_head", "the output matrix is not the one in the files")
    if has_separate_head(loaded.model):
        return Finding("ok", "lm_head", "an output matrix of its own, kept apart from the token embeddings")
    return Finding("ok", "lm_head", "the output matrix is shared with the token embeddings, as in T5 1.0")


ARMS = {"baseline": SAMConfig(rho=0.0), "sam": SAMConfig()}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What steps cost.

    Attributes:
        seconds: Arm -> the shortest time of a step: other programs can only make it longer.
        rounds: How often each arm was timed.
        slowest: The longest time of a step, over the shortest of its arm.
        examples: Examples of a step.
        tokens: Tokens of a step's inputs and targets, padding included.
        precision: `fp32` or `bf16`.
        memory: Most memory in use, in bytes: of the accelerator, or of this process.
    """

    seconds: dict[str, float]
    rounds: int
    slowest: float
    examples: int
    tokens: int
    precision: str
    memory: int


def trial(family: Family, settings: TrainSettings, device: torch.device) -> Trial:
    """Trains a few steps by both arms in turn, as training does, and times them. The model is changed.

    The examples are real questions, repeated up to the lengths of the settings where these are given.
    """
    keep_freed_memory()
    task = get_task(TASK)
    examples = task.load(Source()).train[: settings.batch_size]
    if family.labels:
        examples = [
            replace(example, targets=family.labels[number % 2]) for number, example in enumerate(examples)
        ]
    encoded = family.encode(examples, task.input_length, task.target_length)
    lengths = (settings.input_length, settings.target_length)
    rows = [
        EncodedExample(
            np.resize(encoded[i].inputs, lengths[0] or len(encoded[i].inputs)),
            np.resize(
                encoded[i].targets, (lengths[1] if not family.labels else None) or len(encoded[i].targets)
            ),
        )
        for i in (index % len(encoded) for index in range(settings.batch_size))
    ]
    batch = family.collate(rows)
    precision = resolve_precision(settings.precision, device)
    model = family.loaded.model
    nn.Module.to(model, device)
    if settings.gradient_checkpointing:
        checkpoint_layers(model)
    fast = resolve_operations(settings.operations)
    loss_fn = family.loss(device, bf16=precision == "bf16", fast=fast, z_loss=settings.z_loss)
    loss_fn.module.train()
    optimizer = build_optimizer(model, settings, fast=fast)
    gradients = {arm: build_gradient(loss_fn.module, settings, sam) for arm, sam in ARMS.items()}
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    begun = time.perf_counter()
    # The first round warms up: memory is allocated, kernels are chosen.
    for number in range(1 + ROUNDS):
        for arm in ARMS:
            started = time.perf_counter()
            gradients[arm](loss_fn, batch)
            optimizer.step()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number > 0:
                times[arm].append(time.perf_counter() - started)
        if number > 0 and time.perf_counter() - begun > SECONDS:
            break
    return Trial(
        seconds={arm: min(values) for arm, values in times.items()},
        rounds=len(times["sam"]),
        slowest=max(max(values) / min(values) for values in times.values()),
        examples=settings.batch_size,
        tokens=settings.batch_size * sum(family.shape(batch)),
        precision=precision,
        memory=peak_memory(device),
    )


def peak_memory(device: torch.device) -> int:
    """Gives the most memory that was in use: of the accelerator, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def step_findings(result: Trial, steps: int) -> Findings:
    """Says what steps cost, and what an experiment of the default size would."""
    baseline, sam = (result.seconds[arm] for arm in ARMS)
    yield Finding(
        "ok",
        "step",
        f"baseline {_time(baseline)}, SAM {_time(sam)}: {sam / baseline:.2f} times, in {result.precision}, "
        f"with {result.examples} examples of {result.tokens:,} tokens; give --input-length for longer texts",
    )
    if result.rounds == 1 or result.slowest > 2 or sam < baseline:
        yield Finding(
            "note",
            "",
            f"measured {result.rounds} time(s), the slowest {result.slowest:.1f} times the fastest: "
            "do not trust these times",
        )
    whole = 3 * steps * (baseline + sam)
    yield Finding(
        "ok", "experiment", f"3 seeds of {steps} steps a run: about {_time(whole)}, evaluation left out"
    )


KERNELS = 350_000_000
"""Bytes of the kernels that a bf16 library makes on CPUs for each shape of a batch and keeps. The trial's
batches have one shape; in training kernels come within the first hundred steps."""

GAPS = 0.5
"""On CPUs, what memory cut for batches of many sizes takes besides: a share of what a step frees again."""


def expected_memory(family: Family, settings: TrainSettings, device: torch.device) -> dict[str, int]:
    """Estimates the parts of the memory of SAM training at its peak, in bytes, before any of it.

    Where the settings name no lengths, examples are taken to be as long as the questions of `trial`.
    """
    model = family.loaded.model
    size = weight_bytes(model)
    bf16 = resolve_precision(settings.precision, device) == "bf16"
    lengths = family.lengths(settings.input_length or QUESTION[0], settings.target_length or QUESTION[1])
    shape = family.longest(*lengths)
    kept = activation_bytes(outline_of(model), *shape, checkpointed=settings.gradient_checkpointing)
    pieces = min(settings.batch_size, settings.micro_batch_size or settings.batch_size)
    memory = {
        "weights": size,
        "gradients": size,
        "SAM's copy": copied_bytes(model, SAMConfig()),
        "optimizer": optimizer_bytes(model, settings),
        "activations": round(pieces * kept * (BF16_SHARE if bf16 else 1.0)),
    }
    if bf16:
        memory["weights in bf16"] = size // 2
    if device.type == "cpu":
        memory["gaps"] = round(
            GAPS * sum(memory[name] for name in ("gradients", "SAM's copy", "activations"))
        )
        if bf16:
            memory["kernels"] = KERNELS
    if device.type != "cuda":
        memory["libraries"] = max(0, psutil.Process().memory_info().rss - size)
    return memory


def memory_findings(memory: dict[str, int], device: torch.device, result: Trial | None) -> Findings:
    """Says what memory training is expected to take, and compares it with what there is."""
    total = sum(memory.values())
    on_gpu = device.type == "cuda"
    free = (
        torch.cuda.get_device_properties(device).total_memory
        if on_gpu
        else available_memory(torch.device("cpu"))
    )
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in memory.items())
    text = f"about {gigabytes(total)} at most: {parts}"
    if total > free:
        yield Finding(
            "problem",
            "memory",
            f"{text}. Only {gigabytes(free)} are free: give --micro-batch-size or --gradient-checkpointing, "
            "or a smaller model",
        )
    else:
        yield Finding("ok", "memory", text)
    if result is not None:
        what = "on the accelerator" if on_gpu else "of this process, libraries included"
        yield Finding("ok", "measured", f"{gigabytes(result.memory)} {what}")


def weight_bytes(model: nn.Module) -> int:
    """Counts the bytes of the weights in fp32, as training holds them."""
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"

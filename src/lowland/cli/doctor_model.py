"""What `lowland doctor` says of a model: whether it loads as it was saved, and what its steps cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lowland.cli.findings import Finding, Findings, gigabytes
from lowland.data import collate, encode, trim_padding
from lowland.errors import UserError
from lowland.experiment.cost import available_memory, optimizer_bytes
from lowland.models import LoadedModel, load_model
from lowland.models.head import has_separate_head, is_t5
from lowland.tasks import Source, get_task
from lowland.train import ARMS, Arm, SAMSettings, TrainSettings, resolve_precision
from lowland.train.gradients import build_gradient
from lowland.train.loss import sequence_loss
from lowland.train.optimizers import build_optimizer

ROUNDS = 5
SECONDS = 20.0
"""Timing stops after so many rounds, or when it has taken so long."""

TASK = "facts/capitals"


def load(name: str, hub: bool) -> tuple[LoadedModel | None, list[Finding]]:
    """Loads a model as training does.

    Returns:
        The model, or `None` where it cannot be loaded, and what was found.
    """
    try:
        loaded = load_model(name, dropout=TrainSettings.dropout, hub=hub)
    except UserError as error:
        return None, [Finding("problem", "model", str(error))]
    model, tokenizer = loaded.model, loaded.tokenizer
    count = sum(parameter.numel() for parameter in model.parameters())
    text = f"{name}: {model.config.model_type}, {count / 1e6:.1f} million weights"
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
    return loaded, found


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

    seconds: dict[Arm, float]
    rounds: int
    slowest: float
    examples: int
    tokens: int
    precision: str
    memory: int


def trial(loaded: LoadedModel, batch_size: int, device: torch.device) -> Trial:
    """Trains a few steps by both arms in turn, on real questions, and times them. The model is changed."""
    task = get_task(TASK)
    examples = task.load(Source()).train[:batch_size]
    encoded = encode(examples, loaded.tokenizer, task.input_length, task.target_length)
    pad = int(loaded.tokenizer.pad_token_id)
    rows = [encoded[index % len(encoded)] for index in range(batch_size)]
    batch = {name: tensor.to(device) for name, tensor in collate(rows, pad).items()}
    settings = TrainSettings(batch_size=batch_size)
    precision = resolve_precision("auto", device)
    model = loaded.model
    nn.Module.to(model, device)
    model.train()
    optimizer = build_optimizer(model, settings)
    decoder_inputs = cast(Callable[[Tensor], Tensor], model.prepare_decoder_input_ids_from_labels)

    def loss_fn(part: dict[str, Tensor]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return sequence_loss(model, decoder_inputs, trim_padding(part), settings.z_loss)

    gradients = {arm: build_gradient(arm, model, settings, SAMSettings()) for arm in ARMS}
    times: dict[Arm, list[float]] = {arm: [] for arm in ARMS}
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
        examples=batch_size,
        tokens=batch["input_ids"].numel() + batch["labels"].numel(),
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
    standard, sam = (result.seconds[arm] for arm in ARMS)
    yield Finding(
        "ok",
        "step",
        f"standard {_time(standard)}, SAM {_time(sam)}: {sam / standard:.2f} times, in {result.precision}, "
        f"with {result.examples} short questions ({result.tokens:,} tokens); longer texts take longer",
    )
    if result.rounds == 1 or result.slowest > 2 or sam < standard:
        yield Finding(
            "note",
            "",
            f"measured {result.rounds} time(s), the slowest {result.slowest:.1f} times the fastest: "
            "do not trust these times",
        )
    whole = 3 * steps * (standard + sam)
    yield Finding(
        "ok", "experiment", f"3 seeds of {steps} steps a run: about {_time(whole)}, evaluation left out"
    )


def memory_findings(model: nn.Module, device: torch.device, result: Trial | None) -> Findings:
    """Estimates the memory of training, and compares it with what there is."""
    size = weight_bytes(model)
    state = optimizer_bytes(model, TrainSettings())
    total = 3 * size + state
    on_gpu = device.type == "cuda"
    free = (
        torch.cuda.get_device_properties(device).total_memory
        if on_gpu
        else available_memory(torch.device("cpu"))
    )
    text = (
        f"at least {gigabytes(total)}: weights {gigabytes(size)}, gradients {gigabytes(size)}, SAM's copy "
        f"{gigabytes(size)}, AdaFactor {gigabytes(state)} (AdamW {gigabytes(2 * size)}); and activations"
    )
    if total > free:
        yield Finding("problem", "memory", f"{text}. Only {gigabytes(free)} are free: take a smaller model")
    else:
        yield Finding("ok", "memory", text)
    if result is not None:
        what = "on the accelerator" if on_gpu else "of this process, libraries included"
        yield Finding("ok", "measured", f"{gigabytes(result.memory)} {what}; less with --micro-batch-size")


def weight_bytes(model: nn.Module) -> int:
    """Counts the bytes of the weights in fp32, as training holds them."""
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"

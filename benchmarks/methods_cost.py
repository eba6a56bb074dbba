"""What a step of each arm of bench_methods.py costs: CPU time and memory, of the protocol's first model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_memory import PeakBytes
from transformers import AutoModelForSequenceClassification

from lowland import SAMConfig, SAMGradient
from lowland.config.arms import read_arms
from lowland.train.average import Average
from lowland.train.loop import build_gradient
from lowland.train.optimizers import build_optimizer
from lowland.train.settings import TrainSettings


def costs(protocol: Mapping[str, Any], path: Path, repeats: int = 9) -> dict[str, tuple[float, float]]:
    """Measures a step of each arm: CPU time by the baseline's, memory above it in copies of the weights.

    The steps of all arms take turns, and the medians are compared: a busy machine slows them alike.
    """
    steppers, peaks = {}, {}
    for arm, changes in read_arms([{"arms": protocol["arms"]}]).items():
        given = {**protocol["settings"], **changes}
        sam = SAMConfig(**{key[4:]: value for key, value in given.items() if key.startswith("sam.")})
        train = TrainSettings(**{key[6:]: value for key, value in given.items() if key.startswith("train.")})
        model = AutoModelForSequenceClassification.from_pretrained(path).train()
        optimizer = build_optimizer(model, train)
        gradient = build_gradient(model, train, replace(sam, start=0.0) if sam.rho else sam)
        average = Average(model, train) if train.ema or train.average_last else None
        length = max(task["length"] for task in protocol["tasks"].values())
        ids = torch.randint(5, model.config.vocab_size, (train.batch_size, length))
        batch = {"input_ids": ids, "labels": torch.arange(len(ids)) % 2}
        steppers[arm] = partial(_step, model, gradient, optimizer, average, batch)
        steppers[arm](train.steps)  # what is kept between steps is there from the first step on
        with PeakBytes() as tracker:
            kept = {} if average is None else average.state_dict()
            state = [one for of in optimizer.state.values() for one in of.values() if torch.is_tensor(one)]
            for tensor in [*model.parameters(), *gradient.state_dict().values(), *kept.values(), *state]:
                tracker.note(tensor)
            steppers[arm](train.steps)
        peaks[arm] = tracker.peak / sum(parameter.nbytes for parameter in model.parameters())
    times: dict[str, list[float]] = {arm: [] for arm in steppers}
    for _ in range(repeats):
        for arm, step in steppers.items():
            start = time.process_time()
            step(1)
            times[arm].append(time.process_time() - start)
    base = next(iter(steppers))
    return {arm: (median(times[arm]) / median(times[base]), peaks[arm] - peaks[base]) for arm in steppers}


def _step(model: Any, gradient: Any, optimizer: Any, average: Any, batch: Any, number: int) -> None:
    if isinstance(gradient, SAMGradient):
        gradient.measure, gradient.optimizer = False, optimizer
        gradient.at(number, number + 1)
    gradient(lambda part: model(**part).loss, batch)
    optimizer.step()
    optimizer.zero_grad()
    if average is not None:
        average.follow(number)

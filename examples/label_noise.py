"""SAM where it is known to help: a small network that learns from wrong labels.

    python examples/label_noise.py --out DIR [--jobs N]

A network with two hidden layers learns scikit-learn's handwritten digits from random weights, by SGD with
momentum and by AdamW, with 0, 20 and 40% of the labels wrong. Both arms are tuned alike on validation rows,
whose labels are as wrong, and compared on fresh seeds, SAM with a = b/4. The same command goes on after an
interruption.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lowland import SAM
from lowland.statistics import compare_pairs, decide

OPTIMIZERS = {"sgd": (0.03, 0.1, 0.3), "adamw": (0.0003, 0.001, 0.003)}  # name -> learning rates
RHOS = (0.1, 0.2, 0.5, 1.0, 2.0)
LABEL_NOISE = (0.0, 0.2, 0.4)
ROWS = {"train": 800, "validation": 200}
BATCH, STEPS, EVALUATE_EVERY = 64, 600, 30
SEEDS, TUNING_SEEDS = range(20), range(1000, 1003)


class Digits(NamedTuple):
    """One run's settings."""

    optimizer: str
    label_noise: float  # share of the training and validation rows with a wrong label
    learning_rate: float  # at the first step, from where it falls linearly to 0
    rho: float | None  # `None` is the baseline
    seed: int  # of the rows, the wrong labels, the first weights and the order


def rows_of(run: Digits) -> dict[str, tuple[Tensor, Tensor]]:
    """Draws pixels `# (rows, 64)` and labels of each part; the test set is what is left, its labels right."""
    pixels, labels = load_digits(return_X_y=True)
    random = np.random.default_rng([run.seed, 1])
    order = random.permutation(len(labels))
    parts = dict(zip((*ROWS, "test"), np.split(order, np.cumsum([*ROWS.values()])), strict=True))
    noisy = labels.copy()
    for name in ROWS:
        wrong = random.permutation(parts[name])[: round(run.label_noise * len(parts[name]))]
        noisy[wrong] = (labels[wrong] + random.integers(1, 10, len(wrong))) % 10
    return {
        name: (torch.from_numpy((pixels[rows] / 16.0).astype(np.float32)), torch.from_numpy(noisy[rows]))
        for name, rows in parts.items()
    }


def batches(pixels: Tensor, labels: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(labels), generator=random).split(BATCH):
            if len(part) == BATCH:
                yield pixels[part], labels[part]


def train(run: Digits) -> dict[str, Any]:
    """Trains one run; gives its settings and its accuracies in percent, every few steps."""
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    parts = rows_of(run)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    sam = None if run.rho is None else SAM(model, rho=run.rho, ascent=0.25)
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=run.learning_rate, momentum=0.9)
        if run.optimizer == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=run.learning_rate, weight_decay=0.0)
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS)

    def loss_fn(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    accuracies: dict[str, list[float]] = {"validation": [], "test": []}
    for step, batch in zip(range(1, STEPS + 1), batches(*parts["train"], run.seed), strict=False):
        if sam is None:
            loss_fn(batch).backward()
        else:
            sam(loss_fn, batch)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % EVALUATE_EVERY == 0:
            for part, values in accuracies.items():
                with torch.no_grad():
                    right = model(parts[part][0]).argmax(1) == parts[part][1]
                values.append(round(100 * float(right.double().mean()), 5))
    return {**run._asdict(), **accuracies}


class Runs:
    """The runs of a folder; those that its runs.jsonl holds are not run again."""

    def __init__(self, folder: Path, mapping: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self._file, self._map = folder / "runs.jsonl", mapping
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self._done = {Digits(*(of[name] for name in Digits._fields)): of for of in map(json.loads, lines)}

    def __call__(self, asked: Digits, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """Gives a run for each seed, and runs those that are not done."""
        runs = [asked._replace(seed=seed) for seed in seeds]
        left = [run for run in runs if run not in self._done]
        for run, line in zip(left, self._map(train, left), strict=True):
            self._done[run] = line
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return [self._done[run] for run in runs]


def choose(runs: Runs, candidates: Sequence[Digits], at: str) -> Digits:
    """Gives the candidate of the best validation accuracy over the seeds of tuning."""

    def mean(candidate: Digits) -> float:
        found = [line["validation"] for line in runs(candidate, TUNING_SEEDS)]
        return fmean(of[-1] if at == "last step" else max(of) for of in found)

    return max(candidates, key=mean)


def score(line: dict[str, Any], at: str) -> float:
    """Gives a run's test accuracy at the last step, or at the first with the best validation accuracy."""
    validation, test = line["validation"], line["test"]
    return float(test[-1 if at == "last step" else validation.index(max(validation))])


def compare(runs: Runs) -> Iterator[str]:
    """Tunes and compares under each optimizer and share of wrong labels, at either choice of the step."""
    yield "| wrong labels | optimizer | at | rate | rho | baseline | SAM | difference (95%) | SAM is |"
    yield "|---|---|---|---|---|---:|---:|---:|---|"
    for (optimizer, rates), noise, at in itertools.product(
        OPTIMIZERS.items(), LABEL_NOISE, ("last step", "validation")
    ):
        start = Digits(optimizer, noise, rates[0], None, 0)
        baseline = choose(runs, [start._replace(learning_rate=rate) for rate in rates], at)
        # SAM's rho is chosen at the baseline's learning rate, its own learning rate at this rho.
        sam = choose(runs, [baseline._replace(rho=rho) for rho in RHOS], at)
        sam = choose(runs, [sam._replace(learning_rate=rate) for rate in rates], at)
        arms = [[score(line, at) for line in runs(of, SEEDS)] for of in (baseline, sam)]
        found = compare_pairs(*arms)
        figure = f"{found.difference:+.1f} ({found.low:+.1f} to {found.high:+.1f}) | {decide(found).words}"
        means = " | ".join(f"{fmean(of):.1f}" for of in arms)
        chosen = f"{baseline.learning_rate:g} / {sam.learning_rate:g} | {sam.rho:g}"
        yield f"| {noise:.0%} | {optimizer} | {at} | {chosen} | {means} | {figure} |"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for line in compare(Runs(arguments.out, pool.map if arguments.jobs > 1 else map)):
            print(line, flush=True)


if __name__ == "__main__":
    main()

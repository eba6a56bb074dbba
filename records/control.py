"""A control: does SAM gain here where it is known to gain, in a small network with wrong labels?

    python -m records.control --out DIR [--jobs N]

A network with two hidden layers learns scikit-learn's handwritten digits from random weights, by SGD with
momentum and by AdamW, with 0, 20 and 40% of the labels wrong. Both arms are tuned alike on validation rows,
whose labels are as wrong, and compared on fresh seeds, SAM with a = b/4. The same command goes on after an
interruption; DIR/result.json is a record.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from records.log import table
from records.runs import LAST, VALIDATION
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lowland import SAM

OPTIMIZERS = {"sgd": (0.03, 0.1, 0.3), "adamw": (0.0003, 0.001, 0.003)}  # name -> learning rates
RHOS = (0.1, 0.2, 0.5, 1.0, 2.0)
LABEL_NOISE = (0.0, 0.2, 0.4)
ROWS = {"train": 800, "validation": 200}
BATCH, STEPS, EVALUATE_EVERY = 64, 600, 30
SEEDS, TUNING_SEEDS = range(20), range(1000, 1003)


class Digits(NamedTuple):
    """One run's settings; a rho of `None` is the baseline."""

    optimizer: str
    label_noise: float  # share of the training and validation rows with a wrong label
    learning_rate: float  # at the first step, from where it falls linearly to 0
    rho: float | None
    seed: int  # of the rows, the wrong labels, the first weights and the order

    @property
    def arm(self) -> str:
        """The name of the arm."""
        settings = f"{self.optimizer}, label_noise {self.label_noise:g}, learning_rate {self.learning_rate:g}"
        return f"baseline, {settings}" if self.rho is None else f"sam, {settings}, rho {self.rho:g}"


def rows_of(run: Digits) -> dict[str, tuple[Tensor, Tensor]]:
    """Draws a run's rows; what is left of them is the test set, whose labels are right.

    Returns:
        Part -> pixels `# (rows, 64)`, from 0 to 1, and labels `# (rows,)`.
    """
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


def train(run: Digits) -> dict[str, Any]:
    """Trains one run; gives its accuracies in percent, as result.json holds them."""
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

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def accuracy(part: str) -> float:
        with torch.no_grad():
            return round(100 * float((model(parts[part][0]).argmax(1) == parts[part][1]).double().mean()), 5)

    steps: list[int] = []
    found: dict[str, list[float]] = {VALIDATION: [], "test": []}
    for step, batch in zip(range(1, STEPS + 1), _batches(*parts["train"], run.seed), strict=False):
        if sam is None:
            loss_of(batch).backward()
        else:
            sam(loss_of, batch)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % EVALUATE_EVERY == 0:
            steps.append(step)
            for part, values in found.items():
                values.append(accuracy(part))
    scores = {part: {"digits": {"accuracy": values}} for part, values in found.items()}
    return {"arm": run.arm, "seed": run.seed, "steps": steps, "train": accuracy("train"), **scores}


def _batches(pixels: Tensor, labels: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(labels), generator=random).split(BATCH):
            if len(part) == BATCH:
                yield pixels[part], labels[part]


class Runs:
    """The runs of a folder, so many at a time; those that its runs.jsonl holds are not run again."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._file, self._jobs = folder / "runs.jsonl", jobs
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self._done = {(line["arm"], line["seed"]): line for line in map(json.loads, lines)}

    def __call__(self, asked: Sequence[Digits]) -> list[dict[str, Any]]:
        """Runs what is not done; gives all that were asked for, in their order."""
        left = [run for run in dict.fromkeys(asked) if (run.arm, run.seed) not in self._done]
        with ProcessPoolExecutor(self._jobs, mp_context=get_context("spawn")) as pool:
            for run, line in zip(left, (pool.map if self._jobs > 1 else map)(train, left), strict=True):
                self._done[run.arm, run.seed] = line
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        return [self._done[run.arm, run.seed] for run in asked]


def choose(runs: Runs, candidates: Sequence[Digits], at: str) -> Digits:
    """Gives the candidate of the best validation accuracy over the seeds of tuning."""

    def mean(candidate: Digits) -> float:
        lines = runs([candidate._replace(seed=seed) for seed in TUNING_SEEDS])
        found = [line[VALIDATION]["digits"]["accuracy"] for line in lines]
        return fmean(of[-1] if at == LAST else max(of) for of in found)

    return max(candidates, key=mean)


def experiment(runs: Runs) -> dict[str, Any]:
    """Tunes and compares under each optimizer and share of wrong labels, at either choice of the step."""
    arms: dict[str, dict[str, Any]] = {}
    comparisons, compared = [], []
    for (optimizer, rates), noise, at in itertools.product(
        OPTIMIZERS.items(), LABEL_NOISE, (LAST, VALIDATION)
    ):
        start = Digits(optimizer, noise, rates[0], None, 0)
        baseline = choose(runs, [start._replace(learning_rate=rate) for rate in rates], at)
        # SAM's rho is chosen at the baseline's learning rate, its own learning rate at this rho.
        sam = choose(runs, [baseline._replace(rho=rho) for rho in RHOS], at)
        sam = choose(runs, [sam._replace(learning_rate=rate) for rate in rates], at)
        for chosen in (baseline, sam):
            arms[chosen.arm] = {
                key: value for key, value in chosen._asdict().items() if key != "seed" and value is not None
            }
            compared += [chosen._replace(seed=seed) for seed in SEEDS]
        cell = f"{optimizer}, {noise:.0%} wrong labels"
        comparisons.append({"cell": cell, "at": at, "reference": baseline.arm, "arm": sam.arm})
    settings = {"steps": STEPS, "batch_size": BATCH, "schedule": "linear", "ascent": 0.25}
    lines = runs(list(dict.fromkeys(compared)))
    return {"settings": settings, "arms": arms, "comparisons": comparisons, "runs": lines}


def main(words: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = experiment(Runs(arguments.out, arguments.jobs))
    (arguments.out / "result.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()

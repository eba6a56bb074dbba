"""A control: does SAM gain here where it is known to gain, in a small network with wrong labels?

    python -m records.control [--jobs N]

A network with two hidden layers learns scikit-learn's handwritten digits from random weights, by SGD with
momentum and by AdamW, with 0, 20 and 40% of the labels wrong. Both arms are tuned alike on held-out rows,
whose labels are as wrong, and compared on fresh seeds, SAM with a = b/4. The same command goes on after an
interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from records.plan import FIRST_TUNING_SEED
from records.replicate import RATE, RHO, answered, tune
from records.results import read_lines, write_json
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lowland import SAM, StandardGradient
from lowland.cli.parser import at_least_one
from lowland.experiment.environment import describe_environment
from lowland.report.formats import Table, to_markdown
from lowland.report.selection import Selection
from lowland.report.statistics import compare_pairs
from lowland.report.tables import paired_cells
from lowland.report.words import spread
from lowland.report.write import write_atomic

OPTIMIZERS = {"sgd": (0.03, 0.1, 0.3), "adamw": (0.0003, 0.001, 0.003)}
"""Optimizer -> its learning rates."""

RHOS = (0.1, 0.2, 0.5, 1.0, 2.0)
LABEL_NOISE = (0.0, 0.2, 0.4)
TRAIN, HELD_OUT, BATCH, STEPS, EVALUATE_EVERY = 800, 200, 64, 600, 30
TUNING_SEEDS, SEEDS = 3, 20
SELECTIONS = (Selection.LAST_STEP, Selection.HELD_OUT)


@dataclass(frozen=True, kw_only=True)
class Digits:
    """One run's settings.

    Attributes:
        optimizer: `sgd` or `adamw`.
        label_noise: Share of the training and held-out rows with a wrong label.
        learning_rate: The rate at the first step, from where it falls linearly to 0.
        rho: SAM's radius; `None` is standard training.
        seed: Of the rows, the wrong labels, the first weights and the order.
    """

    optimizer: str
    label_noise: float
    learning_rate: float
    rho: float | None
    seed: int


@cache
def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Gives the pixels `# (rows, 64)`, from 0 to 1, and the labels `# (rows,)`, which are right."""
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16.0).astype(np.float32), labels


def rows_of(run: Digits) -> dict[str, tuple[Tensor, Tensor]]:
    """Draws a run's rows: training, held out, and the rest for evaluation, whose labels are right.

    Returns:
        Part -> pixels `# (rows, 64)` and labels `# (rows,)`.
    """
    pixels, labels = digits()
    random = np.random.default_rng([run.seed, 1])
    order = random.permutation(len(labels))
    noisy = labels.copy()
    for part in (order[:TRAIN], order[TRAIN : TRAIN + HELD_OUT]):
        wrong = random.permutation(part)[: round(run.label_noise * len(part))]
        noisy[wrong] = (labels[wrong] + random.integers(1, 10, len(wrong))) % 10
    ends = [0, TRAIN, TRAIN + HELD_OUT, len(order)]
    return {
        name: (torch.from_numpy(pixels[order[start:end]]), torch.from_numpy(of[order[start:end]]))
        for name, of, start, end in zip(
            ("train", "held_out", "evaluation"), (noisy, noisy, labels), ends[:-1], ends[1:], strict=True
        )
    }


def train(run: Digits) -> dict[str, Any]:
    """Trains one run; gives its settings and its accuracy, in percent, along the way."""
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    parts = rows_of(run)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    gradient = (
        StandardGradient(model) if run.rho is None else SAM(model, rho=run.rho, ascent=0.25, measure=False)
    )
    optimizer: torch.optim.Optimizer
    if run.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=run.learning_rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=run.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS)
    evaluations = []
    for step, batch in zip(range(1, STEPS + 1), _batches(*parts["train"], run.seed), strict=False):
        gradient(lambda rows: nn.functional.cross_entropy(model(rows[0]), rows[1]), batch)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % EVALUATE_EVERY == 0:
            evaluations.append({"step": step} | {name: _accuracy(model, *of) for name, of in parts.items()})
    return asdict(run) | {"evaluations": evaluations}


def _batches(pixels: Tensor, labels: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Goes over the rows again and again, in an order that only the seed decides."""
    random = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(labels), generator=random)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            part = order[start : start + BATCH]
            yield pixels[part], labels[part]


@torch.no_grad()
def _accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    return 100 * float((model(pixels).argmax(1) == labels).double().mean())


def score(run: Mapping[str, Any], part: str, selection: Selection) -> float:
    """Reads a run's accuracy at the last step, or at the first one of the best held-out accuracy."""
    chosen = run["evaluations"][-1]
    if selection is Selection.HELD_OUT:
        chosen = max(run["evaluations"], key=lambda one: one["held_out"])
    return float(chosen[part])


class Control:
    """The runs, by their settings; those in the file are not run again.

    Args:
        file: Lines of JSON, one a finished run.
        jobs: How many runs at a time.
    """

    def __init__(self, file: Path, jobs: int = 1) -> None:
        self._file, self._jobs = file, jobs
        self._done: dict[Digits, dict[str, Any]] = {}
        for line in read_lines(file) if file.exists() else []:
            self._done[Digits(**{key: line[key] for key in Digits.__dataclass_fields__})] = line

    def run(self, asked: Sequence[Digits]) -> list[dict[str, Any]]:
        """Runs what is not done; gives all that were asked for, in their order."""
        left = [run for run in dict.fromkeys(asked) if run not in self._done]
        if self._jobs == 1 or len(left) < 2:
            self._keep(left, map(train, left))
        else:
            with ProcessPoolExecutor(self._jobs, mp_context=get_context("spawn")) as pool:
                self._keep(left, pool.map(train, left))
        return [self._done[run] for run in asked]

    def _keep(self, runs: Sequence[Digits], lines: Iterable[dict[str, Any]]) -> None:
        for run, line in zip(runs, lines, strict=True):
            self._done[run] = line
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def cells(self) -> Iterator[list[dict[str, Any]]]:
        """Gives one cell after the other, under every optimizer and share of wrong labels."""
        for optimizer in OPTIMIZERS:
            for noise in LABEL_NOISE:
                yield self.cell(optimizer, noise)

    def tune(self, optimizer: str, noise: float, selection: Selection) -> dict[str, dict[str, Any]]:
        """Chooses as the plans do; gives each arm's learning rate and rho."""

        def choose(arm: str, candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
            scores = []
            for candidate in candidates:
                seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + TUNING_SEEDS)
                asked = [_run(optimizer, noise, candidate[RATE], candidate.get(RHO), seed) for seed in seeds]
                scores.append(fmean(score(run, "held_out", selection) for run in self.run(asked)))
            return dict(candidates[scores.index(max(scores))])

        chosen = tune(choose, OPTIMIZERS[optimizer], RHOS)
        return {arm: {"learning_rate": of[RATE], "rho": of.get(RHO)} for arm, of in chosen.items()}

    def cell(self, optimizer: str, noise: float) -> list[dict[str, Any]]:
        """Tunes and compares under one optimizer and share of wrong labels, at either choice of the step."""
        found = []
        for selection in SELECTIONS:
            chosen = self.tune(optimizer, noise, selection)
            scores = {}
            for arm, of in chosen.items():
                asked = [_run(optimizer, noise, **of, seed=seed) for seed in range(SEEDS)]
                scores[arm] = [score(run, "evaluation", selection) for run in self.run(asked)]
            found.append(
                {
                    "optimizer": optimizer,
                    "label_noise": noise,
                    "selection": selection.value,
                    "chosen": chosen,
                    "scores": scores,
                }
            )
        return found


def _run(optimizer: str, noise: float, learning_rate: float, rho: float | None, seed: int) -> Digits:
    return Digits(optimizer=optimizer, label_noise=noise, learning_rate=learning_rate, rho=rho, seed=seed)


def page(cells: Sequence[Mapping[str, Any]]) -> str:
    """Writes the table."""
    rows = []
    for cell in cells:
        one, sam = compare_pairs(**cell["scores"]), cell["chosen"]["sam"]
        rates = f"{cell['chosen']['standard']['learning_rate']:g} / {sam['learning_rate']:g}"
        place = (cell["optimizer"], f"{cell['label_noise']:.0%}", cell["selection"])
        arms = (spread(one.standard), spread(one.sam))
        rows.append((*place, rates, f"{sam['rho']:g}", *arms, *paired_cells(one)))
    columns = (
        "Optimizer",
        "Wrong labels",
        "Step",
        "Learning rates",
        "rho",
        "Standard",
        "SAM",
        "SAM - standard (95% interval)",
        "Seeds",
        "SAM is",
    )
    return to_markdown(
        Table(name="control", title="", columns=columns, align="lrllrrrrrl", rows=tuple(rows), records=())
    )


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: a new record of today")
    parser.add_argument("--jobs", type=at_least_one, default=1, metavar="N", help="runs at a time")
    arguments = parser.parse_args(words)
    out = arguments.out or Path(__file__).parent / f"{datetime.now(UTC):%Y-%m-%d}_control"

    def work() -> None:
        out.mkdir(parents=True, exist_ok=True)
        control = Control(out / "runs.jsonl", arguments.jobs)
        cells = []
        for cell in control.cells():
            cells += cell
            print(page(cell), flush=True)
        write_json(out / "env.json", describe_environment())
        write_json(out / "scores.json", cells)
        write_atomic(out / "table.md", page(cells).encode())

    return answered("records.control", work)


if __name__ == "__main__":
    sys.exit(main())

"""The estimate of the time that is left, against a clock that does as it is told."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from lowland.config.experiment import ExperimentConfig, build_config
from lowland.planning.remaining import Remaining
from lowland.runs.directory import RunDirectory, write_json

MINUTES = 60.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def config_of(seeds: int, evaluate_every: int = 100) -> ExperimentConfig:
    """Both arms, 400 steps of 32 examples."""
    config = build_config({"data": {"tasks": ["facts/continents"]}, "seeds": list(range(seeds))})
    return replace(config, train=replace(config.train, evaluate_every=evaluate_every, steps=400))


def write(run: RunDirectory, **status: object) -> None:
    """Writes a run's status, as the run does."""
    write_json(run.path / "status.json", {"state": "running", **run.status(), **status})


def simulate(
    config: ExperimentConfig,
    path: Path,
    step_seconds: dict[str, float],
    evaluation: float,
    start: float,
    done: int = 0,
    workers: int = 1,
) -> list[tuple[float, float | None]]:
    """Plays an experiment, `workers` runs at a time; returns time and estimate after each line of a log."""
    chance, clock, train = random.Random(0), Clock(), config.train
    runs = [RunDirectory(path, arm, seed) for seed, arm in itertools.product(config.seeds, config.arms)]
    for run in runs:
        run.path.mkdir()
    for run in runs[:done]:
        write(run, state="done", step=400, evaluated=400, train_seconds=9.0, evaluation_seconds=1.0)
    remaining = Remaining(config, path, clock)
    told: list[tuple[float, float | None]] = []
    for begun in range(done, len(runs), workers):
        turn = runs[begun : begun + workers]
        clock.now += start
        for step in range(10, train.steps + 1, 10):
            # The first steps of all are slow, and none is quite like another.
            slow = 2 if step == 10 and begun == done else 1
            took = [slow * 10 * step_seconds[run.arm] * chance.uniform(0.9, 1.1) for run in turn]
            clock.now += max(took)
            for run, seconds in zip(turn, took, strict=True):
                before = run.status().get("train_seconds", 0.0)
                write(run, step=step, train_seconds=before + seconds)
            told.append((clock.now, remaining.seconds()))
            if step % train.evaluate_every == 0:
                clock.now += evaluation
                for run in turn:
                    before = run.status().get("evaluation_seconds", 0.0)
                    write(run, evaluated=step, evaluation_seconds=before + evaluation)
                told.append((clock.now, remaining.seconds()))
        for run in turn:
            write(run, state="done")
    assert remaining.seconds() == 0.0 and remaining.share == 1.0
    return [(now - 1000.0, estimate) for now, estimate in told]


@pytest.mark.parametrize(
    ("seeds", "sam", "evaluation", "every", "done", "workers"),
    [
        (1, 1.2, 4.0, 100, 0, 1),
        (1, 1.5, 40.0, 50, 0, 1),
        (3, 1.37, 40.0, 100, 0, 1),
        (3, 1.5, 4.0, 50, 1, 1),
        (2, 1.2, 20.0, 100, 1, 1),
        (4, 1.25, 20.0, 100, 0, 2),
        (4, 1.25, 4.0, 100, 2, 2),
    ],
)
def test_the_end_is_foreseen(
    tmp_path: Path, seeds: int, sam: float, evaluation: float, every: int, done: int, workers: int
) -> None:
    """After three minutes the end that is foreseen is within 10% of the end that comes, whatever the arms'
    speeds, the evaluations, the runs that were done before, and the runs at a time.
    """
    config = config_of(seeds, every)
    speeds = {"baseline": 1.0, "sam": sam}
    told = simulate(config, tmp_path, speeds, evaluation, start=5.0, done=done, workers=workers)
    end = told[-1][0]
    late = [(now, left) for now, left in told if now > 3 * MINUTES]
    assert late
    for now, left in late:
        assert left is not None
        assert now + left == pytest.approx(end, rel=0.1), f"after {now:.0f} s of {end:.0f}"
    assert told[-1][1] == pytest.approx(0.0, abs=1.0)  # a second: what the last evaluation differs by


def test_an_interrupted_run_counts_what_is_left(tmp_path: Path) -> None:
    """A run that goes on from a state before its last line of the log is measured from that state."""
    config, clock = config_of(1), Clock()
    done, run = RunDirectory(tmp_path, "baseline", 0), RunDirectory(tmp_path, "sam", 0)
    done.path.mkdir()
    run.path.mkdir()
    write(done, state="done", step=400)
    write(run, step=230, evaluated=100, train_seconds=50.0)
    remaining = Remaining(config, tmp_path, clock)
    assert remaining.seconds() is None
    write(run, step=200, train_seconds=44.0)
    assert remaining.seconds() is None
    for step in (210, 220):
        assert remaining.seconds() is None
        clock.now += 20.0
        write(run, step=step, train_seconds=44.0 + 2 * (step - 200))
    # What is left of the run, with two evaluations that take no time here.
    assert remaining.seconds() == pytest.approx(180 * 2.0)  # floating-point sums
    clock.now += 10.0
    assert remaining.seconds() == pytest.approx(180 * 2.0 - 10.0)
    assert remaining.share == pytest.approx((400 + 1.25 * 220) / (400 * 2.25))

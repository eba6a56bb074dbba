"""Settings chosen on held-out rows before a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.command import call, reviews, succeed, write_rows
from tests.families.tiny import write_model

from lowland.comparison import session
from lowland.comparison.tune import FIRST_SEED, Tried, tune
from lowland.config.arms import KNOWN
from lowland.config.data import CustomData, DataSettings
from lowland.config.experiment import ExperimentConfig
from lowland.errors import UserError
from lowland.report.runs import Experiment, Run, Sets, Split
from lowland.runs.examples import load_data


def own_data(folder: Path, held_out: int = 10) -> DataSettings:
    """A user's rows."""
    custom = CustomData(
        train=str(write_rows(folder / "train.jsonl", reviews(40))),
        evaluation=str(write_rows(folder / "dev.jsonl", reviews(12, 100))),
        input="{text}",
        target="{label}",
    )
    return DataSettings(custom=custom, held_out=held_out)


def test_every_arm_has_six_tries_and_gets_the_best(tmp_path: Path) -> None:
    """On seeds of its own each arm tries six settings, and the best of them is chosen."""
    config = ExperimentConfig(
        data=own_data(tmp_path),
        arms={**{name: KNOWN[name] for name in ("baseline", "sam")}, "late": {"sam.start": 0.2}},
    )
    rate, rho = config.train.learning_rate, config.sam.rho
    asked: list[ExperimentConfig] = []

    def run(stage: str, tries: ExperimentConfig) -> Experiment:
        """Scores the tries: three times the learning rate and half of rho are best; the step 20 is."""
        asked.append(tries)
        runs = []
        for arm in tries.arms:
            own = tries.of(arm)
            score = 80.0 + 5 * (own.train.learning_rate == 3 * rate) + 2 * (own.sam.rho == rho / 2)
            scores = {step: {"train": {"accuracy": v}} for step, v in ((10, 1.0), (20, score), (30, 2.0))}
            runs += [
                Run(arm=arm, seed=s, state="done", evaluations={"held_out": scores}) for s in tries.seeds
            ]
        return Experiment(
            directory=tmp_path, name=stage, command="", model="", tasks=(), changes=tries.arms,
            seeds=tries.seeds, steps=30, metrics={}, runs=tuple(runs),
        )  # fmt: skip

    tried: list[Tried] = []
    chosen = tune(config, load_data(config.data), 2, run, tried.append)
    assert [tries.seeds for tries in asked] == [(FIRST_SEED, FIRST_SEED + 1)] * 2
    assert all(not tries.outcomes.measure for tries in asked)
    assert {arm: sum(one.arm == arm for one in tried) for arm in config.arms} == dict.fromkeys(config.arms, 6)
    assert [len(tries.arms) for tries in asked] == [9, 9]
    of = {arm: chosen.of(arm) for arm in chosen.arms}
    assert {arm: own.train.learning_rate for arm, own in of.items()} == dict.fromkeys(config.arms, 3 * rate)
    assert [own.sam.rho for own in of.values()] == [0.0, rho / 2, rho / 2]
    assert (chosen.seeds, chosen.data, of["late"].sam.start) == (config.seeds, config.data, 0.2)


def test_an_arm_that_always_fails_is_not_compared(tmp_path: Path) -> None:
    """Where no try of an arm has ended with a score, nothing is chosen for it."""

    def run(stage: str, tries: ExperimentConfig) -> Experiment:
        found: Mapping[Split, Mapping[int, Sets]] = {"held_out": {10: {"train": {"accuracy": 80.0}}}}
        runs = [
            Run(arm=arm, seed=seed, state="failed" if tries.of(arm).sam.rho else "done", evaluations=found)
            for arm in tries.arms
            for seed in tries.seeds
        ]
        return Experiment(
            directory=tmp_path, name=stage, command="", model="", tasks=(), changes=tries.arms,
            seeds=tries.seeds, steps=10, metrics={}, runs=tuple(runs),
        )  # fmt: skip

    config = ExperimentConfig(data=own_data(tmp_path))
    tried: list[Tried] = []
    with pytest.raises(UserError, match="no try of the arm 'sam' has come to its end"):
        tune(config, load_data(config.data), 1, run, tried.append)
    assert len(tried) == 12


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """Without held-out rows, or with the seeds of tuning, there is nothing to choose by."""

    def never(stage: str, tries: ExperimentConfig) -> Experiment:
        raise AssertionError("nothing may be run")

    none = ExperimentConfig(data=own_data(tmp_path, held_out=0))
    with pytest.raises(UserError, match="Give --held-out"):
        tune(none, load_data(none.data), 1, never, lambda tried: None)
    seeds = replace(none, seeds=(3, FIRST_SEED))
    with pytest.raises(UserError, match="compare others"):
        tune(seeds, load_data(none.data), 1, never, lambda tried: None)


def test_several_processes_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that train together are told before the first try that tuning wants one."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = ExperimentConfig(data=own_data(tmp_path))
    ready = session.Experiment(config=config, data=load_data(config.data))
    way = session.Way(command="", console=Console(quiet=True), store=tmp_path / "runs", tune_seeds=1)
    with pytest.raises(UserError, match="--tune runs in one process"):
        session.run_comparison(ready, tmp_path / "run", way)
    assert not (tmp_path / "run-tuning").exists()


@pytest.mark.slow
def test_tuning_through_the_command(tmp_path: Path) -> None:
    """--tune prints what it tried and chose, and the comparison's arms and seeds are those."""
    write_model(tmp_path / "model", "bert")
    words: list[str | Path] = [
        "compare", "--train", write_rows(tmp_path / "train.jsonl", reviews(40)),
        "--test", write_rows(tmp_path / "dev.jsonl", reviews(12, 100)), "--input", "{text}",
        "--target", "{label}", "--model", tmp_path / "model", "--steps", "1", "--batch-size", "4",
        "--precision", "fp32", "--seeds", "2", "--outcomes", "none", "--out", tmp_path / "run", "--tune",
    ]  # fmt: skip
    assert "Give --held-out" in call(*words, "--held-out", "0").err
    result = succeed(*words, "--held-out", "10")
    assert (result.out.count("Tried baseline"), result.out.count("Tried sam")) == (6, 6)
    described = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert described["seeds"] == [0, 1]
    assert all("train.learning_rate" in changed for changed in described["arms"].values())

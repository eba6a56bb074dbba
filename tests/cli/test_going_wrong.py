"""Runs that go wrong, through the command line: what is said, what is kept, what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from tests.cli.command import SMALL, call, succeed

from lowland.runs.directory import RunDirectory
from lowland.runs.health import Health
from lowland.runs.replay import replay
from lowland.sam import SAMConfig
from lowland.tasks.base import Example
from lowland.train import TrainSettings, Watch

DIVERGING = ["facts/continents", *SMALL, "--optimizer", "adamw", "--learning-rate", "1e30"]


def read_status(run: Path) -> dict[str, Any]:
    """Reads the status of a run."""
    status: dict[str, Any] = json.loads((run / "status.json").read_text())
    return status


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SAM that stopped at its second step."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    result = call("train", *DIVERGING, "--out", out)
    assert result.code == 2
    assert "Traceback" not in result.err
    return out / "sam-seed0"


def test_stop_says_where(stopped: Path) -> None:
    """A run whose loss is not finite fails at that step, and says what to change and how to look closer."""
    status = read_status(stopped)
    assert status["state"] == "failed"
    assert "At step 2 the loss is nan" in status["error"]
    assert "learning rate (now 1e+30) or rho" in status["error"]
    assert f"lowland replay {stopped.resolve() / 'non-finite' / 'step-2'}" in status["error"]


def test_batch_is_kept(stopped: Path) -> None:
    """The step's folder holds its batch and weights in safetensors, and its figures in JSON, and no more."""
    folder = stopped / "non-finite" / "step-2"
    names = {path.name for path in folder.iterdir()}
    assert names == {"batch.safetensors", "weights.safetensors", "step.json"}
    batch = load_file(folder / "batch.safetensors")
    assert len(batch["input_ids"]) == len(batch["labels"]) == 8
    assert json.loads((folder / "step.json").read_text())["step"] == 2


def test_replay(stopped: Path) -> None:
    """The kept step comes out as in the run, names the layer, and shows the examples."""
    out = " ".join(succeed("replay", stopped.parent).out.split())
    assert "Step 2 (sam): the loss is nan" in out and "as in the run" in out
    assert "The first layer whose output is not finite" in out
    assert "question: " in out


def test_replay_is_bit_for_bit(stopped: Path, tmp_path: Path) -> None:
    """A finite step that is kept and computed again, dropout on, has the very same loss and norm."""
    from accelerate import Accelerator

    from lowland.config.experiment import build_config
    from lowland.config.layers import read_layer
    from lowland.models import load_model
    from lowland.train import Training
    from lowland.train.failure import random_streams, save_failure

    run = tmp_path / "sam-seed0"
    run.mkdir()
    (run / "config.toml").write_text((stopped / "config.toml").read_text())
    config = build_config(read_layer(run / "config.toml"))
    kept = load_file(stopped / "non-finite" / "step-2" / "batch.safetensors")
    import torch

    batch = {n: torch.from_numpy(kept[n]) for n in ("input_ids", "attention_mask", "labels")}
    model = load_model("embedded", dropout=0.1).model

    class Batches:
        def __next__(self) -> dict[str, torch.Tensor]:
            return batch

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None: ...

    training = Training(
        model, Batches(), settings=config.train, sam=config.sam, accelerator=Accelerator(cpu=True)
    )
    model.train()
    streams = random_streams()
    folder = run / "non-finite" / "step-1"
    save_failure(folder, model, batch, streams, {"step": 1, "loss": "0", "gradient_norm": "0"})
    info, norm = training.gradient(batch)
    figures = {"step": 1, "loss": str(float(info.loss)), "gradient_norm": str(norm)}
    (folder / "step.json").write_text(json.dumps(figures))
    again = replay(folder)
    assert again.same and again.loss == float(info.loss) and again.gradient_norm == norm
    assert again.module is None and again.weights == ()


@pytest.mark.parametrize("name", ["notes", "step"])
def test_nothing_to_replay(tmp_path: Path, name: str) -> None:
    """A directory without a kept step, or with a damaged one, is answered with one sentence."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "step.json").write_text("{}")
    result = call("replay", tmp_path / name)
    assert result.code == 2
    assert result.err.count("\n") == 1


def test_skip_counts(tmp_path: Path) -> None:
    """With --on-non-finite skip a run goes on, and status and report say how many updates were left out."""
    out = tmp_path / "out"
    done = succeed("train", *DIVERGING, "--arm", "baseline", "--on-non-finite", "skip", "--out", out)
    log = (out / "baseline-seed0" / "train.jsonl").read_bytes()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["skipped"] for line in lines] == [0, 1, 2, 3]
    assert [line["loss"] is None for line in lines] == [False, True, True, True]
    sentence = "3 of 4 updates were left out, the first at step 2"
    assert any(sentence in warning for warning in read_status(out / "baseline-seed0")["warnings"])
    assert sentence in (out / "report" / "report.md").read_text()
    assert sentence in " ".join(done.out.split())


def test_hopeless_is_not_skipped(tmp_path: Path) -> None:
    """Where ten updates in a row would be left out, training stops instead of going on for nothing."""
    options = ["--steps", "30", "--on-non-finite", "skip"]
    result = call("train", *DIVERGING, *options, "--arm", "baseline", "--out", tmp_path / "out")
    assert result.code == 2
    assert "At step 11" in result.err and "as in the 9 steps before" in result.err


def test_constant_predictions(tmp_path: Path) -> None:
    """One prediction for all examples is warned of at the last step, where their targets differ."""
    directory = RunDirectory(tmp_path, "baseline", 0)
    directory.start("", {}, 20)
    notes: list[str] = []
    watch = Watch(TrainSettings(steps=20), SAMConfig(rho=0.0))
    health = Health(directory, watch, 20, notes.append)
    mixed = [Example(inputs=str(n), targets="yes" if n % 2 else "no") for n in range(12)]
    alike = [Example(inputs=str(n), targets="yes") for n in range(12)]
    health.on_predictions("a", 10, mixed, ["no"] * 12)
    health.on_predictions("a", 15, mixed, ["no"] * 12)
    assert len(notes) == 1 and read_status(directory.path)["warnings"] == []
    health.on_predictions("a", 20, mixed, ["no"] * 12)
    health.on_predictions("b", 20, alike, ["yes"] * 12)
    health.on_predictions("c", 20, mixed, ["no"] * 11 + ["yes"])
    health.on_predictions("d", 20, mixed, [""] * 12)
    warnings = read_status(directory.path)["warnings"]
    assert [warning[:2] for warning in warnings] == ["a:", "d:"]
    assert "'no' for all 12 examples" in warnings[0] and "nothing for all" in warnings[1]

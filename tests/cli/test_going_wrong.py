"""Runs that go wrong, through the command line: what is said, what is kept, what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from tests.cli.command import SMALL, call, succeed

from lowland.runs.replay import keep_step, replay

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
    assert f"lowland doctor --step {stopped.resolve() / 'non-finite' / 'step-2'}" in status["error"]


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
    out = " ".join(succeed("doctor", "--step", stopped.parent).out.split())
    assert "Step 2 (sam): the loss is nan" in out and "as in the run" in out
    assert "The first layer whose output is not finite" in out
    assert "question: " in out


@pytest.mark.parametrize("noise", ["none", "r3f"])
def test_replay_is_bit_for_bit(stopped: Path, tmp_path: Path, noise: str) -> None:
    """A finite step computed again, with dropout and noise on the embeddings, has the same loss and norm."""
    from accelerate import Accelerator

    from lowland.config.experiment import build_config
    from lowland.config.layers import read_layer
    from lowland.models import load_model
    from lowland.train import StepReport, Training
    from lowland.train.loop import FailedStep
    from lowland.train.state import stream_rows

    run = tmp_path / "sam-seed0"
    run.mkdir()
    settings = (stopped / "config.toml").read_text()
    settings = settings.replace('embedding_noise = "none"', f'embedding_noise = "{noise}"')
    assert f'embedding_noise = "{noise}"' in settings
    (run / "config.toml").write_text(settings)
    (run / "status.json").write_text((stopped / "status.json").read_text())
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

    train = replace(config.train, log_every=1)
    training = Training(model, Batches(), settings=train, sam=config.sam, accelerator=Accelerator(cpu=True))
    failed = FailedStep(step=1, loss=0.0, gradient_norm=0.0, batch=batch, streams=stream_rows())
    assert keep_step(failed, model, run).endswith("step-1")
    folder = run / "non-finite" / "step-1"
    log: list[StepReport] = []
    training.run(log.append, lambda step: None, stop=lambda: True)
    figures = {"step": 1, "loss": str(log[0].loss), "gradient_norm": str(log[0].gradient_norm)}
    (folder / "step.json").write_text(json.dumps(figures))
    again = replay(folder)
    assert again.same and again.loss == log[0].loss and again.gradient_norm == log[0].gradient_norm
    assert again.module is None and again.weights == ()


@pytest.mark.parametrize("name", ["notes", "step"])
def test_nothing_to_replay(tmp_path: Path, name: str) -> None:
    """A directory without a kept step, or with a damaged one, is answered with one sentence."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "step.json").write_text("{}")
    result = call("doctor", "--step", tmp_path / name)
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

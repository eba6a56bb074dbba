"""The loop: equal arms at rho 0, exact resume, damaged states, and its losses and optimizers."""

from __future__ import annotations

import json
import math
import platform
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.models import loss_maker, tiny_config
from torch import Tensor
from transformers import PreTrainedModel

from lowland import SAM
from lowland.errors import UserError
from lowland.files import DamagedError
from lowland.models.head import build_model
from lowland.models.save import weights_sha256
from lowland.sam import SAMConfig
from lowland.train import loop
from lowland.train.log import StepReport
from lowland.train.loop import Training, TrainingError
from lowland.train.loss import token_loss
from lowland.train.machine import keep_freed_memory
from lowland.train.optimizers import build_optimizer
from lowland.train.seeds import seed_dropout
from lowland.train.settings import TrainSettings
from lowland.train.state import read_values


class NumberedBatches:
    """Batches that depend on their number alone."""

    def __init__(self) -> None:
        self.number = 0

    def __next__(self) -> dict[str, Tensor]:
        self.number += 1
        generator = torch.Generator().manual_seed(self.number)
        labels = torch.randint(2, 100, (8, 5), generator=generator)
        labels[:4, 3:] = -100
        return {
            "input_ids": torch.randint(2, 100, (8, 6), generator=generator),
            "attention_mask": torch.ones(8, 6, dtype=torch.long),
            "labels": labels,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.number = state["number"]


def model_of() -> PreTrainedModel:
    """A tiny T5.1.1 with dropout."""
    torch.manual_seed(0)
    model = build_model(tiny_config("t5.1.1"))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    return model


def training_of(
    arm: str = "sam", steps: int = 7, rho: float = 0.1, sam: Mapping[str, Any] | None = None, **changes: Any
) -> Training:
    """A training of it that has not begun."""
    model = model_of()
    return Training(
        model,
        NumberedBatches(),
        loss_maker(model),
        settings=TrainSettings(
            steps=steps,
            **{"learning_rate": 1e-2, "evaluate_every": 100, "log_every": 3, "precision": "fp32", **changes},
        ),
        sam=SAMConfig(rho=rho, **(sam or {})) if arm == "sam" else SAMConfig(rho=0.0),
        accelerator=Accelerator(cpu=True),
    )


def trajectory(training: Training, stop_at: int | None = None) -> list[dict[str, Any]]:
    """Runs on and gives the log without its times."""
    reports: list[StepReport] = []
    training.run(reports.append, lambda step: None, lambda: training.step == stop_at)
    return [{k: v for k, v in vars(report).items() if k != "seconds"} for report in reports]


def test_sam_at_rho_zero_is_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout on, SAM's own gradient at rho = 0 gives the baseline bit for bit."""
    logs, hashes = {}, {}
    for arm in ("baseline", "sam"):
        if arm == "sam":
            monkeypatch.setattr(loop, "build_gradient", lambda model, *_: SAM(model, rho=0.0))
        training = training_of(arm, rho=0.0)
        seed_dropout(0)
        logs[arm] = [(r["loss"], r["gradient_norm"], r["learning_rate"]) for r in trajectory(training)]
        hashes[arm] = weights_sha256(training._model)
    assert logs["baseline"] == logs["sam"]
    assert hashes["baseline"] == hashes["sam"]


@pytest.mark.parametrize("arm", ["baseline", "sam"])
def test_gradient_checkpointing_changes_no_bit(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout on, training that computes each layer again ends at the weights of one that keeps it."""
    calls = 0
    softmax = torch.nn.functional.softmax

    def counted(*arguments: Any, **options: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return softmax(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "softmax", counted)
    runs = []
    for checkpointed in (False, True):
        calls = 0
        training = training_of(arm, steps=3, gradient_checkpointing=checkpointed)
        training._model.set_attn_implementation("eager")  # the other one calls no softmax that can be counted
        seed_dropout(0)
        trajectory(training)
        runs.append((weights_sha256(training._model), calls))
    assert runs[0][0] == runs[1][0]
    assert runs[1][1] == 2 * runs[0][1] > 0  # it did compute them again


CHEAPER: dict[str, dict[str, Any]] = {
    "late": {"start": 0.4},
    "rare": {"every": 3},
    "warmed up": {"start": 0.2, "warmup": 0.6},
    "previous": {"direction": "previous"},
    "momentum, late": {"direction": "momentum", "start": 0.4},
    "some": {"perturb": ("*layer_norm*",)},
}


@pytest.mark.parametrize("name", CHEAPER)
def test_cheaper_sam_goes_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    """SAM in some steps or by past gradients, too, goes on from a saved state as if it had not stopped."""
    whole = training_of(sam=CHEAPER[name])
    seed_dropout(0)
    log = trajectory(whole)
    for stop in (2, 4):
        first = training_of(sam=CHEAPER[name])
        seed_dropout(0)
        log_until = trajectory(first, stop_at=stop)
        first.save(tmp_path / f"state-{stop}", {})
        torch.manual_seed(99)
        second = training_of(sam=CHEAPER[name])
        second.load(tmp_path / f"state-{stop}")
        assert log_until + trajectory(second) == log
        assert weights_sha256(second._model) == weights_sha256(whole._model)
    other = training_of()
    seed_dropout(0)
    trajectory(other)
    assert weights_sha256(other._model) != weights_sha256(whole._model)


def test_steps_of_sam() -> None:
    """SAM begins after its fraction of the steps, takes every k-th from there, and is logged where it was."""
    training = training_of(sam={"start": 0.5, "every": 2})
    seed_dropout(0)
    seen = [
        (report["step"], report["radius"], report["ascent_loss"] is None) for report in trajectory(training)
    ]
    close = pytest.approx(0.1, rel=1e-5)  # fp32
    assert seen == [(3, None, True), (6, close, False), (7, close, False)]


def test_late_sam_begins_as_the_baseline() -> None:
    """Until it begins, SAM's log is that of the baseline, with dropout on."""
    logs = []
    for arm in ("baseline", "sam"):
        training = training_of(arm, sam={"start": 0.8}, log_every=1)
        seed_dropout(0)
        logs.append([report["loss"] for report in trajectory(training)])
    assert logs[0][:6] == logs[1][:6] and logs[0][6] != logs[1][6]


def test_patterns_that_match_nothing_are_refused() -> None:
    """Patterns of parameters that the model does not have are a mistake that ends in one sentence."""
    with pytest.raises(UserError, match="no trainable parameter matches"):
        training_of(sam={"perturb": ("*attention_of_others*",)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 1.0}, "Invalid start=1.0"),
        ({"every": 0}, "Invalid every=0"),
        ({"direction": "back"}, "Invalid direction='back'"),
        ({"direction": "previous", "every": 2}, "Invalid direction='previous' with m=1 and every=2"),
        ({"direction": "momentum", "m": 2}, "Invalid direction='momentum' with m=2"),
        ({"ascent": 1}, r"write ascent_examples=1\."),
        ({"ascent": 8}, r"It is a fraction of the batch.* write ascent_examples=8\."),
        ({"rho": "0.05"}, r"Invalid rho='0\.05'\. Must be a finite number >= 0 and <= 1000\."),
        ({"warmup": 0.6, "start": 0.5}, r"Invalid warmup=0\.6 with start=0\.5"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    """Settings of a cheaper SAM that make no sense are refused by name."""
    with pytest.raises(ValueError, match=message):
        SAMConfig(**settings)


@pytest.mark.parametrize("arm", ["baseline", "sam"])
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("stop", [2, 3, 6])
def test_training_goes_on_bit_for_bit(tmp_path: Path, arm: str, optimizer: str, stop: int) -> None:
    """A training that is saved between two steps and loaded elsewhere ends as if it had not stopped."""
    changes = {"optimizer": optimizer, "schedule": "cosine", "warmup_steps": 2}
    whole = training_of(arm, **changes)
    seed_dropout(0)
    log = trajectory(whole)

    first = training_of(arm, **changes)
    seed_dropout(0)
    log_until = trajectory(first, stop_at=stop)
    first.save(tmp_path / "state", {"note": 1})

    torch.manual_seed(99)
    random.seed(99)
    second = training_of(arm, **changes)
    assert second.load(tmp_path / "state") == {"note": 1}
    assert log_until + trajectory(second) == log
    assert weights_sha256(second._model) == weights_sha256(whole._model)


def test_logging_does_not_touch_training() -> None:
    """However often SAM's figures are logged, each line has them, and the weights end the same."""
    hashes = set()
    for log_every in (1, 3, 100):
        training = training_of(log_every=log_every, rho=0.1)
        seed_dropout(0)
        for report in trajectory(training):
            assert report["radius"] == pytest.approx(0.1, rel=1e-5)  # fp32
            assert report["moved"] > 0.1
        hashes.add(weights_sha256(training._model))
    assert len(hashes) == 1


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state as it is saved after two steps."""
    folder = tmp_path_factory.mktemp("saved") / "state"
    training = training_of()
    trajectory(training, stop_at=2)
    training.save(folder, {})
    return folder


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_found(saved: Path, data: st.DataObject) -> None:
    """A state of which any one bit is flipped, or any file cut short, is refused."""
    path = data.draw(st.sampled_from(sorted(saved.iterdir())))
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1) | st.just(len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        damaged = bytearray(whole[:position])
    try:
        path.write_bytes(damaged)
        with pytest.raises(DamagedError):
            read_values(saved)
    finally:
        path.write_bytes(whole)
    read_values(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "tensors.safetensors", "state.json"])
def test_a_missing_file_is_found(saved: Path, tmp_path: Path, name: str) -> None:
    """A state of which a file is missing is refused, and the message names the file."""
    moved = (saved / name).rename(tmp_path / name)
    try:
        with pytest.raises(DamagedError, match=name):
            read_values(saved)
    finally:
        moved.rename(saved / name)


def test_token_loss_closed_form() -> None:
    """The loss is the mean over real tokens of log Z - logit, plus z_loss times the mean of (log Z)^2."""
    logits = torch.tensor([[[0.0, math.log(3.0)], [5.0, 5.0]], [[math.log(2.0), 0.0], [1.0, 2.0]]])
    labels = torch.tensor([[1, -100], [0, -100]])
    nll = (math.log(4) - math.log(3) + math.log(3) - math.log(2)) / 2
    z = (math.log(4) ** 2 + math.log(3) ** 2) / 2
    # 1e-6: fp32 logarithms of numbers near 1.
    assert float(token_loss(logits, labels)) == pytest.approx(nll, abs=1e-6)
    assert float(token_loss(logits, labels, z_loss=0.5)) == pytest.approx(nll + 0.5 * z, abs=1e-6)


def test_token_loss_is_the_models_own() -> None:
    """Without z-loss the loss is the one that transformers' model computes from the labels."""
    model = model_of().eval()
    batch = next(NumberedBatches())
    with torch.no_grad():
        output = model(**batch)
    # 1e-6: the same fp32 sums in another order.
    assert float(token_loss(output.logits, batch["labels"])) == pytest.approx(float(output.loss), abs=1e-6)


def test_adafactor_is_t5s(shared: Path) -> None:
    """AdaFactor follows the traces of T5's own implementation where both factor a parameter alike."""
    worst, compared = 0.0, 0
    for line in (shared / "golden" / "derived" / "adafactor.jsonl").read_text().splitlines():
        case = json.loads(line)
        shape = case.get("shape")
        # T5 factors a matrix only when its second-largest dimension has 128 entries or more.
        same = shape is not None and (len(shape) == 1 or min(shape) >= 128) and len(shape) <= 2
        if not same or case["config"] or "w0" not in case:
            continue
        model = torch.nn.Module()
        model.weight = torch.nn.Parameter(torch.tensor(case["w0"]).reshape(shape))
        optimizer = build_optimizer(model, TrainSettings(learning_rate=case["lr"]))
        for gradient, after in zip(case["grads"], case["params_after"], strict=True):
            model.weight.grad = torch.tensor(gradient).reshape(shape)
            optimizer.step()
            expected = torch.tensor(after).reshape(shape)
            worst = max(worst, float((model.weight.detach() - expected).abs().max()))
        compared += 1
    assert compared > 0
    # 1e-6: fp32, weights of order 1 printed with nine digits.
    assert worst < 1e-6


def test_a_loss_that_is_not_finite_stops_training() -> None:
    """An exploding run stops with a sentence that names the step and the learning rate."""
    training = training_of("baseline", steps=3)
    with torch.no_grad():
        next(training._model.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match=r"At step 1 .* lower the learning rate \(now 0\.01\)"):
        trajectory(training)


def test_memory_can_be_kept_on_this_system() -> None:
    """Where the C library is glibc, it takes the settings, and large tensors are still right afterwards."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    assert keep_freed_memory()
    assert float(torch.ones(2_000_000).sum()) == 2_000_000

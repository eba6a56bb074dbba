"""The fast operations: what they compute is what the library computes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tests.fixtures.models import tiny_config
from tests.train.test_training import NumberedBatches, trajectory
from torch import Tensor, nn
from transformers import PreTrainedModel

from lowland.models import (
    build_model,
    is_packable,
    load_model,
    pack,
    packed,
    weights_sha256,
)
from lowland.sam import SAM, SAMConfig
from lowland.train import Training, TrainSettings, loop, seed_dropout
from lowland.train.loss import encoder_decoder_loss

CPU = torch.device("cpu")
PACKABLE = ("t5", "t5.1.1", "mt5")


def model_of(kind: str) -> PreTrainedModel:
    """A tiny model, the same each time."""
    torch.manual_seed(0)
    return build_model(tiny_config(kind))


def ragged_batch() -> dict[str, Tensor]:
    """Padding on the right, on the left and nowhere; a label left out in the middle; a row with one label."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(2, 100, (4, 6), generator=generator)
    labels[0, 4:] = -100
    labels[1, 2] = -100
    labels[2, 1:] = -100
    mask = torch.ones(4, 7, dtype=torch.long)
    mask[0, 3:] = 0
    mask[1, :2] = 0
    return {
        "input_ids": torch.randint(2, 100, (4, 7), generator=generator).masked_fill(mask == 0, 0),
        "attention_mask": mask,
        "labels": labels,
    }


def full_batch() -> dict[str, Tensor]:
    """No padding at all."""
    generator = torch.Generator().manual_seed(2)
    return {
        "input_ids": torch.randint(2, 100, (4, 8), generator=generator),
        "attention_mask": torch.ones(4, 8, dtype=torch.long),
        "labels": torch.randint(2, 100, (4, 5), generator=generator),
    }


def loss_and_gradients(model: PreTrainedModel, batch: dict[str, Tensor], **options: Any) -> list[Tensor]:
    """The loss of a batch, then the gradient of each weight."""
    model.zero_grad()
    loss = encoder_decoder_loss(model, CPU, z_loss=1e-2, **options)(batch)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return [loss.detach(), *(gradient.clone() for gradient in gradients if gradient is not None)]


def distance(left: list[Tensor], right: list[Tensor]) -> float:
    """How far apart two lists of tensors are, relative to the second."""
    apart = sum(float((a - b).square().sum()) for a, b in zip(left, right, strict=True))
    return math.sqrt(apart / sum(float(b.square().sum()) for b in right))


@pytest.mark.parametrize("kind", PACKABLE)
@pytest.mark.parametrize(
    "batch",
    [ragged_batch(), full_batch()],
    ids=["padded", "full"],
)
def test_packed_gradients_are_the_librarys(kind: str, batch: dict[str, Tensor]) -> None:
    """Without dropout, loss and every gradient over real tokens alone are the library's over padding too."""
    model = model_of(kind)
    assert is_packable(model)
    fast = loss_and_gradients(model, batch, fast=True)
    library = loss_and_gradients(model, batch, fast=False)
    assert len(fast) == len(library)
    for left, right in zip(fast, library, strict=True):
        # fp32 rounding (6e-8) over a hundred sums; single weights differ by 2e-6 at most.
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_real_tokens_alone_are_computed() -> None:
    """As many tokens are computed as are attended to, and targets up to the last label of each row."""
    for batch, tokens in ((full_batch(), (32, 20)), (ragged_batch(), (22, 17))):
        packed_batch = pack(batch, lambda labels: labels)
        assert (len(packed_batch["input_ids"]), len(packed_batch["decoder_input_ids"])) == tokens


def test_packed_bf16_is_as_good_as_the_librarys() -> None:
    """In bf16, the fast gradients are no further from those in fp32 than the library's are."""
    model = load_model("embedded", dropout=0.0).model
    exact = loss_and_gradients(model, ragged_batch(), fast=False)
    library = distance(loss_and_gradients(model, ragged_batch(), fast=False, bf16=True), exact)
    fast = distance(loss_and_gradients(model, ragged_batch(), fast=True, bf16=True), exact)
    assert 0 < fast < 1.25 * library  # both are rounding; a quarter more would be another kind of error


def test_packed_drops_where_the_library_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, as many elements pass through dropout at the same rates as in the library."""
    counts: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
    library = nn.functional.dropout
    fast = True

    def counted(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        counts[fast].append((p, x.numel()))
        return library(x, p, training, inplace)

    model = model_of("t5.1.1").train()
    monkeypatch.setattr(nn.functional, "dropout", counted)
    monkeypatch.setattr(packed, "dropout", counted)
    model.set_attn_implementation("eager")  # the other one calls no function that could be counted
    for fast in counts:
        loss_and_gradients(model, full_batch(), fast=fast)
    assert len(counts[True]) > 10
    assert sorted(counts[True]) == sorted(counts[False])


@pytest.mark.parametrize("arm", ["baseline", "sam"])
@pytest.mark.parametrize("operations", ["fast", "library"])
def test_gradient_checkpointing_changes_no_bit(
    arm: str, operations: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout on, training that computes each layer again ends at the weights of one that keeps it."""
    calls = 0
    softmax = Tensor.softmax if operations == "fast" else nn.functional.softmax

    def counted(*arguments: Any, **options: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return softmax(*arguments, **options)

    monkeypatch.setattr(Tensor if operations == "fast" else nn.functional, "softmax", counted)
    runs = []
    for checkpointed in (False, True):
        calls = 0
        training = fast_training(arm, 0.1, operations=operations, gradient_checkpointing=checkpointed)
        training._model.set_attn_implementation("eager")  # the other one calls no softmax that can be counted
        seed_dropout(0)
        trajectory(training)
        runs.append((weights_sha256(training._model), calls))
    assert runs[0][0] == runs[1][0]
    assert runs[1][1] == 2 * runs[0][1] > 0  # it did compute them again


@pytest.mark.parametrize("kind", ["umt5", "bart"])
def test_other_models_keep_the_librarys_pass(kind: str) -> None:
    """A model of another kind is not packed, and its loss is the library's bit for bit."""
    model = model_of(kind)
    assert not is_packable(model)
    batch = {name: tensor % 10 for name, tensor in full_batch().items()}  # BART's vocabulary is small
    fast, library = (loss_and_gradients(model, batch, fast=choice) for choice in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(fast, library, strict=True))


class OtherDropout(nn.Dropout):
    """A part that neither torch nor transformers made."""


def test_changed_models_keep_the_librarys_pass() -> None:
    """A model with a hook, a part of another class, or weights in bf16 is not packed."""
    hooked, replaced = model_of("t5.1.1"), model_of("t5.1.1")
    hooked.encoder.register_forward_hook(lambda *_: None)
    replaced.encoder.dropout = OtherDropout(0.1)
    assert not is_packable(hooked)
    assert not is_packable(replaced)
    assert not is_packable(model_of("t5.1.1").bfloat16())


def fast_training(arm: str, rho: float, **changes: Any) -> Training:
    """A training with fast operations that has not begun."""
    return Training(
        model_of("t5.1.1"),
        NumberedBatches(),
        settings=TrainSettings(
            **{
                "steps": 5,
                "learning_rate": 1e-2,
                "evaluate_every": 100,
                "log_every": 2,
                "operations": "fast",
                **changes,
            }
        ),
        sam=SAMConfig(rho=rho if arm == "sam" else 0.0),
        accelerator=Accelerator(cpu=True),
        bf16=True,
    )


def test_fast_sam_at_rho_zero_is_the_fast_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fast operations, bf16 and dropout, SAM's gradient at rho = 0 gives the baseline bit for bit."""
    hashes, losses = [], []
    for arm in ("baseline", "sam"):
        if arm == "sam":
            monkeypatch.setattr(loop, "build_gradient", lambda model, *_: SAM(model, rho=0.0))
        training = fast_training(arm, rho=0.0)
        seed_dropout(0)
        losses.append([(line["loss"], line["gradient_norm"]) for line in trajectory(training)])
        hashes.append(weights_sha256(training._model))
    assert losses[0] == losses[1]
    assert hashes[0] == hashes[1]


def test_fast_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """A fast training that is saved and loaded elsewhere ends as if it had not stopped."""
    whole = fast_training("sam", rho=0.1)
    seed_dropout(0)
    log = trajectory(whole)
    first = fast_training("sam", rho=0.1)
    seed_dropout(0)
    begun = trajectory(first, stop_at=3)
    first.save(tmp_path / "state", {})
    torch.manual_seed(99)
    second = fast_training("sam", rho=0.1)
    second.load(tmp_path / "state")
    assert begun + trajectory(second) == log
    assert weights_sha256(second._model) == weights_sha256(whole._model)

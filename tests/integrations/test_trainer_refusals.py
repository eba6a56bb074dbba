"""What SAM in Hugging Face's Trainer refuses or warns of, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integrations.runs import trained
from tests.integrations.toys import (
    SAMTrainer,
    arguments,
    rows,
    tiny,
)
from torch import Tensor, nn
from transformers import Trainer

import lowland
from lowland import SAMConfig, SAMTrainerMixin
from lowland.errors import UserError

REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "deepspeed": ({"is_deepspeed_enabled": True}, r"does not run under DeepSpeed"),
    "fsdp1": ({"is_fsdp_enabled": True}, r"wrong under FSDP1.*'fsdp_version': 2"),
    "xla": ({"is_fsdp_xla_enabled": True}, r"torch_xla"),
    "parallel": ({"get_tp_size": lambda: 2}, r"tensor, context or sequence parallelism"),
}


@pytest.mark.parametrize(("attributes", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A set-up in which SAM would be wrong is refused with a sentence when the Trainer is made."""

    class Prepared(Trainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name, value in attributes.items():
                setattr(self, name, value)

    with pytest.raises(UserError, match=message):
        lowland.sam_trainer(Prepared)(tiny("t5"), arguments(tmp_path), train_dataset=rows("t5"))


def test_refused_arguments(tmp_path: Path) -> None:
    """DataParallel and optimizers inside the backward pass are refused with a sentence."""
    several = arguments(tmp_path)
    several._n_gpu = 2
    with pytest.raises(UserError, match=r"DataParallel.*torchrun"):
        SAMTrainer(tiny("t5"), several, train_dataset=rows("t5"))
    for optim in ("lomo", "galore_adamw_layerwise"):
        with pytest.raises(UserError, match=rf"optim='{optim}'"):
            SAMTrainer(tiny("t5"), arguments(tmp_path, optim=optim), train_dataset=rows("t5"))


def test_mistakes_end_in_sentences(tmp_path: Path) -> None:
    """Wrong settings, a wrong order of classes and a class that is no Trainer are told."""
    with pytest.raises(UserError, match=r"sam= takes a lowland.SAMConfig, but got dict"):
        SAMTrainer(tiny("t5"), arguments(tmp_path), sam={"rho": 0.1})
    with pytest.raises(UserError, match=r"Put it first: class Backwards\(SAMTrainerMixin"):
        type("Backwards", (Trainer, SAMTrainerMixin), {})
    with pytest.raises(UserError, match=r"subclass of transformers.Trainer"):
        lowland.sam_trainer(nn.Linear)
    for wrong in ({"rho": -1}, {"ascent": 0.0}, {"m": 0}, {"descent": "half"}, {"ranks": "some"}):
        with pytest.raises(ValueError, match=rf"Invalid {next(iter(wrong))}="):
            SAMConfig(**wrong)


def test_a_lost_training_step_is_told(tmp_path: Path) -> None:
    """A Trainer class whose own training_step SAM replaces is warned of, and one in front of SAM runs."""
    seen = []

    class Counting(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
            seen.append(1)
            return super().training_step(*args, **kwargs)

    class Front(Counting, SAMTrainer):  # type: ignore[misc, valid-type]
        pass

    with pytest.warns(UserWarning, match=r"Counting has a training_step of its own"):
        lowland.sam_trainer(Counting)(tiny("t5"), arguments(tmp_path), train_dataset=rows("t5"))
    trained(tmp_path, "t5", Front)
    assert len(seen) == 3

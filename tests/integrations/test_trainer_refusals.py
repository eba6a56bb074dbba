"""What SAM in Hugging Face's Trainer refuses or warns of, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.runs import model_of, trained
from tests.integrations.toys import (
    SAMTrainer,
    arguments,
    rows,
    same,
    tiny,
    weights,
)
from torch import Tensor, nn
from transformers import Trainer

import lowland
from lowland import SAMConfig, SAMTrainerMixin
from lowland.errors import UserError
from lowland.integrations import Whole

REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
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
        lowland.sam_trainer(Prepared)(tiny("t5"), arguments(tmp_path), sam=SAMConfig())


def test_refused_arguments(tmp_path: Path) -> None:
    """DataParallel and optimizers inside the backward pass are refused with a sentence."""
    several = arguments(tmp_path)
    several._n_gpu = 2
    with pytest.raises(UserError, match=r"DataParallel.*torchrun"):
        SAMTrainer(tiny("t5"), several, sam=SAMConfig())
    for optim in ("lomo", "galore_adamw_layerwise"):
        with pytest.raises(UserError, match=rf"optim='{optim}'"):
            SAMTrainer(tiny("t5"), arguments(tmp_path, optim=optim), sam=SAMConfig())


def test_mistakes_end_in_sentences(tmp_path: Path) -> None:
    """Wrong settings, a wrong order of classes and a class that is no Trainer are told."""
    with pytest.raises(UserError, match=r"needs settings of SAM.*but got \{'rho': 0.1\}"):
        SAMTrainer(tiny("t5"), arguments(tmp_path), sam={"rho": 0.1})
    with pytest.raises(UserError, match=r"Put it first: class Backwards\(SAMTrainerMixin"):
        type("Backwards", (Trainer, SAMTrainerMixin), {})
    with pytest.raises(UserError, match=r"subclass of transformers.Trainer"):
        lowland.sam_trainer(nn.Linear)
    for wrong in ({"rho": -1}, {"ascent": 0.0}, {"m": 0}, {"descent": "half"}, {"ranks": "some"}):
        with pytest.raises(ValueError, match=rf"Invalid {next(iter(wrong))}="):
            SAMConfig(**wrong)


def test_settings_are_asked_for(tmp_path: Path) -> None:
    """A Trainer without settings of SAM is refused; they may stand in its class."""
    with pytest.raises(
        UserError, match=r"SAMTrainer needs settings of SAM, such as sam=lowland.*but got None"
    ):
        SAMTrainer(tiny("t5"), arguments(tmp_path), train_dataset=rows("t5"))

    class Settled(SAMTrainer):  # type: ignore[misc, valid-type]
        sam = SAMConfig(rho=0.3)

    assert Settled(tiny("t5"), arguments(tmp_path)).sam.rho == 0.3
    assert Settled(tiny("t5"), arguments(tmp_path), sam=SAMConfig(rho=0.1)).sam.rho == 0.1


class Never(Trainer):
    """A Trainer that computes its loss in its step."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss = model(**self._prepare_inputs(inputs)).loss
        self.accelerator.backward(loss)
        return loss.detach()


class Twice(Trainer):
    """A Trainer whose step takes two losses."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        inputs = self._prepare_inputs(inputs)
        loss = self.compute_loss(model, inputs) + self.compute_loss(model, inputs)
        self.accelerator.backward(loss)
        return loss.detach()


class Outputs(Trainer):
    """A Trainer whose step wants the outputs."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss, _ = self.compute_loss(model, self._prepare_inputs(inputs), return_outputs=True)
        self.accelerator.backward(loss)
        return loss.detach()


@pytest.mark.parametrize(
    ("trainer", "message"),
    [(Never, "never calls it"), (Twice, "calls it twice"), (Outputs, "wants the outputs as well")],
)
def test_steps_that_sam_cannot_work_with(trainer: type[Trainer], message: str, tmp_path: Path) -> None:
    """A training_step that does not take one loss from compute_loss ends in a sentence."""
    with pytest.raises(UserError, match=rf"loss of SAM{trainer.__name__} from compute_loss.*{message}"):
        trained(tmp_path, "t5", lowland.sam_trainer(trainer))


def test_batches_whose_examples_are_not_known(tmp_path: Path) -> None:
    """A batch without one row an example is refused with the way out, and the way out works."""

    def patches(rows_: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch = {name: torch.stack([row[name] for row in rows_]) for name in rows_[0]}
        return {**batch, "pixels": torch.zeros(7 * len(rows_), 2)}

    class Patches(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs.pop("pixels")
            return super().compute_loss(model, inputs, *args, **kwargs)

    class Uncut(SAMTrainerMixin, Patches):
        def sam_examples(self, inputs: Any) -> Any:
            return Whole(inputs)

    options = {"data_collator": patches}
    with pytest.raises(UserError, match=r"examples of SAMPatches's batches.*'pixels'.*has 28.*sam_examples"):
        trained(tmp_path, "t5", lowland.sam_trainer(Patches), options=options, remove_unused_columns=False)
    changes = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    uncut = trained(tmp_path, "t5", Uncut, options=options, **changes)
    assert same(weights(model_of(uncut)), weights(model_of(trained(tmp_path, "t5", **changes))))

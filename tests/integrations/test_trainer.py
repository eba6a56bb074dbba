"""SAM in Hugging Face's Trainer: the right gradient, and everything else as the Trainer has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.runs import ROUNDING, logged, model_of, trained, update
from tests.integrations.toys import (
    CHECKPOINTING,
    KINDS,
    Rows,
    SAMSeq2SeqTrainer,
    SAMTrainer,
    arguments,
    batch_of,
    distance,
    moves,
    rows,
    same,
    tiny,
    weights,
)
from torch import Tensor, nn
from transformers import DataCollatorWithFlattening, Trainer

import lowland
from lowland import SAMConfig, SAMTrainerMixin


@pytest.mark.parametrize("changes", [{}, {"bf16": True}, {"label_smoothing_factor": 0.1}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_rho_zero_is_the_stock_trainer(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """At rho = 0, dropout on, weights, losses and norms are those of the stock Trainer, bit for bit."""
    changes = {"optim": "adamw_torch", "max_grad_norm": 1.0, **changes}
    stock = trained(tmp_path, kind, Trainer, dropout=0.1, **changes)
    sam = trained(tmp_path, kind, sam=SAMConfig(rho=0.0), dropout=0.1, **changes)
    assert same(weights(model_of(sam)), weights(model_of(stock)))
    assert logged(sam, "loss") == logged(stock, "loss")
    assert logged(sam, "grad_norm") == logged(stock, "grad_norm")


@pytest.mark.parametrize("kind", ["t5", "llama", "bert"])  # of GPT-2 the Trainer counts a target too many
def test_trajectory_of_a_plain_loop(kind: str, tmp_path: Path) -> None:
    """Three steps of the Trainer are three steps of a loop of five lines."""
    settings = SAMConfig(rho=0.3, ascent=0.5)
    trainer = trained(tmp_path, kind, sam=settings)
    model, data = tiny(kind, 0.0).train(), rows(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sam = lowland.SAM(model, rho=0.3, ascent=0.5)
    losses = []
    for step in range(3):
        info = sam(lambda batch: model(**batch).loss, batch_of(data, 4, 4 * step))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(info.loss))
    assert distance(update(trainer, kind), moves(weights(model), weights(tiny(kind)))) < ROUNDING
    assert logged(trainer, "loss") == pytest.approx(losses, rel=1e-5)  # fp32


@pytest.mark.parametrize("changes", [{}, {"label_smoothing_factor": 0.1}], ids=str)
@pytest.mark.parametrize("settings", [{}, {"m": 2}, {"m": 2, "descent": "full"}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_accumulation(kind: str, settings: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    """Micro-batches of very different target counts give the step of the whole batch."""
    sam = SAMConfig(rho=0.3, ascent=0.5, **settings)
    whole = trained(tmp_path, kind, sam=sam, per_device_train_batch_size=8, max_steps=2, **changes)
    cut = trained(
        tmp_path,
        kind,
        sam=sam,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        max_steps=2,
        **changes,
    )
    assert distance(update(cut, kind), update(whole, kind)) < ROUNDING
    for name in ("loss", "grad_norm", "ascent_loss", "ascent_norm", "radius"):
        assert logged(cut, name) == pytest.approx(logged(whole, name), rel=1e-4), name  # fp32
    # A weight whose share of epsilon is about its rounding step goes either way: a handful of thousands.
    assert logged(cut, "moved") == pytest.approx(logged(whole, "moved"), abs=2e-3)


def test_stock_accumulation_multiplies_the_gradient_of_t5(tmp_path: Path) -> None:
    """The stock Trainer gives T5 about k times the gradient with k micro-batches, and rho = 0 does not."""
    small = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "max_steps": 1}
    whole = trained(tmp_path, "t5", Trainer, per_device_train_batch_size=8, max_steps=1)
    stock = trained(tmp_path, "t5", Trainer, **small)
    sam = trained(tmp_path, "t5", sam=SAMConfig(rho=0.0), **small)
    norm = logged(whole, "grad_norm")[0]
    # Not 4 exactly, since the means of micro-batches with few targets count as much as those with many.
    assert 3 < logged(stock, "grad_norm")[0] / norm < 5
    assert logged(sam, "grad_norm")[0] == pytest.approx(norm, rel=1e-5)  # fp32
    assert distance(update(sam, "t5"), update(whole, "t5")) < ROUNDING


def test_accumulation_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    """The last batch of an epoch, with fewer and smaller micro-batches, is a whole batch of its own."""
    data = rows("t5", 7)  # one batch of 4 and one of 3
    cut = trained(
        tmp_path,
        "t5",
        data=data,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=4,
    )
    whole = trained(tmp_path, "t5", data=data, per_device_train_batch_size=4, max_steps=4)
    assert distance(update(cut, "t5"), update(whole, "t5")) < ROUNDING


class Record:
    """What compute_loss was called with; no figure, which SAM would put back after the ascent."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.points: list[Tensor] = []


class LossOfOurs(Trainer):
    """A Trainer with a loss of its own, as TRL's have; it keeps a record of what it is called with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.record = Record()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Twice the sum of the targets' losses by the number of items."""
        self.record.calls.append(len(inputs["labels"]))
        self.record.points.append(weights(model)[0])
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(
            outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )
        loss = 2 * loss / num_items_in_batch
        return (loss, outputs) if return_outputs else loss


class SAMLossOfOurs(SAMTrainerMixin, LossOfOurs):
    """The same with SAM."""


def test_own_loss(tmp_path: Path) -> None:
    """A Trainer that computes its own loss from the number of items gets SAM, and at rho = 0 its own step."""
    stock = trained(tmp_path, "gpt2", LossOfOurs, dropout=0.1)
    sam = trained(tmp_path, "gpt2", SAMLossOfOurs, sam=SAMConfig(rho=0.0), dropout=0.1)
    assert same(weights(model_of(sam)), weights(model_of(stock)))
    whole = trained(tmp_path, "gpt2", SAMLossOfOurs, per_device_train_batch_size=8)
    cut = trained(
        tmp_path, "gpt2", SAMLossOfOurs, per_device_train_batch_size=2, gradient_accumulation_steps=4
    )
    assert distance(update(cut, "gpt2"), update(whole, "gpt2")) < ROUNDING


def test_own_loss_over_the_accumulation_steps(tmp_path: Path) -> None:
    """A loss that divides by the number of micro-batches itself gets the step of the whole batch, too."""

    class Dividing(SAMTrainer):  # type: ignore[misc, valid-type]
        loss_is_scaled_for_ga = True

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return model(**inputs).loss / self.current_gradient_accumulation_steps

    cut = trained(tmp_path, "t5", Dividing, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    whole = trained(tmp_path, "t5", per_device_train_batch_size=8)
    assert distance(update(cut, "t5"), update(whole, "t5")) < ROUNDING


def test_the_passes_of_a_step(tmp_path: Path) -> None:
    """A step sees the first a examples of the accumulated batch at w, then all of them at one w_adv."""
    trainer = trained(
        tmp_path,
        "gpt2",
        SAMLossOfOurs,
        sam=SAMConfig(ascent_examples=3),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        max_steps=1,
    )
    assert isinstance(trainer, SAMLossOfOurs)
    assert trainer.record.calls == [2, 1, 2, 2, 2]
    w, w_adv = trainer.record.points[0], trainer.record.points[2]
    assert torch.equal(trainer.record.points[1], w) and not torch.equal(w_adv, w)
    assert all(torch.equal(point, w_adv) for point in trainer.record.points[3:])


def test_loss_function_of_the_user(tmp_path: Path) -> None:
    """A `compute_loss_func` that needs the number of items gets that of each piece."""

    def loss_func(outputs: Any, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
        logits = outputs.logits.flatten(0, 1)
        return nn.functional.cross_entropy(logits, labels.flatten(), reduction="sum") / num_items_in_batch

    options = {"compute_loss_func": loss_func}
    own = trained(tmp_path, "t5", options=options)
    models = trained(tmp_path, "t5")
    assert distance(update(own, "t5"), update(models, "t5")) < ROUNDING


def test_seq2seq_trainer(tmp_path: Path) -> None:
    """The mixin in front of Seq2SeqTrainer trains as the class that `sam_trainer` makes of Trainer."""
    from transformers import Seq2SeqTrainingArguments

    args = Seq2SeqTrainingArguments(**arguments(tmp_path).to_dict())
    mixed = SAMSeq2SeqTrainer(tiny("t5", 0.0), args, train_dataset=rows("t5"), sam=SAMConfig(rho=0.3))
    mixed.train()
    made = trained(tmp_path, "t5", sam=SAMConfig(rho=0.3))
    assert same(weights(model_of(mixed)), weights(model_of(made)))


def test_figures_are_logged(tmp_path: Path) -> None:
    """A log holds the means of SAM's figures over the steps since the last one, and evaluation none."""
    every = trained(tmp_path, "t5", sam=SAMConfig(rho=0.2), max_steps=4, logging_steps=1)
    trainer = SAMTrainer(
        model=tiny("t5", 0.0),
        args=arguments(tmp_path, max_steps=4, logging_steps=2, eval_strategy="steps", eval_steps=2),
        train_dataset=rows("t5"),
        eval_dataset=rows("t5", 4),
        sam=SAMConfig(rho=0.2),
    )
    trainer.train()
    assert logged(every, "radius") == pytest.approx([0.2] * 4, rel=1e-5)  # fp32
    assert all(0.5 < moved <= 1 for moved in logged(every, "moved"))  # unused rows of embeddings stay
    for name in ("ascent_loss", "ascent_norm", "moved"):
        ones = logged(every, name)
        means = [(ones[0] + ones[1]) / 2, (ones[2] + ones[3]) / 2]
        assert logged(trainer, name) == pytest.approx(means, rel=1e-6), name
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(evaluations) == 2 and not any("radius" in entry for entry in evaluations)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resume(accumulation: int, tmp_path: Path) -> None:
    """A run resumed from a checkpoint ends where the uninterrupted run ends, bit for bit, dropout on."""
    changes = {
        "optim": "adamw_torch",
        "lr_scheduler_type": "linear",
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": accumulation,
        "save_strategy": "steps",
        "save_steps": 3,
        "train_sampling_strategy": "random",
    }
    through = trained(tmp_path, "t5", dropout=0.1, **changes)
    again = SAMTrainer(
        tiny("t5", 0.1, seed=9), arguments(tmp_path, **changes), train_dataset=rows("t5"), sam=SAMConfig()
    )
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert same(weights(model_of(again)), weights(model_of(through)))
    assert logged(again, "loss") == logged(through, "loss")


def test_checkpoints_hold_nothing_of_sam(tmp_path: Path) -> None:
    """A checkpoint of a SAM run has the files and the optimizer state of a stock run, and nothing else."""
    changes = {"optim": "adamw_torch", "save_strategy": "steps", "save_steps": 3}
    trained(tmp_path / "stock", "t5", Trainer, **changes)
    trained(tmp_path / "sam", "t5", **changes)
    stock, sam = (tmp_path / name / "checkpoint-3" for name in ("stock", "sam"))
    assert {path.name for path in sam.iterdir()} == {path.name for path in stock.iterdir()}
    states = [torch.load(path / "optimizer.pt", weights_only=True)["state"] for path in (stock, sam)]
    names = [{index: entry.keys() for index, entry in state.items()} for state in states]
    assert names[0] == names[1]


def test_stopped_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    """Micro-batches that a callback left behind do not get into the first step of the next run."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = True

    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 1}
    stopped = trained(tmp_path, "t5", options={"callbacks": [Stop()]}, **changes)
    assert same(weights(model_of(stopped)), weights(tiny("t5")))  # it never took a step
    stopped.remove_callback(Stop)
    stopped.train()
    straight = trained(tmp_path, "t5", **changes)
    assert same(weights(model_of(stopped)), weights(model_of(straight)))


def test_gradient_checkpointing(tmp_path: Path) -> None:
    """Gradient checkpointing gives the same training."""
    plain = trained(tmp_path, "t5", dropout=0.1)
    checkpointed = trained(tmp_path, "t5", dropout=0.1, **{CHECKPOINTING: True})
    assert distance(update(checkpointed, "t5"), update(plain, "t5")) < ROUNDING


def test_schedule(tmp_path: Path) -> None:
    """SAM begins at the fraction of the steps that `start` names, and is no baseline step from there on."""
    late = trained(tmp_path, "t5", sam=SAMConfig(rho=0.2, start=0.5), max_steps=4)
    assert logged(late, "radius") == pytest.approx([0, 0, 0.2, 0.2], rel=1e-5)  # fp32


def test_packed_batches_of_transformers(tmp_path: Path) -> None:
    """`DataCollatorWithFlattening` gives the training of padded batches, its sequences being the examples."""
    data = Rows(
        [{name: value for name, value in row.items() if name != "attention_mask"} for row in rows("llama")]
    )
    sam = SAMConfig(rho=0.2, ascent=0.5)
    flat = trained(
        tmp_path, "llama", sam=sam, data=data, options={"data_collator": DataCollatorWithFlattening()}
    )
    assert distance(update(flat, "llama"), update(trained(tmp_path, "llama", sam=sam), "llama")) < ROUNDING


def test_perturb_by_name(tmp_path: Path) -> None:
    """`perturb` chooses parameters by the model's own names."""
    some = trained(tmp_path, "t5", sam=SAMConfig(rho=0.2, perturb=["*layer_norm*"]))
    every = trained(tmp_path, "t5", sam=SAMConfig(rho=0.2))
    assert logged(some, "ascent_norm")[0] < logged(every, "ascent_norm")[0]
    with pytest.raises(ValueError, match=r"no trainable parameter matches"):
        trained(tmp_path, "t5", sam=SAMConfig(perturb=["nothing"]))

"""The Trainer's own training_step runs as ever, and its figures are those of the pass that trains."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.integrations.runs import ROUNDING, logged, model_of, trained, update
from tests.integrations.toys import SAMTrainer, arguments, distance, rows, same, tiny, weights
from torch import Tensor
from transformers import Trainer

import lowland
from lowland import SAMConfig, SAMTrainerMixin


class Counting(Trainer):
    """A Trainer with a step and figures of its own, of all kinds that TRL's and others have."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps: list[int] = []
        self.metrics: dict[str, dict[str, list[float]]] = {"train": {}, "eval": {}}
        self.tokens = 0
        self.last: deque[float] = deque(maxlen=2)
        self.window: Tensor | None = None
        self.components = {"steps": torch.tensor(0)}
        self.long = list(range(2000))
        self.seen: set[int] = set()

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Counts micro-batches."""
        self.steps.append(len(inputs["labels"]))
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Counts what it sees."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        size = len(inputs["labels"])
        self.metrics["train"].setdefault("loss", []).append(loss.item())
        self.tokens += size
        self.last.append(size)
        self.window = torch.tensor(size) if self.window is None else self.window + size
        self.components["steps"] += 1
        self.long.append(size)
        self.seen.add(size)
        self.state.num_input_tokens_seen += size
        self.log({"inner": float(size)})
        if self.accelerator.sync_gradients:
            self.metrics["train"].setdefault("ends", []).append(size)
        return loss

    def figures(self) -> dict[str, Any]:
        """All of them."""
        names = ("steps", "metrics", "tokens", "last", "window", "components", "seen")
        kept = {name: getattr(self, name) for name in names}
        return {**kept, "long": self.long[2000:], "state": self.state.num_input_tokens_seen}


class SAMCounting(SAMTrainerMixin, Counting):
    """The same with SAM."""


@pytest.mark.parametrize("accumulation", [1, 4])
def test_figures_of_the_ascent_are_put_back(accumulation: int, tmp_path: Path) -> None:
    """All figures, and logs in the middle of a loss, are those of the stock Trainer: the ascent adds none."""
    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulation, "max_steps": 2}
    stock = trained(tmp_path, "bert", Counting, **changes)
    sam = trained(tmp_path, "bert", SAMCounting, sam=SAMConfig(rho=0.0), **changes)
    assert isinstance(stock, Counting) and isinstance(sam, Counting)
    losses = [trainer.metrics["train"].pop("loss") for trainer in (sam, stock)]
    assert sam.figures() == stock.figures()
    assert len(sam.steps) == 2 * accumulation and sam.tokens == 4 * accumulation
    if accumulation == 1:  # with more, the stock Trainer multiplies the gradient of this model
        assert losses[0] == losses[1]
    assert logged(sam, "inner") == logged(stock, "inner")
    perturbed = trained(tmp_path, "bert", SAMCounting, sam=SAMConfig(rho=0.3), **changes)
    assert isinstance(perturbed, Counting)
    assert perturbed.metrics["train"].pop("loss") != losses[1]
    assert perturbed.figures() == stock.figures()


def test_the_step_in_front_and_behind(tmp_path: Path) -> None:
    """Classes with a training_step of their own work in front of SAM and behind it, and train the same."""

    class Front(Counting, SAMTrainer):  # type: ignore[misc, valid-type]
        pass

    front = trained(tmp_path, "gpt2", Front, gradient_accumulation_steps=2)
    behind = trained(tmp_path, "gpt2", SAMCounting, gradient_accumulation_steps=2)
    assert isinstance(front, Counting) and isinstance(behind, Counting)
    assert front.figures() == behind.figures()
    assert same(weights(model_of(front)), weights(model_of(behind)))


def test_contexts_of_the_step(tmp_path: Path) -> None:
    """What a step has opened around itself, such as the offloading of activations, is open in both passes."""
    packed: list[int] = []

    class Offloading(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
            with torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor):
                return super().training_step(*args, **kwargs)

        def pack(self, tensor: Tensor) -> Tensor:
            packed.append(tensor.numel())
            return tensor.clone()

    changes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 1}
    plain = trained(tmp_path, "llama", **changes)
    trained(tmp_path, "llama", Offloading, **changes)
    passes = len(packed) // 2
    packed.clear()
    sam = trained(tmp_path, "llama", lowland.sam_trainer(Offloading), **changes)
    assert len(packed) == 3 * passes  # the ascent has one piece, the descent two
    assert same(weights(model_of(sam)), weights(model_of(plain)))


def test_autocast_of_the_trainer(tmp_path: Path) -> None:
    """A Trainer's own context of the loss is open in each forward pass, and closed in the backward passes."""
    open_, backward = [0], []

    @contextmanager
    def counted() -> Any:
        open_[0] += 1
        yield
        open_[0] -= 1

    class Autocasting(Trainer):
        def compute_loss_context_manager(self) -> Any:
            return counted()

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            assert open_[0] == 1
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            loss.register_hook(lambda grad: backward.append(open_[0]))
            return loss

    trained(tmp_path, "t5", lowland.sam_trainer(Autocasting), max_steps=1)
    assert backward == [0, 0]


def test_methods_set_on_the_trainer_itself(tmp_path: Path) -> None:
    """A compute_loss that someone set on the object is used, and stands there afterwards."""
    seen = []

    class Patched(SAMTrainer):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.compute_loss = self.patched

        def patched(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(len(inputs["labels"]))
            return Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    trainer = trained(tmp_path, "t5", Patched, max_steps=1)
    assert seen == [1, 4]
    assert trainer.compute_loss == trainer.patched  # type: ignore[attr-defined]


def test_count(tmp_path: Path) -> None:
    """With classes that weigh differently, `count=` makes micro-batches give the whole batch's step."""
    weight = torch.tensor([1.0, 5.0, 0.2])

    class Weighted(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
            return torch.nn.functional.cross_entropy(logits, inputs["labels"], weight=weight)

    def run(count: Any, **changes: Any) -> list[Tensor]:
        options = {"count": count}
        made = lowland.sam_trainer(Weighted)
        return update(trained(tmp_path, "bert", made, options=options, max_steps=1, **changes), "bert")

    cut = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    whole = run(None, per_device_train_batch_size=8)
    assert distance(run(lambda inputs: weight[inputs["labels"]].sum(), **cut), whole) < ROUNDING
    assert distance(run(None, **cut), whole) > 100 * ROUNDING  # without it the classes' weights are lost


def test_an_error_in_a_pass_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    """After an error in either pass weights, figures and methods are what they were, and training goes on."""
    broken: list[int] = []

    class Breaking(SAMCounting):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            if len(inputs["labels"]) in broken:
                raise KeyboardInterrupt
            return loss

    for size in (1, 4):
        broken[:] = [size]
        trainer = Breaking(
            tiny("bert", 0.0).eval(), arguments(tmp_path), train_dataset=rows("bert"), sam=SAMConfig()
        )
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert same(weights(model_of(trainer)), weights(tiny("bert", 0.0)))
        assert "compute_loss" not in vars(trainer) and "log" not in vars(trainer)
        assert trainer.compute_loss_context_manager is not nullcontext
        assert isinstance(trainer, Counting) and trainer.tokens == (0 if size == 1 else 4)
        broken.clear()
        trainer.train()
        assert same(weights(model_of(trainer)), weights(model_of(trained(tmp_path, "bert", SAMCounting))))


def test_smaller_micro_batches_after_an_error(tmp_path: Path) -> None:
    """Micro-batches of a try that was broken off, as `auto_find_batch_size` does, are forgotten."""
    tries = []

    class Full(Trainer):
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            tries.append(len(inputs["labels"]))
            if tries == [4, 4]:
                raise RuntimeError("CUDA out of memory.")
            return super().training_step(model, inputs, *args, **kwargs)

    changes = {"gradient_accumulation_steps": 2, "max_steps": 1}
    made = lowland.sam_trainer(Full)
    found = trained(tmp_path, "t5", made, auto_find_batch_size=True, **changes)
    size = tries[-1]
    assert size < 4 and tries == [4, 4, size, size]
    plain = trained(tmp_path, "t5", per_device_train_batch_size=size, **changes)
    assert same(weights(model_of(found)), weights(model_of(plain)))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_batches_sorted_by_length_are_mixed(tmp_path: Path, accumulation: int) -> None:
    """With group_by_length a batch of SAM holds the Trainer's examples, mixed; at rho=0 in its order."""
    texts: Any = [{"input_ids": torch.ones(length, dtype=torch.long)} for length in range(1, 65)]

    def batches(trainer_class: type[Trainer], **options: Any) -> list[list[int]]:
        args = arguments(
            tmp_path,
            per_device_train_batch_size=16 // accumulation,
            gradient_accumulation_steps=accumulation,
            train_sampling_strategy="group_by_length",
        )
        trainer = trainer_class(model=tiny("gpt2"), args=args, train_dataset=texts, **options)
        torch.manual_seed(0)
        indices = list(trainer._get_train_sampler())  # type: ignore[arg-type]
        return [indices[start : start + 16] for start in range(0, 64, 16)]

    stock = batches(Trainer)
    assert batches(SAMTrainer, sam=SAMConfig(rho=0.0)) == stock
    mixed = batches(SAMTrainer, sam=SAMConfig(rho=0.1))
    assert [set(batch) for batch in mixed] == [set(batch) for batch in stock]
    assert mixed == batches(SAMTrainer, sam=SAMConfig(rho=0.1))
    # The stock Trainer's first quarter is the longest but for one example that it moves to the very front.
    for ours, theirs in zip(mixed, stock, strict=True):
        assert sum(index in theirs[:4] for index in ours[:4]) < 4

"""Implementations of SAM behind one small interface: what a step of training with each looks like.

Each is used as its documentation says. Where it has no answer to a need, its adapter says `NotOffered`.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import lowland
from lowland.batches.batch import rows

LossFunction = Callable[[Any], Tensor]


class NotOffered(Exception):  # noqa: N818 - it is no error
    """The implementation has no way to do this."""


class Training(ABC):
    """A model in training.

    Attributes:
        optimizer: What a schedule, a GradScaler and a checkpoint are handed.
    """

    optimizer: Optimizer

    @abstractmethod
    def step(self, loss_fn: LossFunction, batch: Any) -> None:
        """Trains one step on a batch, with the first a examples in the ascent, and clears the gradients."""

    def step_accumulating(self, loss_fn: LossFunction, micro_batches: Sequence[Any]) -> None:
        """Trains one step on a batch that comes in pieces."""
        raise NotOffered

    @abstractmethod
    def step_scaled(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        """Trains one step of fp16 under a scaler."""

    @abstractmethod
    def step_closure(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        """Trains one step of fp16 by `scaler.step(optimizer, closure)`."""

    def step_own_ascent(self, ddp: nn.Module, loss_fn: LossFunction, batch: Any) -> None:
        """Trains one step under DDP in which each rank climbs on its own examples."""
        raise NotOffered

    def measured(self) -> tuple[float, float]:
        """Gives the radius and the share of weights that moved, as reported for the last step."""
        raise NotOffered


class Implementation(ABC):
    """An implementation of SAM.

    Attributes:
        name: What the table calls it.
    """

    name: str

    @abstractmethod
    def version(self) -> str:
        """Gives the version that is installed."""

    @abstractmethod
    def start(
        self,
        parameters: nn.Module | Iterable[Any],
        *,
        rho: float,
        a: int,
        base: type[Optimizer] = torch.optim.SGD,
        adaptive: bool = False,
        **options: Any,
    ) -> Training:
        """Starts training.

        Args:
            parameters: A module, or what an optimizer takes.
            rho: Radius.
            a: Number of ascent examples.
            base: The optimizer that steps.
            adaptive: Whether the perturbation is measured by the weights (ASAM).
            **options: The optimizer's own, such as its learning rate.
        """


class LowlandTraining(Training):
    def __init__(
        self, parameters: Any, rho: float, a: int, base: type[Optimizer], adaptive: bool, options: Any
    ) -> None:
        handed = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
        self.optimizer = base(handed, **options)
        self.source = parameters if isinstance(parameters, nn.Module) else self.optimizer.param_groups
        self.config = lowland.SAMConfig(rho=rho, ascent_examples=a, adaptive=adaptive)
        self.sam = lowland.SAM(self.source, self.config)

    def step(self, loss_fn: LossFunction, batch: Any) -> None:
        self.info = self.sam(loss_fn, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def step_accumulating(self, loss_fn: LossFunction, micro_batches: Sequence[Any]) -> None:
        self.sam(loss_fn, micro_batches=micro_batches)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def step_scaled(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        lowland.SAM(self.source, self.config, scaler=scaler)(loss_fn, batch)
        scaler.unscale_(self.optimizer)
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad()

    def step_closure(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        sam: Any = lowland.SAM(self.source, self.config, scaler=scaler)
        sam(loss_fn, batch)
        scaler.step(sam, lambda: loss_fn(batch))

    def step_own_ascent(self, ddp: nn.Module, loss_fn: LossFunction, batch: Any) -> None:
        lowland.SAM(ddp, replace(self.config, ranks="own"))(loss_fn, batch)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def measured(self) -> tuple[float, float]:
        return self.info.radius, self.info.moved


class Lowland(Implementation):
    name = "lowland"

    def version(self) -> str:
        return lowland.__version__

    def start(
        self,
        parameters: nn.Module | Iterable[Any],
        *,
        rho: float,
        a: int,
        base: type[Optimizer] = torch.optim.SGD,
        adaptive: bool = False,
        **options: Any,
    ) -> Training:
        return LowlandTraining(parameters, rho, a, base, adaptive, options)


class TwoCalls(Optimizer):
    """The plain SAM that many copy: an optimizer around an optimizer, with a call before and after."""

    def __init__(self, params: Any, base_optimizer: type[Optimizer], rho: float, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base_optimizer(self.param_groups, **options)

    @torch.no_grad()
    def first_step(self) -> None:
        """Climbs to w_adv."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    epsilon = p.grad * (group["rho"] / (norm + 1e-12))
                    p.add_(epsilon)
                    self.state[p]["epsilon"] = epsilon
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        """Goes back and steps."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(self.state[p]["epsilon"])
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure: Any = None) -> None:
        """Does both calls; the closure gives the loss at w_adv and its gradient."""
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()


class TwoCallTraining(Training):
    """Training with an optimizer that climbs in one call and steps in another."""

    def __init__(self, optimizer: Any, a: int) -> None:
        self.optimizer = optimizer
        self.a = a

    def step(self, loss_fn: LossFunction, batch: Any) -> None:
        loss_fn(rows(batch, 0, self.a)).backward()  # type: ignore[no-untyped-call]

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = loss_fn(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        self.optimizer.step(closure)  # type: ignore[arg-type]
        self.optimizer.zero_grad()

    def step_scaled(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        optimizer: Any = self.optimizer
        scaler.scale(loss_fn(rows(batch, 0, self.a))).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        optimizer.first_step()
        optimizer.zero_grad()
        scaler.scale(loss_fn(batch)).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        optimizer.second_step()
        optimizer.zero_grad()
        scaler.update()

    def step_closure(self, scaler: torch.amp.GradScaler, loss_fn: LossFunction, batch: Any) -> None:
        scaler.scale(loss_fn(rows(batch, 0, self.a))).backward()  # type: ignore[no-untyped-call]

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = loss_fn(batch)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            return loss

        scaler.step(self.optimizer, closure)  # type: ignore[arg-type]
        scaler.update()


class TwoCallTrainingUnderDDP(TwoCallTraining):
    def step_own_ascent(self, ddp: Any, loss_fn: LossFunction, batch: Any) -> None:
        loss = loss_fn(rows(batch, 0, self.a))
        with ddp.no_sync():  # as the README of the most copied one has it
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer: Any = self.optimizer
        optimizer.first_step()
        loss_fn(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.second_step()


class Plain(Implementation):
    name = "plain two-call SAM"

    def version(self) -> str:
        return ""

    def start(
        self,
        parameters: nn.Module | Iterable[Any],
        *,
        rho: float,
        a: int,
        base: type[Optimizer] = torch.optim.SGD,
        adaptive: bool = False,
        **options: Any,
    ) -> Training:
        if adaptive:
            raise NotOffered
        handed = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
        return TwoCallTrainingUnderDDP(TwoCalls(handed, base, rho, **options), a)


class PytorchOptimizer(Implementation):
    name = "pytorch-optimizer"

    def version(self) -> str:
        return version("pytorch-optimizer")

    def start(
        self,
        parameters: nn.Module | Iterable[Any],
        *,
        rho: float,
        a: int,
        base: type[Optimizer] = torch.optim.SGD,
        adaptive: bool = False,
        **options: Any,
    ) -> Training:
        from pytorch_optimizer import SAM

        handed = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
        return TwoCallTraining(SAM(handed, base, rho=rho, adaptive=adaptive, **options), a)


IMPLEMENTATIONS: dict[str, Implementation] = {
    one.name: one for one in (Lowland(), PytorchOptimizer(), Plain())
}


@contextlib.contextmanager
def refusal() -> Any:
    """Lets an implementation refuse, instead of doing it wrongly, with an error of its own that says so."""
    try:
        yield
    except (ValueError, AttributeError, RuntimeError, TypeError) as error:
        if not str(error):
            raise

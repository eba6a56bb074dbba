"""The gradient: all that SAM changes about a step of training.

A step is: gradient fills `.grad`, then clip, optimizer, schedule, `zero_grad`.
`StandardGradient` and `SAMGradient` are the first word of it and share the
rest, down to the line that calls `backward`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from lowland.sam import preserve
from lowland.sam.batch import batch_size, cut, rows, target_count
from lowland.sam.parallel import Replicas, local, refuse_flattened
from lowland.sam.parameters import Parameters, Selection
from lowland.sam.perturb import perturbed

LossFunction: TypeAlias = Callable[[Any], Tensor]
"""Gives the mean loss of a batch as a scalar tensor with a graph."""


@dataclass(frozen=True, kw_only=True)
class GradientInfo:
    """What one call of a gradient saw.

    Attributes:
        loss: Mean loss of the batch at the point where the descent gradient was taken: at w in standard
            training, at w_adv under SAM. A 0-d tensor without a graph, so that reading it is up to you.
        ascent_loss: Mean loss of the ascent examples at w, a 0-d tensor; `None` in standard training.
        ascent_norm: Global norm of the ascent gradient, a float; `None` in standard training.
        radius: Measured ||w_adv - w||_2, a float: rho up to rounding, 0 where the ascent gradient was zero
            or not finite, less than rho where the weights' type is too coarse (bf16).
        moved: Share of the perturbed weights that changed at all, from 0 to 1.
        points: Number of adversarial points (m).
    """

    loss: Tensor
    ascent_loss: Tensor | None = None
    ascent_norm: float | None = None
    radius: float = 0.0
    moved: float = 0.0
    points: int = 0


class StandardGradient:
    """The gradient of the batch's loss at w, as `loss.backward()` gives it.

    Args:
        parameters: A module, its parameters, `named_parameters()`, or an optimizer's `param_groups`.
            Hand over the module where you can: under DDP and FSDP2 it must be the wrapped one, and a
            compiled model with buffers needs it.
        micro_batch_size: Examples for one forward pass; larger batches are cut and their gradients
            accumulated to what the whole batch would give. `None` does not cut.
        count: Tells what a (micro-)batch's mean loss is a mean of, to weight micro-batches and ranks
            rightly. By default the target tokens (two-dimensional integer `labels` other than -100) of a
            mapping, else the examples.
        scaler: A `GradScaler` for fp16. Unscale, step and update it yourself, as in standard training.
        backward: Called instead of `loss.backward()`, for example `accelerator.backward`.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        micro_batch_size: int | None = None,
        count: Callable[[Any], Tensor | int | float] = target_count,
        scaler: torch.amp.GradScaler | None = None,
        backward: Callable[..., None] | None = None,
    ) -> None:
        if micro_batch_size is not None and (isinstance(micro_batch_size, bool) or micro_batch_size < 1):
            raise ValueError(f"Invalid {micro_batch_size=}. Must be >= 1.")
        if scaler is not None and backward is not None:
            raise ValueError(
                "Give either scaler= or backward=: a backward of your own scales the loss itself."
            )
        self.module = parameters if isinstance(parameters, nn.Module) else None
        self.selection = Selection(parameters)
        self.micro_batch_size = micro_batch_size
        self.count = count
        self.scaler = scaler
        self._backward_function = backward
        self._replicas = Replicas(self.module)
        refuse_flattened(self.selection.trainable())

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the gradient of the batch's mean loss to every parameter's `.grad`.

        Args:
            loss_fn: `loss_fn(batch)` gives the mean loss of a batch as a scalar tensor. It is called once
                for every pass and piece of the batch.
            batch: A tensor, a tuple, list or mapping of tensors, or a `BatchEncoding`, whose first
                dimension is the example.
            micro_batches: Instead of `batch`: its pieces, in order, where the loop has them already.

        Returns:
            What was seen; the gradient itself is in `.grad`.
        """
        pieces = self._pieces(batch, micro_batches)
        return GradientInfo(loss=self._accumulate(loss_fn, pieces))

    def _pieces(self, batch: Any, micro_batches: Sequence[Any] | None) -> list[Any]:
        """Brings the batch into the form of micro-batches."""
        if (batch is None) == (micro_batches is None):
            raise ValueError("Give either a batch or micro_batches=[...], and not both.")
        pieces = [batch] if micro_batches is None else list(micro_batches)
        if not pieces:
            raise ValueError("micro_batches is empty. Give at least one micro-batch.")
        limit = self.micro_batch_size
        if limit is None:
            return pieces
        sizes = [batch_size(piece) for piece in pieces]
        return [
            piece if size <= limit else rows(piece, start, min(start + limit, size))
            for piece, size in zip(pieces, sizes, strict=True)
            for start in range(0, size, limit)
        ]

    def _accumulate(
        self,
        loss_fn: LossFunction,
        pieces: Sequence[Any],
        share: float | Tensor = 1.0,
        together: bool = True,
        **options: Any,
    ) -> Tensor:
        """Adds `share` times the gradient of the pieces' mean loss to `.grad`; returns that mean loss.

        `together` averages over the ranks; `options` go to `backward`.
        """
        ranks = self._replicas.size if together else 1
        weights = self._weights(pieces, together) if len(pieces) > 1 or ranks > 1 else None
        losses: list[Tensor] = []
        for index, piece in enumerate(pieces):
            synchronise = together and index == len(pieces) - 1
            with nullcontext() if synchronise else self._replicas.unsynchronised():
                loss = loss_fn(piece)
                if not isinstance(loss, Tensor) or loss.dim() != 0:
                    got = (
                        f"a tensor of shape {tuple(loss.shape)}"
                        if isinstance(loss, Tensor)
                        else type(loss).__name__
                    )
                    raise ValueError(f"loss_fn must return the mean loss as a scalar tensor, but gave {got}.")
                if weights is not None:
                    loss = _times(loss, weights[index])
                losses.append(loss.detach())
                self._backward(_times(loss, share), **options)
                del loss  # frees the graph's last reference before the next pass builds its own
        mean = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        return self._replicas.total(mean) / ranks if ranks > 1 else mean

    def _weights(self, pieces: Sequence[Any], together: bool) -> list[Tensor]:
        """Computes what each piece's mean loss weighs in the mean over all pieces (and ranks)."""
        counts = [_exact(self.count(piece)) for piece in pieces]
        total = torch.stack(counts).sum()
        if together and self._replicas.size > 1:
            # The ranks' gradients are averaged afterwards, hence their number.
            total = self._replicas.total(total) / self._replicas.size
        return [count / total for count in counts]

    def _backward(self, loss: Tensor, **options: Any) -> None:
        if self._backward_function is not None:
            self._backward_function(loss, **options)
        else:
            (loss if self.scaler is None else self.scaler.scale(loss)).backward(**options)

    def __getattr__(self, name: str) -> NoReturn:
        if name in {"step", "zero_grad", "param_groups", "first_step", "second_step"}:
            raise AttributeError(
                f"{type(self).__name__} is a gradient, not an optimizer, and has no {name!r}. Call "
                "gradient(loss_fn, batch) instead of loss.backward(), then your own optimizer's step() and "
                "zero_grad(), or scaler.step(optimizer) without a closure."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class SAMGradient(StandardGradient):
    """The gradient of Sharpness-Aware Minimization: that of the batch's loss at w_adv.

        sam = lowland.SAM(model, rho=0.15, ascent=0.25)
        for batch in loader:
            info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()
            optimizer.step()
            optimizer.zero_grad()

    Args:
        parameters: As in `StandardGradient`; `optimizer.param_groups` stays up to date when groups are added.
        rho: Radius of the perturbation, >= 0. At 0 the gradient is the standard one, bit for bit.
        ascent: How many examples the ascent uses: a fraction of the batch in (0, 1] (a float), or a number
            of examples (an int). The first ones of the batch are taken, at least one a point and a rank.
        m: Number of adversarial points (m-sharpness); their gradients are averaged.
        descent: For m > 1: `share` lets each point descend on its own share of the batch, at no more cost
            than m = 1; `full` on the whole batch, at m times the cost.
        perturb: Which parameters are perturbed: a predicate of name and parameter, or shell-style name
            patterns such as `["*layer_norm*"]`. All by default. All are trained in any case.
        ranks: Under DDP: `shared` averages the ascent gradient over the ranks, so that all share one
            w_adv; `own` lets each rank climb on its own examples, without communication (m = ranks).
        micro_batch_size: As in `StandardGradient`.
        count: As in `StandardGradient`.
        scaler: As in `StandardGradient`. If the ascent overflows, `.grad` is made non-finite, so that the
            scaler skips the step and lowers its scale.
        backward: As in `StandardGradient`.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022); `share` as in Foret et al. (2021), `full` as in the
        paper's ablation of m.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        rho: float = 0.15,
        ascent: float | int = 0.25,
        m: int = 1,
        descent: Literal["share", "full"] = "share",
        perturb: Callable[[str, Tensor], bool] | Iterable[str] | None = None,
        ranks: Literal["shared", "own"] = "shared",
        micro_batch_size: int | None = None,
        count: Callable[[Any], Tensor | int | float] = target_count,
        scaler: torch.amp.GradScaler | None = None,
        backward: Callable[..., None] | None = None,
    ) -> None:
        if isinstance(rho, bool) or not (rho >= 0 and math.isfinite(rho)):
            raise ValueError(f"Invalid {rho=}. Must be a finite number >= 0.")
        if isinstance(ascent, bool) or not (ascent >= 1 if isinstance(ascent, int) else 0 < ascent <= 1):
            raise ValueError(f"Invalid {ascent=}. Must be a fraction in (0, 1] or a number of examples >= 1.")
        if isinstance(m, bool) or not isinstance(m, int) or m < 1:
            raise ValueError(f"Invalid {m=}. Must be a whole number >= 1.")
        if isinstance(ascent, int) and ascent % m:
            raise ValueError(f"Invalid {ascent=} with {m=}. The ascent examples must divide into m groups.")
        if descent not in ("share", "full"):
            raise ValueError(f"Invalid {descent=}. Must be 'share' or 'full'.")
        if ranks not in ("shared", "own"):
            raise ValueError(f"Invalid {ranks=}. Must be 'shared' or 'own'.")
        super().__init__(
            parameters, micro_batch_size=micro_batch_size, count=count, scaler=scaler, backward=backward
        )
        self.selection = Selection(self.selection.source, perturb)
        if ranks == "own" and self._replicas.ddp is None:
            raise ValueError("ranks='own' needs the model wrapped in DistributedDataParallel.")
        self.rho = float(rho)
        self.ascent = ascent
        self.m = m
        self.descent = descent
        self.ranks = ranks

    def ascent_size(self, size: int) -> int:
        """Computes a, the number of ascent examples.

        Args:
            size: Examples of the batch on this process.

        Returns:
            The multiple of m nearest to `ascent` times the batch, from m up to the batch.

        Raises:
            ValueError: If the batch has fewer examples than m.
        """
        if size < self.m:
            raise ValueError(f"A batch of {size} examples cannot be cut for m={self.m} points.")
        examples = self.ascent / self._replicas.size if isinstance(self.ascent, int) else self.ascent * size
        return self.m * max(1, min(round(examples / self.m), size // self.m))

    def __call__(
        self, loss_fn: LossFunction, batch: Any = None, *, micro_batches: Sequence[Any] | None = None
    ) -> GradientInfo:
        """Adds the SAM gradient of the batch to every parameter's `.grad`.

        Args:
            loss_fn: As in `StandardGradient`. It sees the ascent examples first, then the batch.
            batch: As in `StandardGradient`.
            micro_batches: As in `StandardGradient`; the ascent examples are the first of the whole batch,
                wherever it is cut.

        Returns:
            What was seen; means over the points where m > 1.
        """
        self.selection.refuse_hooks()
        pieces = self._pieces(batch, micro_batches)
        infos: list[GradientInfo] = []
        for ascent_pieces, descent_pieces, share in self._points(pieces):
            ascent_loss, parameters, gradients = self._ascend(loss_fn, ascent_pieces)
            with ExitStack() as stack:
                stack.push(lambda error, *_: self._replicas.reshard() if error is not None else None)
                done = stack.enter_context(perturbed(parameters, gradients, self.rho))
                loss = self._accumulate(loss_fn, descent_pieces, share)
            self._overflow(done.norm)
            infos.append(
                GradientInfo(
                    loss=_times(loss, share),
                    ascent_loss=ascent_loss,
                    ascent_norm=done.norm / (self.scaler.get_scale() if self.scaler is not None else 1.0),
                    radius=done.radius,
                    moved=done.moved,
                    points=1,
                )
            )
        return _mean(infos) if len(infos) > 1 else infos[0]

    def _points(self, pieces: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any], float | Tensor]]:
        """Plans the points: the pieces each climbs on, those it descends on, and its share of the gradient."""
        size = sum(batch_size(piece) for piece in pieces)
        group = self.ascent_size(size) // self.m
        if self.m == 1:
            yield cut(pieces, 0, group), list(pieces), 1.0
        elif self.descent == "full":
            for point in range(self.m):
                yield cut(pieces, point * group, (point + 1) * group), list(pieces), 1.0 / self.m
        else:
            ends = [size * point // self.m for point in range(self.m + 1)]
            shares = [cut(pieces, start, stop) for start, stop in pairwise(ends)]
            counts = [
                self._replicas.total(torch.stack([_exact(self.count(piece)) for piece in share]).sum())
                for share in shares
            ]
            total = torch.stack(counts).sum()
            for share, count in zip(shares, counts, strict=True):
                yield cut(share, 0, group), share, count / total

    def _ascend(
        self, loss_fn: LossFunction, pieces: Sequence[Any]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Takes the gradient of the ascent examples at w, and leaves everything else as it was.

        Returns:
            The loss, the parameters that have a gradient, and these gradients.
        """
        parameters = self.selection.perturbed()
        touched = parameters
        options: dict[str, Any] = {"inputs": parameters}
        if self._replicas.size > 1 or self._replicas.sharded or self._replicas.ddp is not None:
            # The wrappers' hooks wait for every parameter of the module.
            touched, options = self.selection.trainable(), {}
        held = [parameter.grad for parameter in touched]
        if self._replicas.ddp is not None and self._replicas.ddp.gradient_as_bucket_view:
            # These are views of the very memory that the ascent is reduced in.
            held = [None if gradient is None else gradient.clone() for gradient in held]
        for parameter in touched:
            parameter.grad = None
        try:
            with (
                preserve.random_streams({parameter.device for parameter in touched}),
                preserve.buffers(self.module),
            ):
                loss = self._accumulate(loss_fn, pieces, together=self.ranks == "shared", **options)
            climbed = [parameter for parameter in parameters if parameter.grad is not None]
            gradients = [_dense(parameter.grad) for parameter in climbed if parameter.grad is not None]
        finally:
            for parameter, gradient in zip(touched, held, strict=True):
                parameter.grad = gradient
        return loss, climbed, gradients

    def _overflow(self, norm: float) -> None:
        """Makes the gradient non-finite where the ascent overflowed, so that the scaler skips the step."""
        failed = torch.tensor(0 if math.isfinite(norm) else 1)
        if self.scaler is None or not int(self._replicas.total(failed)):
            return
        for parameter in self.selection.trainable():
            if parameter.grad is not None:
                local(parameter.grad).fill_(math.inf)


def _exact(count: Tensor | int | float) -> Tensor:
    """Gives a count as a floating-point number, in double precision where the device has it."""
    count = torch.as_tensor(count)
    return count.to(torch.float32 if count.device.type == "mps" else torch.float64)


def _times(loss: Tensor, share: float | Tensor) -> Tensor:
    """Multiplies in the loss's own type; a share of exactly one leaves no operation in the graph."""
    if isinstance(share, Tensor):
        return loss * share.to(loss.device, loss.dtype)
    return loss if share == 1.0 else loss * share


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


def _mean(infos: Sequence[GradientInfo]) -> GradientInfo:
    """Joins the points of one step: the losses carry their shares already, the rest is averaged."""
    points = len(infos)
    return GradientInfo(
        loss=torch.stack([info.loss for info in infos]).sum(),
        ascent_loss=torch.stack([info.ascent_loss for info in infos if info.ascent_loss is not None]).mean(),
        ascent_norm=sum(info.ascent_norm or 0.0 for info in infos) / points,
        radius=sum(info.radius for info in infos) / points,
        moved=sum(info.moved for info in infos) / points,
        points=points,
    )


SAM = SAMGradient

"""SAM: the gradient of the loss at w_adv, the worst point within rho of w."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lowland.sam import preserve
from lowland.sam.batch import batch_size, cut, target_count
from lowland.sam.dropout import droppers
from lowland.sam.parameters import Parameters, Selection
from lowland.sam.perturb import Perturbation, perturb
from lowland.sam.reentrant import refuse_reentrant
from lowland.sam.rows import by_rows, dense_tables
from lowland.sam.standard import GradientInfo, LossFunction, StandardGradient, times
from lowland.sam.weights import with_own_memory

COARSE = 0.9
"""Below this share of rho the measured radius is worth a warning; in fp32 it is 1 up to rounding."""


class SAMGradient(StandardGradient):
    """The gradient of Sharpness-Aware Minimization: that of the batch's loss at w_adv.

        sam = lowland.SAM(model, rho=0.15, ascent=0.25)
        for batch in loader:
            info = sam(loss_fn, batch)  # instead of loss_fn(batch).backward()
            optimizer.step()
            optimizer.zero_grad()

    Args:
        parameters: As in `StandardGradient`; `optimizer.param_groups` stays up to date when groups are added.
        rho: Radius of the perturbation, >= 0. At 0 the gradient is the standard one, bit for bit (for m = 1).
        ascent: How many examples the ascent uses: a fraction of the batch in (0, 1] (a float), or a number
            of examples (an int). The first ones of the batch are taken, at least one a point and a rank.
        m: Number of adversarial points (m-sharpness); their gradients are averaged.
        descent: For m > 1: `share` lets each point descend on its own share of the batch, at no more cost
            than m = 1; `full` on the whole batch, at m times the cost.
        perturb: Which parameters are perturbed: a predicate of name and parameter, or shell-style name
            patterns such as `["*layer_norm*"]`. All by default. All are trained in any case.
        adaptive: Whether each weight's part of the perturbation is measured by the weight's size (ASAM), so
            that scaling a layer up and the next one down changes nothing. Its rho is another: 0.2 to 2.
        ascent_dropout: Whether the ascent drops out as the descent does. If not, it draws no masks and climbs
            on the loss of the whole network: for its time all parts of the module leave training mode but
            BatchNorms and recurrent layers. So layers of transformers do not checkpoint in it. Not for models
            that compute something else outside of training, such as experts of other capacities.
        ascent_bf16: Whether the ascent's forward pass is under bf16 autocast where the descent's is not: its
            gradient is needed for a direction only. A `loss_fn` that sets autocast itself has its own way.
        ranks: Under DDP: `shared` averages the ascent gradient over the ranks, so that all share one
            w_adv; `own` lets each rank climb on its own examples, without communication (m = ranks).
        row_gradients: Whether the ascent takes the gradient of large `nn.Embedding` tables only in the rows
            that its examples use, where these are less than half, and only these are moved: less memory and
            time with large vocabularies. Not for what is compiled; under DDP and FSDP2 it changes nothing.
        swap: Whether w_adv is made beside w and takes its place for the descent, instead of being written
            over it: the same numbers without copying w away and back. Weights that share their memory with
            another tensor of the module, and all under DDP and FSDP2, are written over in any case. Not where
            something else holds the weights' memory, such as views of them or CUDA graphs, nor where a graph
            of the descent is used after the call.
        measure: Whether `info.radius` and `info.moved` are measured, which costs as much again as moving the
            weights. An attribute: a loop may measure only in the steps that it logs.
        micro_batch_size: As in `StandardGradient`.
        count: As in `StandardGradient`.
        scaler: As in `StandardGradient`. If the ascent overflows, `.grad` is made non-finite, so that the
            scaler skips the step and lowers its scale.
        backward: As in `StandardGradient`.

    Attributes:
        active: While false, the gradient is the standard one, at the standard price. A loop may set it before
            any step, for example `sam.active = step >= 0.7 * steps`.

    Source:
        Algorithm 1 of Bahri, Mobahi and Tay (2022); `share` as in Foret et al. (2021), `full` as in the
        paper's ablation of m; `adaptive` as in Kwon et al. (2021), arXiv 2102.11600.
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
        adaptive: bool = False,
        ascent_dropout: bool = True,
        ascent_bf16: bool = False,
        ranks: Literal["shared", "own"] = "shared",
        row_gradients: bool = False,
        swap: bool = False,
        measure: bool = True,
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
        for name, chosen in (("adaptive", adaptive), ("ascent_bf16", ascent_bf16)):
            if not isinstance(chosen, bool):
                raise ValueError(f"Invalid {name}={chosen!r}. Must be True or False.")
        for name, chosen, plain in (
            ("ascent_dropout", ascent_dropout, True),
            ("row_gradients", row_gradients, False),
            ("swap", swap, False),
        ):
            if not isinstance(chosen, bool):
                raise ValueError(f"Invalid {name}={chosen!r}. Must be True or False.")
            if chosen != plain and not isinstance(parameters, nn.Module):
                raise ValueError(f"{name}={chosen} needs the module, not its parameters alone.")
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
        if ranks == "own" and self._replicas.ddp is not None and self._replicas.ddp.static_graph:
            raise ValueError(
                "ranks='own' does not go with static_graph=True, whose first pass is always reduced."
            )
        self.rho = float(rho)
        self.ascent = ascent
        self.m = m
        self.descent = descent
        self.adaptive = adaptive
        self.ascent_dropout = ascent_dropout
        self.ascent_bf16 = ascent_bf16
        self.ranks = ranks
        self.row_gradients = row_gradients
        self.swap = swap and not self._replicas.wrapped
        self.measure = measure
        self.active = True
        self._warned = False

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
        if not self.active:
            return super().__call__(loss_fn, batch, micro_batches=micro_batches)
        self._replicas.reshard()
        self.selection.refuse_hooks()
        swap = with_own_memory(self.module) if self.swap and self.module is not None else None
        infos: list[GradientInfo] = []
        for ascent_pieces, descent_pieces, share in self._points(self._pieces(batch, micro_batches)):
            ascent_loss, parameters, gradients = self._ascend(loss_fn, ascent_pieces)
            perturbation = perturb(parameters, gradients, self.rho, self.measure, self.adaptive, swap)
            try:
                done = next(perturbation)
                loss = self._accumulate(loss_fn, descent_pieces, share)
            except BaseException:
                self._replicas.abandon()
                raise
            finally:
                perturbation.close()
            self._done(done)
            self._warn_of_coarse_weights(done, parameters)
            infos.append(
                GradientInfo(
                    loss=times(loss, share),
                    ascent_loss=ascent_loss,
                    ascent_norm=done.norm / (self.scaler.get_scale() if self.scaler is not None else 1.0),
                    radius=done.radius,
                    moved=done.moved,
                    points=1,
                )
            )
        return _mean(infos) if len(infos) > 1 else infos[0]

    def _points(self, pieces: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any], float]]:
        """Plans the points: the pieces each climbs on, those it descends on, its share of the gradient."""
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
                self._replicas.sum(sum(float(self.count(piece)) for piece in share)) for share in shares
            ]
            for share, count in zip(shares, counts, strict=True):
                yield cut(share, 0, group), share, count / sum(counts) if any(counts) else 1.0 / self.m

    def _ascend(
        self, loss_fn: LossFunction, pieces: Sequence[Any]
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        """Takes the gradient of the ascent examples at w, and leaves everything else as it was.

        Returns:
            The loss, the parameters that have a gradient, and these gradients.
        """
        parameters = self.selection.perturbed()
        # DDP and FSDP2 wait for the gradient of every parameter. Elsewhere those that are not perturbed,
        # or that SAM was not given, need none and keep what they have.
        touched = self.selection.trainable() if self._replicas.wrapped else parameters
        options: dict[str, Any] = {} if self._replicas.group is not None else {"inputs": touched}
        held = [parameter.grad for parameter in touched]
        if self._replicas.ddp is not None and self._replicas.ddp.gradient_as_bucket_view:
            # These are views of the very memory that the ascent is reduced in.
            held = [None if gradient is None else gradient.clone() for gradient in held]
        for parameter in touched:
            parameter.grad = None
        graphs: list[Any] = []
        kind = parameters[0].device.type

        def watched(piece: Any) -> Tensor:
            graphs.clear()
            if not self.ascent_bf16:
                loss = loss_fn(piece)
            else:
                with torch.autocast(kind, torch.bfloat16):
                    torch.clear_autocast_cache()  # which may hold casts to the type of an autocast outside
                    loss = loss_fn(piece)
                    torch.clear_autocast_cache()
            graphs.append(getattr(loss, "grad_fn", None))
            return loss

        tables = self._tables()
        still = [] if self.ascent_dropout or self.module is None else droppers(self.module)
        try:
            for table in tables:
                table.sparse = True
            for part in still:
                part.training = False
            with (
                preserve.random_streams({parameter.device for parameter in touched}),
                preserve.buffers(self.module),
            ):
                loss = self._accumulate(watched, pieces, together=self.ranks == "shared", **options)
            climbed = [parameter for parameter in parameters if parameter.grad is not None]
            if options and len(climbed) < len(parameters):
                refuse_reentrant(graphs[0])
            gradients = [by_rows(parameter.grad) for parameter in climbed if parameter.grad is not None]
        finally:
            try:
                _undo(tables, still)
            except BaseException:  # a second Ctrl-C
                _undo(tables, still)
                raise
            for parameter, gradient in zip(touched, held, strict=True):
                parameter.grad = gradient
        return loss, climbed, gradients

    def _tables(self) -> list[nn.Embedding]:
        """Lists the tables of embeddings whose gradient the ascent takes by rows."""
        if self.row_gradients and self.module is not None and not self._replicas.wrapped:
            return dense_tables(self.module)
        return []

    def _warn_of_coarse_weights(self, done: Perturbation, parameters: Sequence[Tensor]) -> None:
        """Warns, once, where a good part of the perturbation was lost to the weights' type."""
        if self._warned or not done.taken or done.radius is None or done.radius >= COARSE * self.rho:
            return
        self._warned = True
        types = ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters}))
        warnings.warn(
            f"Of rho={self.rho:g} only {done.radius:.3g} reached the weights, and {done.moved:.0%} of them "
            f"moved at all: {types} is too coarse for so small a step. Keep the weights in fp32 and compute "
            "under autocast.",
            UserWarning,
            stacklevel=3,
        )

    def _done(self, done: Perturbation) -> None:
        """Makes the gradient non-finite where the ascent overflowed, so that the scaler skips the step."""
        if self.scaler is None or not self.scaler.is_enabled():
            return
        if self._replicas.sum(not math.isfinite(done.norm)):
            for parameter in self.selection.trainable():
                if parameter.grad is not None:
                    parameter.grad.mul_(math.inf)  # 0 becomes NaN


def _undo(tables: Sequence[nn.Embedding], still: Sequence[nn.Module]) -> None:
    for table in tables:
        table.sparse = False
    for part in still:
        part.training = True


def _mean(infos: Sequence[GradientInfo]) -> GradientInfo:
    """Joins the points of one step: the losses carry their shares already, the rest is averaged."""
    points = len(infos)
    return GradientInfo(
        loss=torch.stack([info.loss for info in infos]).sum(),
        ascent_loss=torch.stack([info.ascent_loss for info in infos if info.ascent_loss is not None]).mean(),
        ascent_norm=_average([info.ascent_norm for info in infos]),
        radius=_average([info.radius for info in infos]),
        moved=_average([info.moved for info in infos]),
        points=points,
    )


def _average(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None


SAM = SAMGradient

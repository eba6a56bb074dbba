"""What each of two processes does in the distributed tests: train together, and compare with training alone.

Every rank has half of the examples. The same step is taken in one process on the examples of both ranks,
in an order that puts the ascent examples of both ranks first, as `alone` does.
"""

from __future__ import annotations

import datetime
import json
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.sam.toys import Batch, token_batch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from lowland import SAM, GradientInfo, StandardGradient
from lowland.sam import PastSAMGradient
from lowland.sam.batch import rows

WORLD = 2
# Float64 sums of numbers of order 1 in another order, over a few steps.
ROUNDING = 1e-12
CASES: dict[str, Callable[[int], None]] = {}


def case(function: Callable[[int], None]) -> Callable[[int], None]:
    """Enters a function into the list of cases."""
    CASES[function.__name__] = function
    return function


class Net(nn.Module):
    """A tagger of tokens whose shapes do not divide by two, so that shards are uneven and some empty."""

    def __init__(self, unused: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(21, 5)
        self.hidden = nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(1))
        self.out = nn.Linear(3, 7)
        self.unused = nn.Linear(2, 2) if unused else None
        self.double()

    def forward(self, batch: Batch) -> Tensor:
        hidden = torch.tanh(self.hidden(self.embedding(batch["input_ids"]))) * self.scale
        return nn.functional.cross_entropy(self.out(hidden).flatten(0, 1), batch["labels"].flatten())


def halves(seed: int = 0) -> list[Batch]:
    """The batches of both ranks, 6 examples each, with very unequal numbers of target tokens."""
    return [token_batch([1, 6, 2, 5, 3, 6], seed=seed), token_batch([1, 1, 2, 1, 4, 1], seed=seed + 100)]


def joined(parts: list[Batch]) -> Batch:
    """One batch of several."""
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def alone(parts: list[Batch], ascent: int, m: int = 1, whole: bool = False) -> Batch:
    """One batch of both ranks' examples: the ascent examples of both (of each of m shares) come first."""
    size = len(parts[0]["labels"])
    ordered = []
    if whole:  # all points descend on everything
        group = ascent // m
        for point in range(m):
            ordered += [rows(part, group * point, group * (point + 1)) for part in parts]
        return joined([*ordered, *[rows(part, ascent, size) for part in parts]])
    for point in range(m):
        shares = [rows(part, size * point // m, size * (point + 1) // m) for part in parts]
        ordered += [rows(share, 0, ascent // m) for share in shares]
        ordered += [rows(share, ascent // m, size) for share in shares]
    return joined(ordered)


def full(tensor: Tensor | None) -> Tensor | None:
    """The whole of a tensor that may be sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def close(left: Any, right: Any) -> bool:
    """Equality up to rounding; `None` equals `None`."""
    if left is None or right is None:
        return left is right
    return bool(torch.allclose(torch.as_tensor(left), torch.as_tensor(right), rtol=0, atol=ROUNDING))


def assert_same_gradients(model: nn.Module, other: nn.Module) -> None:
    """Together and alone, the gradients agree."""
    pairs = list(zip(model.named_parameters(), other.parameters(), strict=True))
    wrong = [name for (name, p), q in pairs if not close(full(p.grad), q.grad)]
    assert not wrong, f"gradients differ: {wrong}"


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    """Together and alone, the weights agree."""
    pairs = list(zip(model.named_parameters(), other.parameters(), strict=True))
    wrong = [name for (name, p), q in pairs if not close(full(p.detach()), q.detach())]
    assert not wrong, f"weights differ: {wrong}"


def assert_same_info(info: GradientInfo, expected: GradientInfo) -> None:
    """Together and alone, the figures agree."""
    for name in ("loss", "ascent_loss", "ascent_norm", "radius", "moved"):
        assert close(getattr(info, name), getattr(expected, name)), (name, info, expected)


def shard(model: nn.Module) -> nn.Module:
    """Applies FSDP2 to two parts and the whole."""
    mesh = init_device_mesh("cpu", (WORLD,))
    for part in (model.embedding, model.out):
        fully_shard(part, mesh=mesh)  # type: ignore[arg-type]
    return fully_shard(model, mesh=mesh)


def trajectory(
    rank: int,
    wrap: Callable[[nn.Module], nn.Module],
    ascent: int = 2,
    m: int = 1,
    own: bool = False,
    standard: bool = False,
    unused: bool = False,
    by_parameters: bool = False,
    steps: int = 3,
    parts_of: Callable[[int], list[Batch]] = halves,
    **options: Any,
) -> None:
    """Takes steps of AdamW together and alone: gradients, figures and weights must agree at each."""
    wrapped, other = wrap(Net(unused)), Net(unused)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.05)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.05)
    handed: Any = wrapped.parameters() if by_parameters else wrapped
    other_handed: Any = other.parameters() if by_parameters else other
    together: StandardGradient
    single: StandardGradient
    if standard:
        together, single = StandardGradient(handed, **options), StandardGradient(other)
    elif own:
        together = SAM(handed, rho=0.3, ascent=ascent * WORLD, ranks="own", **options)
        single = SAM(other, rho=0.3, ascent=ascent * WORLD, m=WORLD)
    else:
        together = SAM(handed, rho=0.3, ascent=ascent if by_parameters else ascent * WORLD, m=m, **options)
        expected = {key: value for key, value in options.items() if key != "micro_batch_size"}
        single = SAM(other_handed, rho=0.3, ascent=ascent * WORLD, m=m, **expected)
    for step in range(steps):
        parts = parts_of(step)
        info = together(wrapped, parts[rank])
        expected_info = single(other, joined(parts) if own else alone(parts, ascent, m, "descent" in options))
        assert_same_gradients(wrapped, other)
        if not own and not by_parameters:  # there a rank's figures are its own
            assert_same_info(info, expected_info)
        optimizer.step()
        other_optimizer.step()
        assert_same_weights(wrapped, other)
        for one in (optimizer, other_optimizer):
            one.zero_grad()


def ddp(**options: Any) -> Callable[[nn.Module], nn.Module]:
    """A way to wrap a model."""
    return lambda model: DistributedDataParallel(model, **options)


FLAVOURS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bucket_view": {"gradient_as_bucket_view": True},
    "static_graph": {"static_graph": True},
    "find_unused": {"find_unused_parameters": True},
}


def _enter_flavours() -> None:
    for flavour, options in FLAVOURS.items():
        unused = flavour == "find_unused"
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "_micro_batches": {"micro_batch_size": 4},
            "_m2_share": {"m": 2},
            "_m2_full": {"m": 2, "descent": "full"},
            "_own": {"own": True},
            "_own_micro_batches": {"own": True, "micro_batch_size": 4},
            "_standard_micro_batches": {"standard": True, "micro_batch_size": 4},
            "_some_perturbed": {"perturb": "hidden.*"},
        }
        for name, variant in variants.items():
            if flavour == "static_graph" and "own" in variant:
                continue

            def run(rank: int, options: Any = options, variant: Any = variant, unused: bool = unused) -> None:
                trajectory(rank, ddp(**options), unused=unused, **variant)

            CASES[f"ddp_{flavour}{name}"] = run
    for name, variant in {
        "": {},
        "_micro_batches": {"micro_batch_size": 4},
        "_m2_share": {"m": 2},
        "_m2_full": {"m": 2, "descent": "full"},
        "_standard_micro_batches": {"standard": True, "micro_batch_size": 4},
        "_some_perturbed": {"perturb": "hidden.*"},
    }.items():

        def run_sharded(rank: int, variant: Any = variant) -> None:
            trajectory(rank, shard, **variant)

        CASES[f"fsdp2{name}"] = run_sharded


_enter_flavours()


def uneven(step: int) -> list[Batch]:
    """The ranks have different numbers of examples, and so of micro-batches."""
    first, second = halves(step)
    return [first, rows(second, 0, 3)]


def uneven_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """As `trajectory`, in micro-batches of 2: three passes on one rank, two on the other."""
    wrapped, other = wrap(Net()), Net()
    parts = uneven(0)
    info = SAM(wrapped, rho=0.3, ascent=6, micro_batch_size=2)(wrapped, parts[rank])
    batch = joined([rows(parts[0], 0, 3), parts[1], rows(parts[0], 3, 6)])
    expected = SAM(other, rho=0.3, ascent=6)(other, batch)
    assert_same_gradients(wrapped, other)
    assert_same_info(info, expected)


@case
def ddp_uneven(rank: int) -> None:
    """Under DDP the ranks may have different numbers of examples and micro-batches."""
    uneven_trajectory(rank, ddp())


@case
def fsdp2_uneven(rank: int) -> None:
    """Under FSDP2, where every pass waits for the other ranks, so may they."""
    uneven_trajectory(rank, shard)


@case
def ddp_parameters_only(rank: int) -> None:
    """With the parameters alone DDP's own reductions make the ascent shared; ranks then weigh the same."""

    def equal(step: int) -> list[Batch]:
        return [token_batch([2, 3, 5, 1], seed=step), token_batch([3, 2, 1, 5], seed=step + 9)]

    trajectory(rank, ddp(), by_parameters=True, parts_of=equal)
    trajectory(rank, ddp(), by_parameters=True, parts_of=equal, perturb="1")


@case
def ddp_existing_gradients(rank: int) -> None:
    """Gradients that were there are added to, also where they are views of DDP's buckets."""
    for options in FLAVOURS.values():
        wrapped, other = ddp(**options)(Net()), Net()
        together, single = SAM(wrapped, rho=0.3, ascent=4), SAM(other, rho=0.3, ascent=4)
        for step in range(3):  # without zero_grad
            together(wrapped, halves(step)[rank])
            single(other, alone(halves(step), 2))
            assert_same_gradients(wrapped, other)


@case
def ddp_reductions(rank: int) -> None:
    """Each pass is reduced once, in its last micro-batch; an ascent of a rank's own is not."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    for options, passes in (({}, 2), ({"ranks": "own"}, 1), ({"m": 3}, 6)):
        wrapped = ddp()(Net())
        reductions = 0

        def hook(state, bucket):  # type: ignore[no-untyped-def]
            nonlocal reductions
            reductions += 1
            return allreduce_hook(state, bucket)

        wrapped.register_comm_hook(None, hook)  # type: ignore[operator]
        sam = SAM(wrapped, micro_batch_size=1, ascent=1.0, **options)  # type: ignore[arg-type]
        sam(wrapped, halves()[rank])
        reductions = 0  # the first pass may come in other buckets
        sam(wrapped, halves()[rank])
        assert reductions == passes, (options, reductions)


@case
def ddp_rho_zero(rank: int) -> None:
    """At rho = 0 the gradient is that of standard training under DDP, bit for bit."""
    for options in FLAVOURS.values():
        sam_model, standard_model = ddp(**options)(Net()), ddp(**options)(Net())
        for step in range(3):
            SAM(sam_model, rho=0.0)(sam_model, halves(step)[rank])
            StandardGradient(standard_model)(standard_model, halves(step)[rank])
            for p, q in zip(sam_model.parameters(), standard_model.parameters(), strict=True):
                assert p.grad is not None and q.grad is not None and torch.equal(p.grad, q.grad)


@case
def fsdp2_rho_zero(rank: int) -> None:
    """At rho = 0 the gradient is that of standard training under FSDP2, bit for bit."""
    sam_model, standard_model = shard(Net()), shard(Net())
    for step in range(3):
        SAM(sam_model, rho=0.0)(sam_model, halves(step)[rank])
        StandardGradient(standard_model)(standard_model, halves(step)[rank])
        for p, q in zip(sam_model.parameters(), standard_model.parameters(), strict=True):
            left, right = full(p.grad), full(q.grad)
            assert left is not None and right is not None and torch.equal(left, right)


def past_trajectory(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Takes steps whose direction is made of the steps before, together and alone."""
    for direction in ("previous", "momentum"):
        wrapped, other = wrap(Net()), Net()
        together = PastSAMGradient(wrapped, rho=0.3, direction=direction, micro_batch_size=4)  # type: ignore[arg-type]
        single = PastSAMGradient(other, rho=0.3, direction=direction)  # type: ignore[arg-type]
        for step in range(3):
            info, expected = together(wrapped, halves(step)[rank]), single(other, joined(halves(step)))
            assert_same_gradients(wrapped, other)
            assert close(info.radius, expected.radius) and close(info.ascent_norm, expected.ascent_norm)
            for optimized in (wrapped, other):
                torch.optim.SGD(optimized.parameters(), lr=0.1).step()
                optimized.zero_grad()


@case
def ddp_past(rank: int) -> None:
    """Under DDP, bucket views included, directions of past gradients are those of the whole batch."""
    for options in FLAVOURS.values():
        past_trajectory(rank, ddp(**options))


@case
def fsdp2_past(rank: int) -> None:
    """Under FSDP2 directions of past gradients are kept in shards, with one norm over all of them."""
    past_trajectory(rank, shard)


@case
def fsdp2_hybrid(rank: int) -> None:
    """With replicas of shards, each shard counts once in the norm and each example once in the mean."""
    for sizes in ((2, 1), (1, 2)):
        mesh = init_device_mesh("cpu", sizes, mesh_dim_names=(f"replicate{sizes[0]}", f"shard{sizes[1]}"))

        def wrap(model: nn.Module, mesh: Any = mesh) -> nn.Module:
            return fully_shard(model, mesh=mesh)

        trajectory(rank, wrap, micro_batch_size=4)


@case
def fsdp2_points(rank: int) -> None:
    """The ranks' forward passes see one w_adv, at a distance of rho from w over all shards together."""
    wrapped, points = shard(Net()), []

    def loss_fn(batch: Batch) -> Tensor:
        points.append([p.full_tensor().detach().clone() for p in wrapped.parameters()])  # type: ignore[attr-defined]
        return wrapped(batch)

    info = SAM(wrapped, rho=0.3)(loss_fn, halves()[rank])
    distance = sum(float((a - b).square().sum()) for a, b in zip(*points, strict=True)) ** 0.5
    assert close(distance, 0.3) and close(info.radius, 0.3)
    assert info.moved > 0.5


@case
def fsdp2_after_evaluation(rank: int) -> None:
    """An evaluation, which leaves gathered weights in the module, does not disturb the step after it."""
    wrapped, other = shard(Net()), Net()
    with torch.no_grad():
        wrapped(halves()[rank])
    sam = SAM(wrapped, rho=0.3, ascent=4)
    for step in range(2):
        with torch.no_grad():
            wrapped(halves()[rank])
        sam(wrapped, halves(step)[rank])
        SAM(other, rho=0.3, ascent=4)(other, alone(halves(step), 2))
        assert_same_gradients(wrapped, other)


def failing_descent(rank: int, wrapped: nn.Module, inside_forward: bool) -> None:
    """The descent fails; the weights are exactly what they were, and the next step is right."""
    other = Net()
    before = [p.detach().clone() for p in wrapped.parameters()]
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("in the descent")

    def loss_fn(batch: Batch) -> Tensor:
        loss = wrapped(batch)
        if not inside_forward:
            fail()
        return loss

    hidden = next(part for part in wrapped.modules() if isinstance(part, Net)).hidden
    handle = hidden.register_forward_pre_hook(fail) if inside_forward else None
    sam = SAM(wrapped, rho=0.3, ascent=4)
    with pytest.raises(RuntimeError, match="in the descent"):
        sam(loss_fn, halves()[rank])
    if handle is not None:
        handle.remove()
    for p, value in zip(wrapped.parameters(), before, strict=True):
        mine, its = (t.to_local() if isinstance(t, DTensor) else t for t in (p.detach(), value))
        assert torch.equal(mine, its)
    wrapped.zero_grad()
    with torch.no_grad():
        assert close(wrapped(halves()[rank]), other(halves()[rank]))  # no gathered copy of w_adv is left
    sam(lambda batch: wrapped(batch), halves()[rank])
    SAM(other, rho=0.3, ascent=4)(other, alone(halves(), 2))
    assert_same_gradients(wrapped, other)


@case
def fsdp2_error_after_forward(rank: int) -> None:
    """An error between forward and backward of the descent leaves FSDP2 ready for the next step."""
    failing_descent(rank, shard(Net()), inside_forward=False)


@case
def fsdp2_error_inside_forward(rank: int) -> None:
    """An error in the middle of the descent's forward pass does, too."""
    failing_descent(rank, shard(Net()), inside_forward=True)


@case
def ddp_error_after_forward(rank: int) -> None:
    """DDP itself cannot go on after a backward pass that never came, but the weights are restored."""
    wrapped = ddp()(Net())
    before = [p.detach().clone() for p in wrapped.parameters()]
    calls = 0

    def loss_fn(batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("in the descent")
        return wrapped(batch)

    with pytest.raises(RuntimeError, match="in the descent"):
        SAM(wrapped)(loss_fn, halves()[rank])
    assert all(torch.equal(p, value) for p, value in zip(wrapped.parameters(), before, strict=True))


@case
def ddp_overflow(rank: int) -> None:
    """An ascent that overflows on one rank makes the scalers of all ranks skip the step."""
    for ranks in ("shared", "own"):
        wrapped = ddp()(Net())
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        before = [p.detach().clone() for p in wrapped.parameters()]

        def loss_fn(batch: Batch, wrapped: nn.Module = wrapped) -> Tensor:
            return wrapped(batch) * (float("inf") if rank == 1 and len(batch["labels"]) == 2 else 1.0)

        SAM(wrapped, ascent=4, ranks=ranks, scaler=scaler)(loss_fn, halves()[rank])  # type: ignore[arg-type]
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == 32.0
        assert all(torch.equal(p, value) for p, value in zip(wrapped.parameters(), before, strict=True))


@case
def ddp_no_targets_on_a_rank(rank: int) -> None:
    """A rank without any target token adds nothing, and the others' gradient is right."""
    wrapped, other = ddp()(Net()), Net()
    parts = [token_batch([2, 3, 5, 1]), token_batch([0, 0, 0, 0])]
    info = SAM(wrapped, rho=0.3, ascent=4)(wrapped, parts[rank])
    expected = SAM(other, rho=0.3, ascent=2)(other, parts[0])
    assert_same_gradients(wrapped, other)
    assert_same_info(info, expected)


@case
def ddp_compiled(rank: int) -> None:
    """A compiled DDP is seen through."""
    trajectory(rank, lambda model: torch.compile(ddp()(model), backend="eager"), steps=2)  # type: ignore[arg-type, return-value]


@case
def ascent_sizes(rank: int) -> None:
    """A number of ascent examples is that of all ranks together, with at least one a rank."""
    wrapped = ddp()(Net())
    sizes = {1: 1, 2: 1, 4: 2, 6: 3, 100: 6}
    assert {given: SAM(wrapped, ascent=given).ascent_size(6) for given in sizes} == sizes
    assert SAM(wrapped, ascent=0.25).ascent_size(128) == 32


@case
def fsdp1_is_refused(rank: int) -> None:
    """FSDP1 is refused with what to use instead, by module and by parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FSDP1 is deprecated
        for original in (True, False):
            wrapped = FullyShardedDataParallel(Net(), use_orig_params=original, device_id=torch.device("cpu"))
            with pytest.raises(ValueError, match=r"radius would be wrong under FSDP1.*fully_shard"):
                SAM(wrapped)
        with pytest.raises(ValueError, match=r"radius would be wrong under FSDP1.*fully_shard"):
            SAM(wrapped.parameters())


@case
def own_needs_ddp(rank: int) -> None:
    """An ascent of each rank's own is refused where it cannot be: under FSDP2, and with a static graph."""
    with pytest.raises(ValueError, match="does not go with static_graph=True"):
        SAM(ddp(static_graph=True)(Net()), ranks="own")
    with pytest.raises(ValueError, match="ranks='own' needs the model wrapped in DistributedDataParallel"):
        SAM(shard(Net()), ranks="own")


def work(rank: int, folder: str) -> None:
    """Runs every case on this rank and writes what went wrong to a file."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")  # of linear layers
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=WORLD,
        timeout=datetime.timedelta(seconds=20),
    )
    errors: dict[str, str] = {}
    for name, function in CASES.items():
        try:
            function(rank)
            errors[name] = ""
        except BaseException:
            errors[name] = traceback.format_exc()
        Path(folder, f"errors-{rank}.json").write_text(json.dumps(errors))
        dist.barrier()
    dist.destroy_process_group()

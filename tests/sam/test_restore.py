"""Property 2: after the step every weight is bit for bit what it was, whatever happened inside."""

from __future__ import annotations

import dis
import random
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, Words, batch_of, loss_of, mlp, same, weights, words_batch
from torch import Tensor, nn

from lowland import perturbed

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"m": 2}, {"m": 2, "descent": "full"}], ids=str)
def test_success(dtype: torch.dtype, options: dict[str, object]) -> None:
    """Weights come back exactly in every type, after having really been moved."""
    model = mlp(dtype)
    before = weights(model)
    seen: list[list[Tensor]] = []

    def loss_fn(batch: Batch) -> Tensor:
        seen.append(weights(model))
        return loss_of(model)(batch)

    for step in range(5):  # drift would add up
        SAM(model, rho=0.5, **options)(loss_fn, batch_of(8, dtype, seed=step))  # type: ignore[arg-type]
    assert same(weights(model), before)
    assert not same(seen[1], before)


@pytest.mark.parametrize("failing_pass", [1, 2, 3, 4], ids=["ascent 1", "ascent 2", "descent 1", "descent 2"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exception(failing_pass: int, error: type[BaseException]) -> None:
    """An exception raised in either pass, and in any micro-batch of it, comes out and leaves the weights."""
    model = mlp()
    before, passes = weights(model), 0

    def loss_fn(batch: Batch) -> Tensor:
        nonlocal passes
        passes += 1
        if passes == failing_pass:
            raise error("here")
        return loss_of(model)(batch)

    with pytest.raises(error, match="here") as caught:
        SAM(model, ascent=1.0, micro_batch_size=4)(loss_fn, batch_of(8))
    assert passes == failing_pass
    assert same(weights(model), before), caught  # whose traceback still holds every frame: gc did not help


@pytest.mark.parametrize("failing_backward", [1, 2])
def test_exception_in_backward(failing_backward: int) -> None:
    """An exception in a backward pass leaves the weights, too."""
    model = mlp()
    before, calls = weights(model), 0

    def backward(loss: Tensor, **options: object) -> None:
        nonlocal calls
        calls += 1
        loss.backward(**options)  # type: ignore[no-untyped-call]
        if calls == failing_backward:
            raise RuntimeError("in backward")

    with pytest.raises(RuntimeError, match="in backward") as caught:
        SAM(model, backward=backward)(loss_of(model), batch_of(8))
    assert same(weights(model), before), caught


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["ascent", "descent"])
def test_non_finite_loss(bad: float, where: str) -> None:
    """A loss that is not finite, in either pass, leaves the weights."""
    model = mlp()
    before = weights(model)
    batch = batch_of(8)
    batch["x"][0 if where == "ascent" else 7] = bad
    SAM(model)(loss_of(model), batch)
    assert same(weights(model), before)


def test_nothing_is_left_after_an_error() -> None:
    """The step after a failed one is what it would have been without the failure."""
    model, other = mlp(), mlp()
    sam = SAM(model)

    def fail(batch: Batch) -> Tensor:
        if len(batch["x"]) == 8:
            raise RuntimeError
        return loss_of(model)(batch)

    with pytest.raises(RuntimeError):
        sam(fail, batch_of(8))
    info = sam(loss_of(model), batch_of(8))
    expected = SAM(other)(loss_of(other), batch_of(8))
    assert torch.equal(info.loss, expected.loss)
    assert same([p.grad for p in model.parameters()], [p.grad for p in other.parameters()])


class InterruptError(Exception):
    """What the signal handler below raises, as Python's own raises KeyboardInterrupt."""


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Signals of the timer raise an error in these tests."""

    def handler(number: int, frame: object) -> None:
        raise InterruptError

    before = signal.signal(signal.SIGALRM, handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# A signal may strike inside a callback of the garbage collector's, which can only print its exception.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(60, method="thread")  # the other method uses SIGALRM itself
@pytest.mark.usefixtures("interrupts")
def test_signals_at_random_moments() -> None:
    """A signal that strikes at any of 500 random moments of a step leaves the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    before = weights(model)
    sam, loss_fn, batch = SAM(model, rho=0.5, m=2), loss_of(model), batch_of(8, torch.float32)
    sam(loss_fn, batch)
    started = time.perf_counter()
    for _ in range(5):
        sam(loss_fn, batch)
    usual = (time.perf_counter() - started) / 5
    moments = random.Random(0)
    interrupted = tries = 0
    while interrupted < 500:
        tries += 1
        assert tries < 20_000, "the signals do not reach the step"
        try:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, moments.random() * usual))
            try:
                sam(loss_fn, batch)
            except InterruptError:
                # Looked at here, where the traceback still holds every frame.
                interrupted += 1
                assert same(weights(model), before)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except InterruptError:  # it came late, outside the step
            pass
    assert same(weights(model), before)


ROOMS = ("batches", "methods", "parameters", "sam")
"""Where the code of a step lies."""


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("by_rows", [False, True])
def test_ctrl_c_at_every_moment(by_rows: bool, fails: bool) -> None:
    """A Ctrl-C at every moment at which it can strike leaves weights and modes, also after an error."""
    model: nn.Module = mlp()
    sam = SAM(model, rho=0.5)
    loss_fn, batch = loss_of(model), batch_of(8)
    if by_rows:
        words = Words()
        model, loss_fn, batch = words, words.loss, words_batch(8)
        sam = SAM(model, rho=0.5)
    before = weights(model)
    calls: list[None] = []

    def counted(batch: Batch) -> Tensor:
        calls.append(None)
        if fails and len(calls) == 2:
            raise ZeroDivisionError
        return loss_fn(batch)

    def run(strike_at: int) -> int:
        """Runs a step and raises KeyboardInterrupt at a moment, counted from 1; gives the moments passed."""
        moments = 0
        previous: dict[FrameType, str] = {}

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal moments
            if not any(f"/lowland/{room}/" in frame.f_code.co_filename for room in ROOMS):
                return None
            frame.f_trace_opcodes = True
            # Signals are looked for when a function starts (a generator: only the first time), after
            # calls and at the end of loops.
            looks = event == "call" and frame not in previous
            if event == "opcode":
                looks = previous.get(frame, "").startswith(("CALL", "JUMP_BACKWARD"))
                previous[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if looks:
                moments += 1
                if moments == strike_at:
                    raise KeyboardInterrupt
            return trace

        model.zero_grad()  # all steps pass the same moments
        calls.clear()
        traced_before = sys.gettrace()
        sys.settrace(trace)
        try:
            sam(counted, batch)
        except ZeroDivisionError:
            assert fails
        finally:
            sys.settrace(traced_before)
        return moments

    moments = run(0)
    assert moments > 300
    for strike_at in range(1, moments + 1):
        # The weights are looked at while the traceback still holds every frame: no help from gc.
        with pytest.raises(KeyboardInterrupt) as caught:
            run(strike_at)
        assert same(weights(model), before), caught.traceback[-2]
        assert not any(getattr(part, "sparse", False) for part in model.modules())
        assert all(part.training for part in model.modules())


@pytest.mark.parametrize("options", [{}, {"m": 2}, {"micro_batch_size": 3}], ids=str)
def test_storage_stays(options: dict[str, int]) -> None:
    """Every weight keeps its `data_ptr` during the step and after it."""
    model = mlp()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    during: list[list[int]] = []

    def loss_fn(batch: Batch) -> Tensor:
        during.append([parameter.data_ptr() for parameter in model.parameters()])
        return loss_of(model)(batch)

    SAM(model, **options)(loss_fn, batch_of(8))  # type: ignore[arg-type]
    assert len(during) > 1
    assert all(seen == addresses for seen in during)
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses


def test_context_manager() -> None:
    """`perturbed` moves the weights by rho inside its block, and back when the block raises."""
    model = mlp()
    before = weights(model)
    loss_of(model)(batch_of(8)).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]

    def run() -> None:
        with perturbed(list(model.parameters()), gradients, 0.3) as done:
            square = sum(float((a - b).square().sum()) for a, b in zip(weights(model), before, strict=True))
            # 1e-12: float64 rounding of weights of order 1.
            assert square**0.5 == pytest.approx(0.3, abs=1e-12)
            assert done.radius == pytest.approx(0.3, abs=1e-12)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert same(weights(model), before)
    assert gradients == []

"""An ascent without dropout, before a descent with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo
from tests.sam.toys import Batch, batch_of, distance, gradients, loss_of, mlp, noisy, same
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from lowland import SAM, StandardGradient
from lowland.sam import PastSAMGradient
from lowland.sam.batch import rows
from lowland.sam.dropout import droppers


class Dropping(nn.Module):
    """A classifier with a module of dropout and a function of dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.below, self.drop, self.above = nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.dropout(torch.tanh(self.below(x)), 0.3, self.training)
        return self.above(self.drop(hidden))  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", [{}, {"swap": True}, {"row_gradients": True}], ids=str)
def test_climbs_without_and_descends_with_dropout(options: dict[str, Any]) -> None:
    """The direction is the first examples' gradient without dropout; the descent has standard masks."""
    model, batch = Dropping(), batch_of(12)
    parameters = list(model.parameters())
    loss = loss_of(model)
    torch.manual_seed(3)
    SAM(model, rho=0.5, ascent=3, ascent_dropout=False, **options)(loss, batch)
    found = gradients(model)
    model.eval()
    direction = torch.autograd.grad(loss(rows(batch, 0, 3)), parameters)
    model.train()
    norm = torch.cat([part.flatten() for part in direction]).norm()
    before = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, part in zip(parameters, direction, strict=True):
            parameter += 0.5 / norm * part
    torch.manual_seed(3)
    expected = torch.autograd.grad(loss(batch), parameters)
    # 1e-14: the same float64 operations but for the order of the norm's sum.
    assert distance(found, list(expected)) < 1e-14
    with torch.no_grad():
        for parameter, weight in zip(parameters, before, strict=True):
            parameter.copy_(weight)
    model.zero_grad()
    torch.manual_seed(3)
    SAM(model, rho=0.5, ascent=3, **options)(loss, batch)
    assert distance(gradients(model), list(expected)) > 1e-3  # with dropout it is another one


def test_rho_zero_is_standard_training() -> None:
    """At rho = 0 gradient, buffers and random stream are standard training's, dropout and BatchNorm on."""
    results: list[list[Any]] = []
    for build in (lambda model: SAM(model, rho=0.0, ascent_dropout=False), StandardGradient):
        model = noisy()
        torch.manual_seed(5)
        build(model)(loss_of(model), batch_of(16, torch.float32))
        results.append([*gradients(model), *model.buffers(), torch.get_rng_state()])
    assert same(*results)


def test_who_leaves_training_mode() -> None:
    """All do in the ascent but BatchNorms and recurrent layers, none in the descent; then it is as before."""
    model = nn.Sequential(noisy(), nn.LSTM(4, 4), nn.Dropout(0.1), nn.Dropout(0.2).eval())
    modes: list[list[bool]] = []

    def loss_fn(batch: Batch) -> Tensor:
        modes.append([part.training for part in model.modules()])
        return loss_of(model[0])(batch)

    before = [part.training for part in model.modules()]
    SAM(model, ascent_dropout=False)(loss_fn, batch_of(16, torch.float32))
    kept = [isinstance(part, (nn.BatchNorm1d, nn.LSTM)) for part in model.modules()]
    assert sum(kept) == 2 and modes == [kept, before]
    assert [part.training for part in model.modules()] == before and before.count(False) == 1


def test_compiled_parts_stay_what_they_are() -> None:
    """A BatchNorm that is compiled by itself stays in training mode, too."""
    compiled: Any = torch.compile(nn.BatchNorm1d(4), backend="eager")
    model = nn.Sequential(compiled, nn.Dropout())
    assert droppers(model) == [model, model[1]]


def test_a_compiled_model_climbs_without_dropout() -> None:
    """Of a compiled model the ascent's loss is that of evaluation mode, and each pass compiles once."""
    torch._dynamo.reset()
    model, batch = Dropping(), batch_of(8)
    counter = CompileCounterWithBackend("aot_eager")
    compiled: Any = torch.compile(model, backend=counter, dynamic=False)
    sam = SAM(compiled, rho=0.3, ascent=2, ascent_dropout=False)
    for _ in range(3):
        found = sam(loss_of(compiled), batch).ascent_loss
    model.eval()
    expected = loss_of(model)(rows(batch, 0, 2))
    model.train()
    assert found is not None
    torch.testing.assert_close(found, expected.detach())  # float64 in another order
    assert counter.frame_count == 2  # the ascent's and the descent's


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_ascent_leaves_training_mode_on(error: type[BaseException]) -> None:
    """After an exception in the ascent the model trains as before."""
    model = Dropping()

    def loss_fn(batch: Batch) -> Tensor:
        raise error

    with pytest.raises(error):
        SAM(model, ascent_dropout=False)(loss_fn, batch_of(8))
    assert all(part.training for part in model.modules())


def test_where_it_does_not_go() -> None:
    """It needs the module and an ascent, and is true or false."""
    with pytest.raises(ValueError, match="ascent_dropout=False needs the module"):
        SAM(mlp().parameters(), ascent_dropout=False)
    with pytest.raises(ValueError, match="ascent_dropout= does not go with direction='previous'"):
        PastSAMGradient(mlp(), ascent_dropout=False)
    with pytest.raises(ValueError, match="Invalid ascent_dropout=0"):
        SAM(mlp(), ascent_dropout=0)  # type: ignore[arg-type]

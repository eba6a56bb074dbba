"""Which parameters are trained and perturbed, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn

from lowland.parameters.selection import Selection


class Normed(nn.Module):
    """A classifier with a normalisation layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(6, 8)
        self.layer_norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.layer_norm(self.inner(x))))


def moved(model: nn.Module, sam: SAM, loss_fn: Callable[[Any], Tensor], batch: Any) -> set[str]:
    """Takes a step; gives the names of the parameters that the last pass saw elsewhere than the first."""
    seen: list[dict[str, Tensor]] = []

    def watched(batch: Any) -> Tensor:
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return loss_fn(batch)

    sam(watched, batch)
    return {name for name in seen[0] if not torch.equal(seen[0][name], seen[-1][name])}


NORM = {"layer_norm.weight", "layer_norm.bias"}
REST = {"inner.weight", "inner.bias", "out.weight", "out.bias"}


@pytest.mark.parametrize(
    ("perturb", "expected"),
    [
        (None, NORM | REST),
        ("*layer_norm*", NORM),
        (["*layer_norm*"], NORM),
        (["inner.*", "out.bias"], {"inner.weight", "inner.bias", "out.bias"}),
        (lambda name, parameter: "layer_norm" not in name, REST),
        (lambda name, parameter: parameter.dim() == 2, {"inner.weight", "out.weight"}),
    ],
    ids=["all", "pattern", "patterns", "two patterns", "predicate of name", "predicate of parameter"],
)
def test_perturb(perturb: Any, expected: set[str]) -> None:
    """`perturb` chooses what is moved, by rho in all; every parameter gets its gradient nevertheless."""
    model = Normed()
    sam = SAM(model, rho=0.3, perturb=perturb)
    assert moved(model, sam, loss_of(model), batch_of(8)) == expected
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    info = sam(loss_of(model), batch_of(8))
    assert info.radius == pytest.approx(0.3, rel=1e-12)  # float64
    assert info.moved > 0.9  # of those that are perturbed


def test_perturb_leaves_other_gradients() -> None:
    """The ascent does not touch the gradients of parameters that are not perturbed, found or not."""
    model, other = Normed(), Normed()
    loss_of(model)(batch_of(8, seed=5)).backward()
    found = gradients(model)
    SAM(model, perturb="*layer_norm*")(loss_of(model), batch_of(8))
    SAM(other, perturb="*layer_norm*")(loss_of(other), batch_of(8))
    expected = [a + b for a, b in zip(found, gradients(other), strict=True)]  # type: ignore[operator]
    assert same(gradients(model), expected)


@pytest.mark.parametrize(
    "perturb", ["*lora*", ["x", "y"], lambda name, parameter: False], ids=["pattern", "patterns", "predicate"]
)
def test_perturb_nothing(perturb: Any) -> None:
    """A choice that matches no parameter is refused at once, with names that exist."""
    with pytest.raises(ValueError, match=r"no trainable parameter matches. Names: inner.weight, inner.bias"):
        SAM(Normed(), perturb=perturb)


def forms(model: nn.Module) -> dict[str, Any]:
    """All that SAM takes for parameters."""
    return {
        "module": model,
        "parameters": model.parameters(),
        "list": list(model.parameters()),
        "named_parameters": model.named_parameters(),
        "param_groups": torch.optim.SGD(model.parameters(), lr=0.1).param_groups,
        "named param_groups": torch.optim.SGD(model.named_parameters(), lr=0.1).param_groups,
        "list of dictionaries": [{"params": list(model.parameters())[:2]}, {"params": model[2].parameters()}],
    }


@pytest.mark.parametrize("form", forms(mlp()))
def test_forms(form: str) -> None:
    """Parameters may come in every form in which optimizers take them, for the same gradient, twice."""
    model, other = mlp(), mlp()
    sam = SAM(forms(model)[form])
    for _ in range(2):
        sam(loss_of(model), batch_of(8))
        SAM(other)(loss_of(other), batch_of(8))
    assert same(gradients(model), gradients(other))


@pytest.mark.parametrize("form", ["named_parameters", "named param_groups", "module"])
def test_names(form: str) -> None:
    """Patterns see the names of a module, of named parameters, and of an optimizer that knows them."""
    model = mlp()
    chosen = Selection(forms(model)[form], "2.*").perturbed()
    assert [id(p) for p in chosen] == [id(p) for p in model[2].parameters()]


def test_names_of_wrapped_modules() -> None:
    """What torch.compile puts around a module is not part of a name, and a child called module is."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)
            self.weight = nn.Parameter(torch.zeros(2))
            self.bias = nn.Parameter(torch.zeros(2))

    outer = Outer()
    compiled = torch.compile(outer, backend="eager")
    for source in (outer, compiled):
        assert len(Selection(source).trainable()) == 4
        assert [id(p) for p in Selection(source, "module.*").perturbed()] == [
            id(p) for p in outer.module.parameters()
        ]


def test_groups_may_grow() -> None:
    """A group that is added to the optimizer takes part from the next step on."""
    model = mlp()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    sam = SAM(optimizer.param_groups)
    assert moved(model, sam, loss_of(model), batch_of(8)) == {"0.weight", "0.bias"}
    optimizer.add_param_group({"params": list(model[2].parameters())})
    assert moved(model, sam, loss_of(model), batch_of(8)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_freezing_in_between() -> None:
    """A parameter that is frozen between steps is left alone until it is thawed."""
    model = mlp()
    sam = SAM(model)
    model[0].requires_grad_(False)
    assert moved(model, sam, loss_of(model), batch_of(8)) == {"2.weight", "2.bias"}
    assert model[0].weight.grad is None
    model[0].requires_grad_(True)
    assert moved(model, sam, loss_of(model), batch_of(8)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_frozen_gradients_are_left() -> None:
    """A gradient that a frozen parameter still has stays, and does not count in the norm."""
    model, other = mlp(), mlp()
    for one in (model, other):
        one[0].weight.requires_grad_(False)
    model[0].weight.grad = torch.full_like(model[0].weight, 3.0)
    info = SAM(model)(loss_of(model), batch_of(8))
    assert info.ascent_norm == SAM(other)(loss_of(other), batch_of(8)).ascent_norm
    assert model[0].weight.grad.eq(3.0).all()


def test_tied_weights() -> None:
    """A parameter used in two places is moved once, by rho, and counts once in the norm."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)).double()
    model[2].weight = model[0].weight
    twice = [*model[0].parameters(), *model[2].parameters()]
    other = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)).double()
    other.load_state_dict(model.state_dict())
    other[2].weight = other[0].weight
    info = SAM(twice, rho=0.3)(loss_of(model), batch_of(8))
    expected = SAM(other, rho=0.3)(loss_of(other), batch_of(8))
    assert info.radius == expected.radius == pytest.approx(0.3, rel=1e-12)  # float64
    assert same(gradients(model), gradients(other))


def test_shared_storage_is_refused() -> None:
    """Two parameter objects over one storage are refused by name, with what to do."""
    model = mlp()
    model.register_parameter("twin", nn.Parameter(model[2].weight.data))
    with pytest.raises(ValueError, match=r"'twin' and '2.weight' are two objects over one storage"):
        SAM(model)


def test_hooks_that_step_are_refused() -> None:
    """An optimizer inside the backward pass is refused by the parameter's name, before anything is done."""
    model = mlp()
    sam = SAM(model)
    handle = model[2].bias.register_post_accumulate_grad_hook(lambda parameter: None)
    with pytest.raises(ValueError, match=r"Parameter '2.bias' has a post-accumulate-grad hook"):
        sam(loss_of(model), batch_of(8))
    assert model[2].bias.grad is None
    handle.remove()
    sam(loss_of(model), batch_of(8))
    assert model[2].bias.grad is not None


@pytest.mark.parametrize("nothing", [[], [torch.zeros(2)], nn.Tanh()], ids=["empty", "frozen", "module"])
def test_nothing_to_train(nothing: Any) -> None:
    """Without a parameter that requires a gradient there is nothing to do, and SAM says so."""
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        SAM(nothing)


def test_single_parameter() -> None:
    """A lone parameter is one parameter, and not an iterable of its rows."""
    parameter = nn.Parameter(torch.ones(3, 2))
    assert Selection(parameter).trainable() == [parameter]


def test_no_parameter() -> None:
    """What is no parameter is named by its type."""
    with pytest.raises(ValueError, match="was given a str where a parameter belongs"):
        SAM(["weight"])  # type: ignore[list-item]


class Branches(nn.Module):
    """Uses one branch for small batches, such as the ascent examples, and another one for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.few, self.many = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return (self.few if len(x) < 4 else self.many)(torch.tanh(self.trunk(x)))


@pytest.mark.parametrize("with_module", [True, False], ids=["module", "parameters"])
def test_gradient_in_one_pass_only(with_module: bool) -> None:
    """A parameter of the ascent only is moved and restored; one of the descent only stays and is trained."""
    model = Branches()
    before = weights(model)
    sam = SAM(model if with_module else model.parameters(), rho=0.3)
    trunk_and_few = {"trunk.weight", "trunk.bias", "few.weight", "few.bias"}
    assert moved(model, sam, loss_of(model), batch_of(8)) == trunk_and_few
    assert same(weights(model), before)
    assert model.few.weight.grad is None
    assert model.many.weight.grad is not None and model.many.weight.grad.any()


def test_unused_parameters() -> None:
    """Parameters without any gradient stay without one, and the rest is as if they were not there."""
    model, other = mlp(), mlp()
    unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    SAM([*model.parameters(), unused])(loss_of(model), batch_of(8))
    SAM(other)(loss_of(other), batch_of(8))
    assert unused.grad is None
    assert same(gradients(model), gradients(other))


def test_learning_rate_groups_step_as_usual() -> None:
    """Groups with their own learning rates and a schedule act on the SAM gradient as on any other."""
    model = mlp()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.0}]
    optimizer = torch.optim.SGD(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (step + 1))
    sam = SAM(optimizer.param_groups)
    for step in range(3):
        before = weights(model)
        sam(loss_of(model), batch_of(8, seed=step))
        expected = [
            w - rate / (step + 1) * g  # type: ignore[operator]
            for w, g, rate in zip(before, gradients(model), [0.1, 0.1, 0.0, 0.0], strict=True)
        ]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        assert distance(weights(model), expected) < 1e-15  # one float64 rounding


def test_batch_is_required_for_closures() -> None:
    """The loss function is handed the pieces and nothing else."""
    model = mlp()
    seen: list[Batch] = []

    def loss_fn(batch: Batch) -> Tensor:
        seen.append(batch)
        return loss_of(model)(batch)

    batch = batch_of(8)
    SAM(model)(loss_fn, batch)
    assert len(seen) == 2 and seen[1] is batch

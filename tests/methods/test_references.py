"""Each method equals its paper's equation, written out of place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.methods.oracles import fisher_gradient, functional_gradient, moved
from tests.sam.toys import SAM, Batch, batch_of, distance, gradients, loss_of, mlp, same, weights
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, one_hot

from lowland import SAMConfig, SAMGradient
from lowland.methods.noise import Noise
from lowland.methods.precondition import second_moment
from lowland.parameters.parallel import Replicas


def score_of(model: nn.Module) -> Any:
    """The logits of a classifier as a function of its weights."""
    names = [name for name, _ in model.named_parameters()]

    def score(w: Sequence[Tensor], batch: Batch) -> Tensor:
        logits: Tensor = functional_call(model, dict(zip(names, w, strict=True)), (batch["x"],))
        return logits

    return score


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """The mean cross-entropy."""
    return cross_entropy(logits, batch["y"])


def test_functional_on_a_linear_model_is_its_closed_form() -> None:
    """On a linear model, with logits x W^T, Functional SAM is (softmax(x W^T) - y)^T x / b for any rho."""
    torch.manual_seed(0)
    model, batch = nn.Linear(6, 4, bias=False).double(), batch_of(12)
    SAM(model, rho=1.0, functional=True)(loss_of(model), batch)
    slope = (batch["x"] @ model.weight.detach().T).softmax(-1) - one_hot(batch["y"], 4)
    # 1e-14: float64 sums in another order.
    assert distance(gradients(model), [slope.T @ batch["x"] / 12]) < 1e-14


def test_functional_on_two_linear_layers_is_its_closed_form() -> None:
    """With logits x A^T B^T the gradients are (G B')^T x and G^T x A'^T: B' and A' at w_adv, G at w."""
    torch.manual_seed(0)
    first, second = nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)
    model, batch = nn.Sequential(first, second).double(), batch_of(12)
    a, b, x = first.weight.detach(), second.weight.detach(), batch["x"]
    g = (x @ a.T @ b.T).softmax(-1) - one_hot(batch["y"], 4)
    few, part = x[:3], g[:3]
    a_adv, b_adv = moved([a, b], [(part @ b).T @ few, part.T @ few @ a.T], 0.7)
    SAM(model, rho=0.7, functional=True)(loss_of(model), batch)
    # 1e-14: float64 sums in another order.
    assert (
        distance(gradients(model), [(g @ b_adv.detach()).T @ x / 12, g.T @ x @ a_adv.detach().T / 12]) < 1e-14
    )


@pytest.mark.parametrize("rho", [0.05, 1.0])
@pytest.mark.parametrize("a", [3, 12])
def test_functional(rho: float, a: int) -> None:
    """On an MLP, Functional SAM is J(w_adv)^T dL/dlogits(w), and neither SAM nor the baseline."""
    model, other, batch = mlp(), mlp(), batch_of(12)
    expected = functional_gradient(score_of(model), loss, list(model.parameters()), batch, rho=rho, a=a)
    SAM(model, rho=rho, ascent=a, functional=True)(loss_of(model), batch)
    assert distance(gradients(model), expected) < 1e-14
    for settings in ({"rho": rho}, {"rho": 0.0}):
        other.zero_grad()
        SAM(other, ascent=a, **settings)(loss_of(other), batch)
        assert distance(gradients(other), expected) > 1e-4


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_fisher(share: float) -> None:
    """Fisher-masked SAM is the reference's, and moves that share of the weights."""
    model, batch = mlp(), batch_of(12)
    parameters = list(model.parameters())
    expected = fisher_gradient(score_of(model), loss, parameters, batch, rho=0.5, a=3, share=share)
    info = SAM(model, rho=0.5, ascent=3, fisher=share)(loss_of(model), batch)
    assert distance(gradients(model), expected) < 1e-14
    size = sum(parameter.numel() for parameter in parameters)
    assert info.moved == pytest.approx(round(share * size) / size)


def test_preconditioned() -> None:
    """The perturbation is g / (sqrt(v) + eps), at a distance of rho; v is AdamW's or AdaFactor's."""
    from transformers.optimization import Adafactor

    batch = batch_of(12)
    for kind in (torch.optim.AdamW, lambda p: Adafactor(p, relative_step=False, lr=0.01)):
        model = mlp()
        optimizer = kind(model.parameters())  # type: ignore[operator]
        sam = SAM(model, rho=0.5, ascent=3, precondition=True)
        sam.optimizer = optimizer
        for seed in range(2):
            sam(loss_of(model), batch_of(12, seed=seed))
            optimizer.step()
            optimizer.zero_grad()
        w, first = list(model.parameters()), {key: value[:3] for key, value in batch.items()}
        g = torch.autograd.grad(loss_of(model)(first), w)
        roots = [second_moment(optimizer, p).sqrt() + 1e-8 for p in w]  # type: ignore[union-attr]
        w_adv = moved(w, [one / root for one, root in zip(g, roots, strict=True)], 0.5)
        expected = torch.autograd.grad(loss(score_of(model)(w_adv, batch), batch), w_adv)
        sam(loss_of(model), batch)
        # 1e-12: float64, over divisions by roots of moments of order 1e-4.
        assert distance(gradients(model), list(expected)) < 1e-12


def test_adafactors_moment_is_that_of_its_step() -> None:
    """Of AdaFactor the second moment is the one by which it divides the gradient."""
    from transformers.optimization import Adafactor

    torch.manual_seed(0)
    matrix = nn.Parameter(torch.randn(5, 3))
    before, gradient = matrix.detach().clone(), torch.randn(5, 3)
    matrix.grad = gradient.clone()
    optimizer = Adafactor(
        [matrix], lr=1.0, relative_step=False, scale_parameter=False, clip_threshold=1e9, beta1=None
    )
    optimizer.step()
    moment = second_moment(optimizer, matrix)
    assert moment is not None
    # 1e-5: float32 through a reciprocal square root.
    torch.testing.assert_close(before - matrix.detach(), gradient / moment.sqrt(), rtol=1e-5, atol=1e-5)


def test_noise() -> None:
    """The point is w plus Gaussian noise at the radius, another in each step and for each seed of the run."""
    model, twin, other = mlp(), mlp(), mlp()
    points: list[list[Tensor]] = []

    def loss_fn(batch: Batch, model: nn.Module) -> Tensor:
        points.append(weights(model))
        return loss_of(model)(batch)

    models = {model: 7, twin: 7, other: 8}
    sams = [SAM(one, rho=0.3, direction="noise") for one in models]
    for _ in range(2):
        for sam, (one, seed) in zip(sams, models.items(), strict=True):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            sam(lambda batch, one=one: loss_fn(batch, one), batch_of(12))
            assert torch.equal(torch.get_rng_state(), before)
    assert same(points[0], points[1]) and same(points[3], points[4])
    assert distance(points[0], points[3]) > 1e-3 and distance(points[0], points[2]) > 1e-3
    torch.manual_seed(7)
    _, drawn = Noise(Replicas(None)).take(list(model.parameters()), written=True)
    expected = [point.detach() for point in moved(weights(model), drawn, 0.3)]
    assert distance(points[0], expected) < 1e-14
    flat = torch.cat([one.flatten() for one in drawn])
    # Of 92 standard numbers the mean has a deviation of 0.1, the variance of 0.15: four of them.
    assert abs(float(flat.mean())) < 0.4 and abs(float(flat.var()) - 1) < 0.6


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_rise_finds_its_radius(share: float) -> None:
    """After some steps the loss of the ascent examples rises by the share that is asked for."""
    model, batch = mlp(), batch_of(12)
    sam = SAM(model, rho=0.01, ascent=1.0, rise=share)
    for _ in range(120):
        info = sam(loss_of(model), batch)
        model.zero_grad()
    assert info.ascent_loss is not None
    # The descent is on the same examples: info.loss is that at w_adv. 2%: the steps to it are halved.
    assert float(info.loss / info.ascent_loss) - 1 == pytest.approx(share, rel=0.02)


@pytest.mark.parametrize(("rho", "scale"), [(0.0, 1.0), (0.05, 0.0)], ids=["no radius", "no gradient"])
def test_a_step_that_moves_nothing_says_nothing_of_the_rise(rho: float, scale: float) -> None:
    """With a radius or an ascent gradient of zero there is no rise to see, and the radius stays."""
    model, batch = mlp(), batch_of(12)
    sam = SAM(model, rho=0.05, rise=0.1)
    sam.rho = rho
    sam(lambda rows: 1.0 + scale * loss_of(model)(rows), batch)  # the first step is a measured one
    assert sam.methods.rise is not None and sam.methods.rise.factor == 1.0


def test_auto_is_a_rise() -> None:
    """rho="auto" begins at 0.05 and follows a rise of a tenth, wherever settings come from."""
    assert SAMConfig(rho="auto") == SAMConfig(rho=0.05, rise=0.1)  # type: ignore[arg-type]
    assert SAMConfig(rho="auto", rise=0.2) == SAMConfig(rho=0.05, rise=0.2)  # type: ignore[arg-type]
    assert SAMGradient(mlp(), rho="auto").methods.rise is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"functional": True}, "functional=True needs the module"),
        ({"perturb": "head"}, "perturb='head' needs the module"),
        ({"direction": "noise", "rise": 0.1}, "need an ascent pass"),
        ({"direction": "noise", "precondition": True}, "needs a gradient"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    """What a method cannot do without is asked for in one sentence."""
    with pytest.raises(ValueError, match=message):
        SAM(list(mlp().parameters()), **settings)


def test_preconditioning_says_what_it_needs() -> None:
    """Without an optimizer, or with one that keeps no second moments, preconditioning is refused."""
    model = mlp()
    sam = SAM(model, precondition=True)
    with pytest.raises(ValueError, match=r"set sam\.optimizer"):
        sam(loss_of(model), batch_of(12))
    sam.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of(model)(batch_of(12)).backward()
    sam.optimizer.step()
    with pytest.raises(ValueError, match="SGD does not keep"):
        sam(loss_of(model), batch_of(12))


def test_logits_that_are_not_found_are_asked_for() -> None:
    """A model whose output has no logits is refused, until it is told where they are."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: Tensor) -> tuple[Tensor, int]:
            return self.inner(x), 1

    model, batch = Pair(), batch_of(12)
    sam = SAM(model, rho=0.5, ascent=3, functional=True)

    def loss_fn(batch: Batch) -> Tensor:
        return loss(model(batch["x"])[0], batch)

    with pytest.raises(ValueError, match=r"gives tuple without `logits`"):
        sam(loss_fn, batch)
    assert sam.methods.logits is not None
    sam.methods.logits.choose = lambda output: output[0]
    sam(loss_fn, batch)
    expected = functional_gradient(score_of(model.inner), loss, list(model.parameters()), batch, rho=0.5, a=3)
    assert distance(gradients(model), expected) < 1e-14

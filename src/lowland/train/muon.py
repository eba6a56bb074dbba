"""Muon for the matrices of a model and AdamW for the rest, as one optimizer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lowland.train.precision import cpu_has_bf16


class Muon(torch.optim.Muon):
    """torch's Muon, which computes in fp32 where bf16 is not computed in hardware.

    The library's iteration is in bf16 always. On a CPU without bf16 arithmetic that takes several times as
    long as all the rest of a step. There the matrices of one shape are iterated in fp32, all at once; the
    state is the library's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step; see the library."""
        if cpu_has_bf16() or any(
            p.device.type != "cpu" for group in self.param_groups for p in group["params"]
        ):
            library: Any = super()
            result: float | None = library.step(closure)
            return result
        loss = None if closure is None else closure()
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """Updates matrices of one shape."""
        momenta = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            momenta.append(state["momentum_buffer"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch.stack(momenta)
        if group["nesterov"]:
            ahead = torch.stack(gradients).lerp_(ahead, group["momentum"])
        updates = orthogonal(ahead, group["ns_coefficients"], group["ns_steps"], group["eps"])
        # As the library scales by "match_rms_adamw".
        rate = group["lr"] * 0.2 * math.sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(updates.unbind()), alpha=-rate)


def orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Brings the singular values of matrices near 1 by Newton and Schulz's iteration, as torch's Muon does.

    Args:
        matrices: Any number of matrices of one shape. `# (number, rows, columns)`
        coefficients: Of the quintic.
        steps: Iterations.
        eps: The least norm to divide by.

    Source:
        `torch.optim.Muon`, in the type of the matrices.
    """
    a, b, c = coefficients
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


class MuonWithAdamW(Optimizer):
    """Steps hidden matrices by Muon, and embeddings, output matrix and vectors by AdamW.

    Muon makes the step of a matrix orthogonal; it is meant for matrices that map activations to
    activations, and its steps are scaled to the size of AdamW's, so that both share one learning rate.

    Args:
        matrices: Hidden weights, two-dimensional.
        others: All other parameters.
        lr: Learning rate of both.
        weight_decay: Of both, on everything that has two dimensions.

    Source:
        Jordan et al. (2024), by `torch.optim.Muon`; the scaling of Moonshot AI (2025).
    """

    def __init__(
        self, matrices: Iterable[Tensor], others: Iterable[Tensor], *, lr: float, weight_decay: float = 0.0
    ) -> None:
        others = list(others)
        tables = [parameter for parameter in others if parameter.dim() >= 2]
        vectors = [parameter for parameter in others if parameter.dim() < 2]
        self._muon = Muon(list(matrices), lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self._adamw = AdamW(
            [
                group
                for group in (
                    {"params": tables, "weight_decay": weight_decay},
                    {"params": vectors, "weight_decay": 0.0},
                )
                if group["params"]
            ],
            lr=lr,
            betas=(0.9, 0.98),
        )
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Lets both parts work on this optimizer's groups and state, so that schedules and states fit."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None if closure is None else closure()
        self._muon.step()
        self._adamw.step()
        return loss

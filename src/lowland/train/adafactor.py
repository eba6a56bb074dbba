"""AdaFactor as transformers has it, with a fraction of the operations and no wait for an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import optimization


class Adafactor(optimization.Adafactor):
    """The library's AdaFactor in one visit to each weight, in memory that stays in the cache.

    The library walks through each weight about twelve times, makes a new tensor nearly every time, and waits
    for two numbers of each. Here the size of the update follows from the squared gradient and its means
    (|r g c|^2 = r^2 g^2 c^2), and the update itself is made once. The state has the library's names and
    values, and the weights are the library's up to rounding.

    T5's settings are what is made fast: external learning rate, no momentum, no weight decay, fp32 weights of
    one or two dimensions. With any other, the library's own step is taken.

    Args: As the library's.

    Source:
        Shazeer and Stern (2018); `transformers.optimization.Adafactor`.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step; see the library."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        members = [
            (group, weight)
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        if not all(_is_plain(group) for group in self.param_groups) or not all(
            _is_usual(weight) for _, weight in members
        ):
            library: Any = super()
            library.step()
            return loss
        scratch: dict[torch.device, Tensor] = {}
        for group, weight in members:
            memory = scratch.get(weight.device)
            if memory is None:
                largest = max(other.numel() for _, other in members if other.device == weight.device)
                memory = scratch[weight.device] = weight.new_empty(largest)
            self._update(group, weight, memory[: weight.numel()].view_as(weight))
        return loss

    def _update(self, group: dict[str, Any], weight: Tensor, memory: Tensor) -> None:
        """Updates one weight, in memory of its shape."""
        gradient, state = weight.grad, self._begin(weight)
        assert gradient is not None
        fresh = state["step"] ** group["decay_rate"]  # what the new squares weigh in their averages
        size = weight.numel() ** 0.5
        state["RMS"] = torch.linalg.vector_norm(weight) / size
        rate = state["RMS"].clamp(min=group["eps"][1]).mul_(-group["lr"])
        square = torch.mul(gradient, gradient, out=memory)
        if weight.dim() == 2:
            rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
            rows.lerp_(square.mean(-1).add_(group["eps"][0]), fresh)
            columns.lerp_(square.mean(-2).add_(group["eps"][0]), fresh)
            row, column = rows.mean() / rows, columns.reciprocal()
            length = torch.dot(row, square @ column).sqrt_()
            rate.div_(length.div_(size * group["clip_threshold"]).clamp_(min=1.0))
            row = row.sqrt_().mul_(rate)[:, None]
            weight.add_(torch.mul(gradient, column.sqrt_(), out=memory).mul_(row))
        else:
            average = state["exp_avg_sq"].lerp_(square.add_(group["eps"][0]), fresh)
            update = torch.mul(gradient, average.rsqrt(), out=memory)
            length = torch.linalg.vector_norm(update)
            rate.div_(length.div_(size * group["clip_threshold"]).clamp_(min=1.0))
            weight.add_(update.mul_(rate))

    def _begin(self, weight: Tensor) -> dict[str, Any]:
        """Gives a weight's state, made on its first step, and counts the step."""
        state: dict[str, Any] = self.state[weight]
        if not state:
            state["step"] = 0
            if weight.dim() == 2:
                state["exp_avg_sq_row"] = weight.new_zeros(weight.shape[0])
                state["exp_avg_sq_col"] = weight.new_zeros(weight.shape[1])
            else:
                state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        return state


def _is_plain(group: dict[str, Any]) -> bool:
    return bool(
        group["scale_parameter"]
        and not group["relative_step"]
        and group["beta1"] is None
        and group["weight_decay"] == 0
    )


def _is_usual(weight: Tensor) -> bool:
    gradient = weight.grad
    return (
        gradient is not None
        and weight.dim() in (1, 2)
        and weight.dtype == gradient.dtype == torch.float32
        and weight.layout == gradient.layout == torch.strided
    )

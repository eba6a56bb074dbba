"""Functional SAM: at w_adv the network's Jacobian is taken, and the logits' gradient stays that at w."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lowland.parameters.preserve import Undo

LogitsOf = Callable[[Any], Tensor]


def logits_of(output: Any) -> Tensor:
    """Gives the logits of a model's output: the output itself, or its `logits`."""
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() == 0:
        raise ValueError(
            "functional=True needs the logits, but the model's forward pass gives "
            f"{type(output).__name__} without `logits`. Set sam.methods.logits.choose to a function that "
            "takes them out of the output."
        )
    return logits


class FixedLogits:
    """The gradient of the loss with respect to the logits, recorded at w and put in its place at w_adv.

    SAM's gradient at w_adv is J(w_adv)^T dL/dlogits(w_adv). The second factor makes a model that is sure of
    itself look sharp, and SAM spends itself on it; here it is dL/dlogits(w). It costs one more forward pass
    of the batch, and holds one gradient of the batch's logits. What the loss takes from elsewhere than the
    logits, such as a loss of balanced experts, is descended on at w_adv as in SAM.

    Attributes:
        found: The logits of the last call of the loss.
        choose: Takes the logits out of the model's output.

    Source:
        Singh, Mobahi, Agarwala and Dauphin (2025), "Avoiding spurious sharpness minimization broadens
        applicability of SAM", arXiv 2502.02407.
    """

    def __init__(self, module: nn.Module | None) -> None:
        if module is None:
            raise ValueError("functional=True needs the module: hand it to SAM instead of its parameters.")
        self._module = module
        self.choose: LogitsOf = logits_of
        self._slopes: list[Tensor | None] = []
        self.found: list[Tensor] = []

    def record(self, loss_fn: Callable[[Any], Tensor], undo: Undo) -> Callable[[Any], Tensor]:
        """Makes of a loss one whose backward pass to `found` is recorded, until `undo`."""
        self._slopes.clear()

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            place = len(self._slopes)
            self._slopes.append(None)
            self.found.append(self.choose(output))
            self.found[-1].register_hook(lambda slope: self._slopes.__setitem__(place, slope))

        def recorded(batch: Any) -> Tensor:
            self.found.clear()
            loss = loss_fn(batch)
            if not self.found:
                raise ValueError("functional=True: the loss does not call the model that SAM was given.")
            return loss

        undo.later(self._module.register_forward_hook(keep).remove)
        undo.later(self.found.clear)
        return recorded

    def replay(self, undo: Undo) -> None:
        """Puts what was recorded in the place of the logits' gradients, pass by pass, until `undo`."""
        slopes = iter(self._slopes)

        def put(module: nn.Module, inputs: Any, output: Any) -> None:
            slope = next(slopes, None)
            if slope is not None:  # of logits that the loss uses
                self.choose(output).register_hook(lambda found: slope.to(found.dtype))

        undo.later(self._module.register_forward_hook(put).remove)
        undo.later(self._slopes.clear)

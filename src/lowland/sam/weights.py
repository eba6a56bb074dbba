"""The weights themselves: on their way to w_adv, and back at exactly w.

Nothing is subtracted: adding and subtracting epsilon leaves a rounding error in every weight, in bf16 one
larger than epsilon itself. Weights are copied, written over and copied back in place, so that `data_ptr`
stays; or, where that is asked for, w_adv is made beside w and takes its place for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lowland.sam.parallel import local
from lowland.sam.rows import Rows


class Weights:
    """Weights that are moved and put back.

    Args:
        parameters: The weights that are perturbed.
        gradients: Their gradients, one each. Sparse ones of tables are replaced by those of the rows
            that occur.
        swap: Which of them w_adv takes the place of, made beside them; none by default.

    Attributes:
        now: The weights to move, without autograd, then w_adv; of tables the rows that occur.
        saved: w, as soon as they are moved.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        gradients: list[Tensor],
        swap: Callable[[Tensor], bool] | None = None,
    ) -> None:
        self.now = [local(parameter) for parameter in parameters]
        # How weights are put where they belong, if they are not written over.
        self._put: list[Callable[[Tensor], None] | None] = [
            partial(_set_data, parameter) if swap is not None and swap(parameter) else None
            for parameter in parameters
        ]
        for index in range(len(gradients)):  # no name is left for a gradient, which is to be freed
            if gradients[index].is_sparse:
                gradients[index] = gradients[index].coalesce()
                rows = Rows(self.now[index], gradients[index].indices()[0])
                self.now[index], self._put[index] = rows.weight, rows.put
                gradients[index] = gradients[index].values()
        self.saved = list(self.now)

    def move(self, directions: Sequence[Tensor], scale: float) -> None:
        """Moves the weights by scale times the directions."""
        here = [index for index, put in enumerate(self._put) if put is None]
        beside = [index for index, put in enumerate(self._put) if put is not None]
        for index in here:
            self.saved[index] = self.now[index].clone()
        if here:
            torch._foreach_add_(_of(here, self.now), _of(here, directions), alpha=scale)
        if beside:
            moved = torch._foreach_add(_of(beside, self.now), _of(beside, directions), alpha=scale)
            for index, weight in zip(beside, moved, strict=True):
                self.now[index] = weight.to(self.saved[index].dtype)  # a wider gradient widens the sum
            self._put_beside(self.now)
        # A cast that autocast made of w must not be used at w_adv.
        torch.clear_autocast_cache()

    def back(self) -> None:
        """Puts the weights back, wherever `move` was broken off; a second time does no harm."""
        here = [index for index, put in enumerate(self._put) if put is None]
        if here:
            torch._foreach_copy_(_of(here, self.now), _of(here, self.saved))
        self._put_beside(self.saved)
        torch.clear_autocast_cache()

    def _put_beside(self, weights: Sequence[Tensor]) -> None:
        for put, weight in zip(self._put, weights, strict=True):
            if put is not None:
                put(weight)


def with_own_memory(module: nn.Module) -> Callable[[Tensor], bool]:
    """Finds the parameters of a module that are plain ones and share their memory with no other tensor of it.

    Args:
        module: Any module. Its frozen parameters and buffers count; views that it keeps elsewhere are not
            seen.

    Returns:
        What tells whether a parameter is one of them.
    """
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}.values()
    plain = [
        tensor
        for tensor in tensors
        if type(tensor) in (nn.Parameter, Tensor) and tensor.layout == torch.strided
    ]
    owners = Counter(tensor.untyped_storage().data_ptr() for tensor in plain)
    found = {
        id(tensor)
        for tensor in plain
        if tensor.untyped_storage().nbytes() == tensor.nbytes
        and owners[tensor.untyped_storage().data_ptr()] == 1
    }
    return lambda parameter: type(parameter) is nn.Parameter and id(parameter) in found


def _set_data(parameter: Tensor, weight: Tensor) -> None:
    parameter.data = weight


def _of(indices: Sequence[int], tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensors[index] for index in indices]

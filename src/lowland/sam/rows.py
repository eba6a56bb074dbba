"""Tables of embeddings: of their many rows a batch uses few, and only these have a gradient and are moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

from torch import Tensor, nn

MANY = 1000
"""Rows from which on a table is worth the trouble; of a smaller one most rows occur."""


def is_table(module: nn.Module) -> TypeGuard[nn.Embedding]:
    """Says whether a module is a table of which a batch uses few rows."""
    return type(module) is nn.Embedding and module.num_embeddings >= MANY and not module.scale_grad_by_freq


@contextmanager
def sparse_tables(module: nn.Module) -> Iterator[None]:
    """Lets backward passes inside give the large tables of a module sparse gradients.

    A table that is used otherwise, too, such as by tied embeddings for the scores of the vocabulary, gets a
    dense one all the same.

    Args:
        module: Any module; `torch.compile` knows no sparse gradients.
    """
    tables = [
        part
        for part in module.modules()
        if is_table(part) and part.weight.device.type in ("cpu", "cuda") and not part.sparse
    ]
    try:
        for table in tables:
            table.sparse = True
        yield
    finally:
        for table in tables:
            table.sparse = False


class Rows:
    """Some rows of a table, taken out to be worked with.

    Args:
        table: The weights of the table. `# (rows of the table, width)`
        index: Which rows, each once.

    Attributes:
        weight: The rows. `# (rows, width)`
    """

    def __init__(self, table: Tensor, index: Tensor) -> None:
        self._table, self._index = table, index
        self.weight = table[index]

    def put_back(self) -> None:
        """Writes the rows into the table as they are now."""
        self._table.index_copy_(0, self._index, self.weight)


def take_rows(weights: list[Tensor], gradients: list[Tensor]) -> list[Rows]:
    """Puts the rows that occur, and their gradient, in the place of tables and their sparse gradients.

    Args:
        weights: Weights; tables among them are replaced.
        gradients: Their gradients; sparse ones are replaced.

    Returns:
        The rows, to be put back into the tables.
    """
    taken = []
    for index in range(len(gradients)):  # no name is left for a gradient, which is to be freed
        if gradients[index].is_sparse:
            gradients[index] = gradients[index].coalesce()
            taken.append(Rows(weights[index], gradients[index].indices()[0]))
            weights[index], gradients[index] = taken[-1].weight, gradients[index].values()
    return taken

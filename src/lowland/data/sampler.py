"""Which examples come next: an endless stream of batches over one or several tasks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowland.errors import UserError


class MixtureSampler(Iterator[list[tuple[str, int]]]):
    """An endless, repeatable stream of batches of (task, index of an example).

    Each slot of a batch draws its task by the rates, and takes that task's next example; every task
    goes through all its examples in a fresh order before any comes again. With one task this is
    plain shuffling by epochs.

    What a batch holds depends on the settings and on how much was drawn before (`counts` of examples by task,
    `batches`), and on no random state besides: the order of a task's epoch and the tasks of a batch are each
    seeded by their own number. So an interrupted stream goes on exactly.

    `sizes` are numbers of examples by task; a task with rate 0 never comes.
    """

    def __init__(
        self, sizes: Mapping[str, int], rates: Mapping[str, float], batch_size: int, seed: int
    ) -> None:
        # In the order of the names, so that the stream does not depend on the order of a dictionary.
        self._tasks = sorted(sizes)
        self._sizes = {task: int(sizes[task]) for task in self._tasks}
        weights = np.array([rates[task] for task in self._tasks], dtype=np.float64)
        self._probabilities = weights / weights.sum()
        self._batch_size = batch_size
        self._seed = seed
        self._orders: dict[str, tuple[int, NDArray[np.int64]]] = {}
        self.counts = dict.fromkeys(self._tasks, 0)
        self.batches = 0

    def __next__(self) -> list[tuple[str, int]]:
        """Draws the next batch."""
        generator = np.random.default_rng([self._seed, self.batches])
        drawn = generator.choice(len(self._tasks), size=self._batch_size, p=self._probabilities)
        self.batches += 1
        return [self._next_of(self._tasks[task]) for task in drawn]

    def state_dict(self) -> dict[str, Any]:
        """Returns where the stream is, and of which stream, as plain JSON values."""
        return {"batches": self.batches, "counts": dict(self.counts), "settings": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts the stream where another with the same settings was; refuses the state of other settings."""
        for name, value in self._settings().items():
            if state["settings"][name] != value:
                raise UserError(
                    f"Cannot resume with the data of the interrupted run: its {name} was "
                    f"{state['settings'][name]!r} and is {value!r} now; use the same data and settings."
                )
        self.batches = state["batches"]
        self.counts = dict(state["counts"])

    def _settings(self) -> dict[str, Any]:
        return {
            "sizes": self._sizes,
            "rates": dict(zip(self._tasks, self._probabilities.tolist(), strict=True)),
            "batch_size": self._batch_size,
            "seed": self._seed,
        }

    def _next_of(self, task: str) -> tuple[str, int]:
        epoch, position = divmod(self.counts[task], self._sizes[task])
        if task not in self._orders or self._orders[task][0] != epoch:
            generator = np.random.default_rng([self._seed, epoch, zlib.crc32(task.encode())])
            self._orders[task] = (epoch, generator.permutation(self._sizes[task]))
        self.counts[task] += 1
        return task, int(self._orders[task][1][position])

"""What a step changes for a while, and puts back whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class Undo:
    """A list of actions that put something back; calling it takes and forgets them, the last one first.

    An interrupt in the middle of a call leaves the list as it is, so that the next call repeats it: an action
    may be taken more than once, and is added before the change that it undoes.
    """

    def __init__(self) -> None:
        self._actions: list[Callable[[], None]] = []

    def later(self, action: Callable[[], None]) -> None:
        """Adds an action."""
        self._actions.append(action)

    def set_all(self, objects: Iterable[Any], name: str, value: bool) -> None:
        """Sets an attribute of objects in which it is `not value` now."""
        chosen = list(objects)

        def back() -> None:
            for one in chosen:
                setattr(one, name, not value)

        self.later(back)
        for one in chosen:
            setattr(one, name, value)

    def __call__(self) -> None:
        """Puts everything back."""
        for action in reversed(self._actions):
            action()
        self._actions.clear()


@contextmanager
def undoing() -> Iterator[Undo]:
    """Undoes, after a block, what was changed in it, however it ends."""
    undo = Undo()
    try:
        yield undo
    finally:
        try:
            undo()
        except BaseException:  # an interrupt, while something is put back
            undo()
            raise

"""Guards around an experiment: a polite stop, and one process a directory."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lowland.errors import UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_request(on_note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the step; the second stops at once.

    Args:
        on_note: Is told that the request was heard.

    Yields:
        A function that tells whether to stop.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        on_note("Stopping after this step, with everything saved; Ctrl-C again stops at once.")

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps a directory to this process; the system lifts the lock when the process ends, however it does.

    Raises:
        UserError: If another process has it.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise UserError(
                f"{path} is in use by {owner}. Wait for it, or give another directory with --out."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield

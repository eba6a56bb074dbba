"""Guards around an experiment: requests to stop, and one process for each directory."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from lowland.errors import UserError
from lowland.runs.directory import now

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_PRESS = 1.0
"""Seconds within which several signals are one: a launcher passes on what the terminal has sent already."""

STARTED_BY = "LOWLAND_STARTED_BY"
"""Environment variable of a job: the process that started it, without which it is not to go on."""

PATIENCE = 60.0
"""Seconds that a job waits for a lock: one that lost what started it may still be saving its state."""


class StopRequest:
    """Whether the user asked to stop: by Ctrl-C, SIGTERM, a closed terminal, or the end of what started it.

    The first request, of which `on_note` is told, is heeded after the step; the second one at once.
    """

    def __init__(self, on_note: Callable[[str], None]) -> None:
        self._on_note = on_note
        self._asked: float | None = None
        self._at_once = False
        self._parent = os.environ.get(STARTED_BY)

    def __call__(self) -> bool:
        """Tells whether to stop."""
        orphaned = self._parent is not None and self._parent != str(os.getppid())
        return self._asked is not None or orphaned

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a request break off what is done inside by a KeyboardInterrupt, since it is safe to repeat."""
        self._at_once = True
        try:
            if self():
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        if self._asked is None:
            self._asked = time.monotonic()
            if not self._at_once:
                self._on_note("Stopping after this step, with everything saved; Ctrl-C again stops at once.")
        elif time.monotonic() - self._asked < ONE_PRESS:
            return
        else:
            self._at_once = True
        if self._at_once:
            raise KeyboardInterrupt


@contextmanager
def stop_request(on_note: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turns Ctrl-C, SIGTERM and SIGHUP into requests to stop, save those that the process is to ignore."""
    request = StopRequest(on_note)
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield request
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, request.hear) for number in heard}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(path: Path, name: str = "", on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keeps a directory to this process; the system lifts the lock when the process ends, however it does.

    With a name only one thing in it is kept. While another process has it, `on_wait` is told which, again and
    again; without `on_wait` a `UserError` is raised.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / f".lock{name and '-'}{name}").open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + (PATIENCE if STARTED_BY in os.environ else 0.0)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                owner = _owner(file)
            if on_wait is not None:
                on_wait(owner)
            elif time.monotonic() >= deadline:
                raise UserError(
                    f"{path} is in use by {owner}. Wait for it, or give another directory with --out."
                )
            time.sleep(0.2)
        file.truncate(0)  # what a dead process has left says nothing: the lock itself is the system's
        json.dump({"process": os.getpid(), "host": platform.node(), "since": now()}, file)
        file.flush()
        yield


def _owner(file: TextIO) -> str:
    file.seek(0)
    try:
        return "process {process} on {host} since {since}".format(**json.loads(file.read()))
    except (ValueError, KeyError, TypeError):  # it has only just begun
        return "another process"

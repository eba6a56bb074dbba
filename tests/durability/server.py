"""A process that has imported everything and forks real commands from itself, with faults injected.

Importing torch and transformers takes seconds, a fork takes milliseconds: so hundreds of commands can be
killed in minutes. Each request is a line of JSON on standard input, each answer one on standard output.

Two things are left out of the commands, because they take longer than all the rest and write files as all
the rest does: the estimate of the time that an experiment takes, and the drawing of figures.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch

import lowland.cli
import lowland.cli.compare
import lowland.cli.plan
import lowland.cli.train
import lowland.comparison.compare
import lowland.comparison.progress
import lowland.planning.plan
import lowland.report.write
from lowland.errors import UserError

WRITING = os.O_WRONLY | os.O_RDWR
OPERATIONS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.fsync")


class Faults:
    """Counts the operations on files below a folder, and makes the n-th one end otherwise.

    Args:
        root: The folder.
        at: The number of the operation, from 1; 0 for none.
        number: The signal that comes just before it.
        error: Or the error number with which it fails, and with it all after it that write.
    """

    def __init__(self, root: str, at: int, number: int, error: int) -> None:
        self.count = 0
        self._root = root
        self._at = at
        self._number = number
        self._error = error
        fsync = os.fsync

        def audited(descriptor: int) -> None:
            sys.audit("os.fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        os.fsync = audited
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hears of everything that Python does."""
        if event == "open":
            path, mode, flags = arguments
            if not (any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & WRITING):
                return
        elif event in OPERATIONS:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not str(path).startswith(self._root):
            return
        self.count += 1
        if self._error and 0 < self._at <= self.count and event not in ("os.remove", "os.rmdir"):
            raise OSError(self._error, os.strerror(self._error), str(path))
        if not self._error and self.count == self._at:
            os.kill(os.getpid(), self._number)


def free_port() -> int:
    """Finds a port that no one listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run(request: dict[str, Any], rank: int, port: int) -> NoReturn:
    """Runs a command in a process that was forked for it."""
    code = 99
    try:
        with Path(request["log"] + str(rank)).open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if request["processes"] > 1:
            size = str(request["processes"])
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": size}
            os.environ |= {"LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(request["threads"])
        if request["largest_file"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
        faults = Faults(request["root"], request["at"], request["signal"], request["error"])
        code = lowland.cli.main(request["words"])
        (Path(request["log"] + str(rank) + ".count")).write_text(str(faults.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(request: dict[str, Any]) -> list[int]:
    """Runs a command; returns the exit code of each of its processes, or minus the signal that ended it."""
    port = free_port() if request["processes"] > 1 else 0
    children: dict[int, int] = {}
    for rank in range(request["processes"]):
        child = os.fork()
        if child == 0:
            run(request, rank, port)
        children[child] = rank
    codes = [0] * len(children)
    if request["seconds"]:
        time.sleep(request["seconds"])
        victim = next(child for child, rank in children.items() if rank == request["rank"])
        os.kill(victim, request["signal"])
    while children:
        child, status = os.wait()
        codes[children.pop(child)] = os.waitstatus_to_exitcode(status)
        if children and os.waitstatus_to_exitcode(status) != 0:  # as torchrun does
            time.sleep(0.2)
            for other in children:
                os.kill(other, signal.SIGKILL)
    return codes


def no_plan(*args: object, **kwargs: object) -> NoReturn:
    """Stands for the plan, which may fail for a strange model."""
    raise RuntimeError("Left out.")


def no_figure(*args: object, **kwargs: object) -> NoReturn:
    """Stands for the figure, as where matplotlib is missing."""
    raise UserError("Left out.")


def main() -> None:
    """Serves until standard input ends."""
    torch.set_num_threads(1)
    lowland.comparison.compare.make_plan = no_plan
    lowland.report.write.draw_report = no_figure
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

"""What is no mistake of the command: a machine without memory or disk; and secrets, which no record holds."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from lowland.errors import UserError

SECRETS = (
    (re.compile(r"(\w+://)[^/\s@]+@"), r"\1***@"),  # https://user:password@host
    (re.compile(r"\b(hf_|ghp_|github_pat_|sk-|xox[a-z]-|AKIA)[\w-]{8,}"), r"\1***"),
    (
        re.compile(r"(?i)\b([\w-]*(?:token|secret|password|passwd|api[_-]?key|signature))=[^\s&\"'{]+"),
        r"\1=***",
    ),
)
"""What looks like a secret, and what is written instead."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
DISK = {*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}
MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")


def machine_trouble(error: BaseException) -> str | None:
    """Says in a sentence what the machine lacks; `None` where the error is of another kind."""
    if isinstance(error, OSError):
        if "temporary directory" in str(error):
            return "There is no folder for temporary files. Let TMPDIR name one that can be written to."
        if error.errno == errno.ENOENT and not _is_somewhere():
            return "The folder that the command was started in is gone. Start it in another one."
        if error.errno not in DISK:
            return None
        where = f"{error.filename}: " if error.filename else "A file cannot be read or written: "
        if error.errno == errno.ENAMETOOLONG:
            return f"{where}{error.strerror}. Give a shorter name."
        return f"{where}{error.strerror}. Free the space, or give another place."
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "A path begins with ~, but there is no such home directory. Write the path out."
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY):
        return (
            "There is not enough memory. In training give a smaller --micro-batch-size, which computes the "
            "same in less (`lowland compare ... --plan` says how much); elsewhere a smaller --batch-size."
        )
    return None


def _is_somewhere() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


def disk_error(error: OSError, path: Path) -> UserError:
    """Says why the results in a directory cannot be read or written, and what to do."""
    if error.errno in CLOSED:
        advice = "Make it writable, or give another directory with --out."
    elif error.errno == errno.ENAMETOOLONG:
        advice = "Give a shorter name with --out."
    else:
        first = "Free some space; the" if error.errno in FULL else "Once it is there again, the"
        advice = f"What was saved before is whole. {first} same command resumes where it stopped."
    return UserError(f"{error.filename or path}: {error.strerror}. {advice}")


def redact(text: str) -> str:
    """Replaces what looks like a secret by `***`."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text

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

MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")


def machine_trouble(error: BaseException) -> str | None:
    """Says in a sentence what the machine lacks; `None` where the error is of another kind."""
    if isinstance(error, OSError):
        return str(disk_error(error))
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "A path begins with ~, but there is no such home directory. Write the path out."
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY):
        return (
            "There is not enough memory. In training give a smaller --micro-batch-size, which computes the "
            "same in less (`lowland compare ... --plan` says how much); elsewhere a smaller --batch-size."
        )
    return None


def disk_error(error: OSError, path: Path | None = None) -> UserError:
    """Says why a file, or the results in a directory, cannot be read or written, and what to do."""
    advice = "What was saved before is whole. Once it is there again, the same command resumes."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "What was saved before is whole. Free some space; the same command resumes where it stopped."
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        advice = "Make it writable, or give another directory with --out."
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        advice = "Give another directory with --out."
    elif error.errno == errno.ENAMETOOLONG:
        advice = "Give a shorter name with --out."
    where = error.filename or path or "A file or folder"
    return UserError(f"{where}: {error.strerror or error}. {advice}")


def redact(text: str) -> str:
    """Replaces what looks like a secret by `***`."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text

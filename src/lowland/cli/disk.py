"""What the system refuses, in a sentence."""

from __future__ import annotations

import errno
from pathlib import Path

from lowland.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def disk_error(error: OSError, path: Path) -> UserError:
    """Says why the results in a directory cannot be read or written, and what to do.

    Args:
        error: What the system said.
        path: The directory.
    """
    if error.errno in FULL:
        advice = "What was saved before is whole. Free some space; the same command goes on where it stopped."
    elif error.errno in CLOSED:
        advice = "Make it writable, or give another directory with --out."
    elif error.errno == errno.ENOENT:
        advice = "It was there before: bring it back, and the same command goes on where it stopped."
    else:
        advice = (
            "What was saved before is whole. Once the disk works, the same command goes on where it stopped."
        )
    return UserError(f"{error.filename or path}: {error.strerror}. {advice}")

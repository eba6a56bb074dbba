"""What is no mistake and no bug either: a machine that has run out of memory or of disk."""

from __future__ import annotations

import errno

DISK = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ENAMETOOLONG,
    }
)

MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")


def machine_trouble(error: BaseException) -> str | None:
    """Says what the machine lacks.

    Args:
        error: What was raised.

    Returns:
        One sentence; `None` where the error is of another kind.
    """
    if isinstance(error, OSError):
        if "temporary directory" in str(error):
            return "There is no folder for temporary files. Let TMPDIR name one that can be written to."
        if error.errno not in DISK:
            return None
        where = f"{error.filename}: " if error.filename else "A file cannot be read or written: "
        return f"{where}{error.strerror}. Free the space, or give another place."
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "A path begins with ~, but there is no such home directory. Write the path out."
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY):
        return (
            "There is not enough memory. In training give a smaller --micro-batch-size, which computes the "
            "same in less (`lowland compare ... --plan` says how much); elsewhere a smaller --batch-size."
        )
    return None

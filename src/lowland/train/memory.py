"""Memory that is freed in one step and needed in the next."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory instead of handing it back to the system.

    By default every large tensor on a CPU is fresh memory, which the system clears page by page. A training
    step makes and frees the same tensors again and again, so that keeping them saves a good part of the
    optimizer's step and of SAM's copy of the weights (`benchmarks/bench_overhead.py --keep-memory`). The
    process holds its peak until it ends. This is for programs, not for libraries: it concerns the process.

    Returns:
        Whether the C library is one that can be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    largest = 2**31 - 1
    settings = ((M_MMAP_THRESHOLD, largest), (M_TRIM_THRESHOLD, largest), (M_TOP_PAD, 2**26))
    return all(mallopt(name, value) == 1 for name, value in settings)

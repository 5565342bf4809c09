"""What the C library does with memory that PyTorch frees on a CPU."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees; it then stays as large as it once was. Only glibc; others do nothing.

    By default much of what a batch has used goes back to the system after each step, which then has to clear every
    page of it anew for the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes; what is larger is still given back

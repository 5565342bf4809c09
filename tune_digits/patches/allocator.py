"""How the C library handles memory that PyTorch frees on a CPU."""

from __future__ import annotations

import ctypes

from tune_digits.patches import enabled

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, so that its size never falls. Does nothing without glibc.

    By default much of what a step has used goes back to the system, which then has to clear every page of it again for
    the next step: training takes 1.03 to 1.08 times as long (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and enabled():
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(
            _M_MMAP_THRESHOLD, 2**25
        )  # the largest value that glibc accepts; larger blocks are still given back

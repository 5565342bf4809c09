"""Memory that is freed stays with the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import numpy as np
from tune_digits.patches.allocator import keep_freed_memory

def use():
    parts = [np.empty(2**21) for _ in range(6)]  # 16 MB each
    for part in parts:
        part.fill(1)

if sys.argv[1] == "keep":
    keep_freed_memory()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str, patches: str = "on") -> int:
    environment = {**os.environ, "TUNE_DIGITS_PATCHES": patches}
    run = subprocess.run(
        [sys.executable, "-c", COUNT, how], env=environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep it")
def test_freed_memory_is_not_fetched_again():
    assert page_faults("default") > 1000
    assert page_faults("keep") < 100
    assert page_faults("keep", patches="off") > 1000

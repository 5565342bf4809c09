"""What leans on the insides of Ray, PyTorch, Optuna and glibc: faster starts and quieter ends, and nothing else.

None of it changes a result. Each patch looks whether the place it changes is still there and does nothing where it is
not; `TUNE_DIGITS_PATCHES=off` in the environment switches all of them off; tests/patches holds a test of each, which
says after an update of a library whether the patch still does what it is for.
"""

from __future__ import annotations

import os

SWITCH = "TUNE_DIGITS_PATCHES"


def enabled() -> bool:
    """Whether patches are applied: not where the environment says `TUNE_DIGITS_PATCHES=off`."""
    return os.environ.get(SWITCH, "on").lower() != "off"

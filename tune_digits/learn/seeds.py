"""Where every random number of a training comes from: a seed made of whole numbers that say what it is for.

An epoch is seeded from (seed, fold, epoch, purpose) alone, so nothing random has to be saved with a training.
"""

from __future__ import annotations

import numpy as np

# what the random numbers of an epoch are for: the last number of its seed
TRAINING, SWA_ROWS, SWA_BATCHES = 1, 2, 3


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from whole numbers >= 0, well mixed (NumPy's SeedSequence).

    >>> derive_seed(0, 1) == derive_seed(0, 1)
    True
    >>> derive_seed(0, 1) == derive_seed(1, 0)
    False
    """
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) >> 1) << 32

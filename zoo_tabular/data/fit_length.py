"""How long an estimator trains, by the number of rows."""

from __future__ import annotations

import math


def auto_batch_size(n: int) -> int:
    """Rows a batch so that an epoch has 20 to 60 batches, from 16 up to 512 rows.

    Example:
        >>> auto_batch_size(10), auto_batch_size(1000), auto_batch_size(1_000_000)
        (10, 16, 512)
    """
    return min(n, max(16, min(512, 2 ** int(math.log2(max(1, n / 40))))))


def auto_epochs(n: int, n_batches: int) -> int:
    """Epochs so that there are about as many steps as rows, but from 200 to 2000 steps, and 3 to 100 epochs.

    Example:
        >>> auto_epochs(10, 1), auto_epochs(1000, 63), auto_epochs(1_000_000, 1954)
        (100, 16, 3)
    """
    steps = max(200, min(2000, n))
    return max(3, min(100, round(steps / max(1, n_batches))))

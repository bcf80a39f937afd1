"""Batches in which rare classes come as often as frequent ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.data.loaders.seeding import mix_seeds


class BalancedPlan:
    """Draws as many rows an epoch as there are, equally many of each class (He & Garcia 2009, section 3.1).

    Rows of a frequent class come at most once an epoch, other ones each epoch; those of a rare class come
    again and again, all equally often but for one time. Of rows with several labels those with a rare label
    are drawn more often: by the inverse frequency of their rarest. Which rows and in which order is a pure
    function of seed and epoch.

    Args:
        targets: class numbers, (rows,), or 0 and 1, (rows, classes).
        bs: rows a batch.

    Raises:
        ValueError: for targets of another shape.

    Example:
        >>> plan = BalancedPlan(np.array([0] * 9 + [1] * 3), bs=4)
        >>> rows = [row for batch in plan.batches(epoch=0, seed=1) for row in batch]
        >>> len(plan), len(rows), sum(row >= 9 for row in rows)
        (3, 12, 6)
    """

    repeats = True
    """Whether a row can come several times an epoch; each time it is augmented anew."""

    def __init__(self, targets: np.ndarray, bs: int) -> None:
        self.targets = np.asarray(targets)
        if self.targets.ndim not in (1, 2) or not len(self.targets):
            raise ValueError(
                f"balanced batches need class numbers (rows,) or labels (rows, classes), got shape "
                f"{self.targets.shape}"
            )
        self.bs = bs
        # batch norm cannot learn from a single row
        self.n_rows = len(self.targets) - (len(self.targets) > bs > 1 and len(self.targets) % bs == 1)

    def __len__(self) -> int:
        return -(-self.n_rows // self.bs)

    def with_bs(self, bs: int) -> BalancedPlan:
        """The same rows in batches of another size."""
        return BalancedPlan(self.targets, bs)

    def batches(self, epoch: int, seed: int) -> Sequence[Sequence[int]]:
        """Row numbers of an epoch's batches."""
        rng = np.random.default_rng(mix_seeds(seed, epoch, 1))
        rows = self._of_classes(rng) if self.targets.ndim == 1 else self._of_labels(rng)
        rows = rng.permutation(rows)[: self.n_rows].tolist()
        return [rows[start : start + self.bs] for start in range(0, self.n_rows, self.bs)]

    def row_weights(self) -> np.ndarray:
        """How many times an epoch draws each row, in the mean over epochs.

        Example:
            >>> BalancedPlan(np.array([0, 0, 0, 1]), bs=4).row_weights().round(2).tolist()
            [0.67, 0.67, 0.67, 2.0]
        """
        if self.targets.ndim == 1:
            _, codes, counts = np.unique(self.targets, return_inverse=True, return_counts=True)
            return len(self.targets) / (len(counts) * counts[codes])
        marked = self.targets > 0.5
        shares = np.maximum(marked.sum(0), 1) / len(marked)
        weight = np.where(marked, 1 / shares, 0).max(1)
        weight[weight == 0] = 1.0  # rows without a label
        return weight / weight.mean()

    def _of_classes(self, rng: np.random.Generator) -> np.ndarray:
        total = len(self.targets)
        numbers, codes = np.unique(self.targets, return_inverse=True)
        wanted = np.full(len(numbers), total // len(numbers))
        wanted[rng.permutation(len(numbers))[: total % len(numbers)]] += 1
        drawn = []
        for code, count in enumerate(wanted.tolist()):
            own = np.flatnonzero(codes == code)
            times, rest = divmod(count, len(own))
            drawn += [np.tile(own, times), rng.permutation(own)[:rest]]
        return np.concatenate(drawn)

    def _of_labels(self, rng: np.random.Generator) -> np.ndarray:
        weight = self.row_weights()
        return rng.choice(len(weight), len(weight), p=weight / weight.sum())

"""Which items belong to which user, as two compact arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

_CELLS = 1 << 26  # users x items of which a whole table is kept
_AT_ONCE = 1 << 22  # pairs that are sorted at a time


def counts_of(indexes: np.ndarray, n: int) -> np.ndarray:
    """How often each index occurs, shape (n,): `np.bincount`, which would copy all of them into 64 bits.

    Example:
        >>> counts_of(np.array([2, 0, 2], dtype=np.int32), 4).tolist()
        [1, 0, 2, 0]
    """
    counts = np.zeros(n, dtype=np.int64)
    for start in range(0, len(indexes), _AT_ONCE):
        counts += np.bincount(indexes[start : start + _AT_ONCE], minlength=n)
    return counts


def distinct_pairs(users: np.ndarray, items: np.ndarray, n_users: int) -> Iterator[np.ndarray]:
    """Pairs of known indexes (above 0), each once, as `user << 32 | item`, in ascending order; a few millions
    at a time.

    Args:
        users, items: indexes, one a row.
        n_users: users, the unknown one (index 0) included.
    """
    ends = np.cumsum(counts_of(users, n_users))
    low = 1
    while low < n_users:
        high = max(low + 1, int(np.searchsorted(ends, ends[low - 1] + _AT_ONCE, side="right")))
        everyone = low == 1 and high >= n_users
        rows = slice(None) if everyone else np.flatnonzero((users >= low) & (users < high))
        some_users, some_items = users[rows], items[rows]
        known = (some_users > 0) & (some_items > 0)
        # one number a pair: sorting these takes a fiftieth of the time of sorting pairs
        pairs = np.sort((some_users[known].astype(np.int64) << 32) | some_items[known])
        yield pairs[np.diff(pairs, prepend=-1) != 0]
        low = high


class SeenPairs:
    """Which items each user has rated, as two compact arrays (compressed sparse rows).

    Args:
        starts: int64, shape (n_users + 1,): the items of user index u are `items[starts[u]:starts[u + 1]]`.
        items: int32 item indexes, ascending for each user.

    Example:
        >>> SeenPairs.from_pairs(np.array([1, 2, 1]), np.array([3, 1, 2]), n_users=3).of(1).tolist()
        [2, 3]
    """

    def __init__(self, starts: Tensor, items: Tensor):
        if starts.dim() != 1 or items.dim() != 1 or len(starts) < 1 or int(starts[-1]) != len(items):
            raise ValueError("seen pairs: starts and items do not belong together")
        if int(starts[0]) != 0 or bool((starts.diff() < 0).any()):
            raise ValueError("seen pairs: starts must begin at 0 and never fall")
        self.starts, self.items = starts, items
        self._keys: Tensor | None = None
        self._cells: Tensor | None = None

    @classmethod
    def from_pairs(cls, users: np.ndarray, items: np.ndarray, n_users: int) -> SeenPairs:
        """Collects pairs of indexes; pairs with the unknown user or item are left out, repeats kept once."""
        counts, found = np.zeros(n_users, dtype=np.int64), [np.zeros(0, dtype=np.int32)]
        for pairs in distinct_pairs(users, items, n_users):
            counts += np.bincount(pairs >> 32, minlength=n_users)
            found.append((pairs & 0xFFFFFFFF).astype(np.int32))
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls(torch.from_numpy(starts), torch.from_numpy(np.concatenate(found)))

    @classmethod
    def none(cls, n_users: int) -> SeenPairs:
        """No pairs."""
        return cls(torch.zeros(n_users + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int32))

    def __len__(self) -> int:
        """Pairs."""
        return len(self.items)

    def of(self, user: int) -> Tensor:
        """Item indexes that this user index has rated."""
        return self.items[int(self.starts[user]) : int(self.starts[user + 1])]

    def places(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Row (in `users`) and item index of every pair of these users, each of shape (pairs,)."""
        users = users.to(self.starts.device)
        counts = self.starts[users + 1] - self.starts[users]
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), counts)
        begins = self.starts[users] - (counts.cumsum(0) - counts)
        within = torch.arange(len(rows), device=users.device) + begins[rows]
        return rows, self.items[within].long()

    def mask(self, users: Tensor, n_items: int) -> Tensor:
        """Boolean, shape (len(users), n_items): true where the user has rated the item."""
        mask = torch.zeros(len(users), n_items, dtype=torch.bool, device=self.starts.device)
        mask[self.places(users)] = True
        return mask

    def holds(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether pairs are among these, boolean, of the shape of `items`; `users` broadcasts against it."""
        users, items = torch.broadcast_tensors(users.long(), items.long())
        keys = self._sorted_keys(items.device)
        if not len(keys):
            return torch.zeros(items.shape, dtype=torch.bool, device=items.device)
        asked = (users << 32) | items
        return keys[torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)] == asked

    def crossed(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether each of these users has each of these items, boolean, (len(users), len(items))."""
        width = int(self.items.max()) + 1 if len(self) else 1
        if (len(self.starts) - 1) * width > _CELLS:
            return self.holds(users[:, None], items)
        if self._cells is None or self._cells.device != items.device:
            everyone = torch.arange(len(self.starts) - 1, device=self.starts.device)
            self._cells = self.mask(everyone, width).T.contiguous().to(items.device)
        # of items beyond the last that is seen nothing is known, as of item 0; twice whole rows are copied,
        # which takes a fortieth of the time of reading cell by cell
        of_items = self._cells.index_select(0, items * (items < width))
        return of_items.T.contiguous().index_select(0, users)

    def _sorted_keys(self, device: torch.device) -> Tensor:
        """One number a pair, ascending; kept, on the device that asked last."""
        if self._keys is None or self._keys.device != device:
            rows = torch.repeat_interleave(torch.arange(len(self.starts) - 1), self.starts.diff())
            self._keys = ((rows << 32) | self.items.long()).to(device)
        return self._keys

    def totals(self, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> Tensor:
        """Sums of the values of these pairs, float32, one for each pair in order of `items`; pairs that are
        not here are left out."""
        at, values = self._found(users, items, values)
        return torch.from_numpy(np.bincount(at, weights=values, minlength=len(self)).astype(np.float32))

    def means(self, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> Tensor:
        """Their means, likewise; 0 for a pair without a value."""
        at, values = self._found(users, items, values)
        sums = np.bincount(at, weights=values, minlength=len(self))
        counts = np.bincount(at, minlength=len(self))
        return torch.from_numpy((sums / np.maximum(counts, 1)).astype(np.float32))

    def _found(
        self, users: np.ndarray, items: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where pairs stand, and the values of those that do."""
        asked = torch.from_numpy((users.astype(np.int64) << 32) | items.astype(np.int64))
        keys = self._sorted_keys(torch.device("cpu"))
        at = torch.searchsorted(keys, asked).clamp(max=max(len(keys) - 1, 0))
        here = (keys[at] == asked).numpy() if len(keys) else np.zeros(len(asked), dtype=bool)
        return at.numpy()[here], values[here]

    def to(self, device: torch.device) -> SeenPairs:
        """These pairs on a device."""
        return SeenPairs(self.starts.to(device), self.items.to(device))

    def without(self, other: SeenPairs) -> SeenPairs:
        """These pairs less those of `other`."""
        rows, items = self.places(torch.arange(len(self.starts) - 1))
        kept = ~other.holds(rows, items)
        return SeenPairs.from_pairs(rows[kept].numpy(), items[kept].numpy(), len(self.starts) - 1)

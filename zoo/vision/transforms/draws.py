"""The numbers that `numpy.random.default_rng(seed)` draws, of many seeds at once.

A generator for every row of a batch takes longer to make than a small picture to transform. These are the
same numbers: PCG64 (O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
for Random Number Generation") seeded through numpy's `SeedSequence`, in arrays.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULT = (np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645))

Wide = tuple[np.ndarray, np.ndarray]
"""High and low halves of 128-bit numbers."""


class Draws:
    """One generator a row.

    Args:
        seeds: (rows,) uint64, what `default_rng` would be given.

    Example:
        >>> ours = Draws(np.array([7, 8], np.uint64)).random()
        >>> [float(number) for number in ours] == [np.random.default_rng(seed).random() for seed in (7, 8)]
        True
    """

    def __init__(self, seeds: np.ndarray) -> None:
        words = _seed_words(np.asarray(seeds, np.uint64))
        one = np.uint64(1)
        self._inc: Wide = ((words[2] << one) | (words[3] >> np.uint64(63)), (words[3] << one) | one)
        zero = np.zeros_like(words[0])
        state = _add(self._stepped((zero, zero)), (words[0], words[1]))
        self._state = self._stepped(state)
        self._half = np.zeros_like(zero)  # what is left of a number of which half was used
        self._has_half = np.zeros(len(zero), bool)

    def __len__(self) -> int:
        return len(self._half)

    def _stepped(self, state: Wide) -> Wide:
        return _add(_times(state, _MULT), self._inc)

    def _next(self, rows: np.ndarray | None = None) -> np.ndarray:
        """64 random bits a row; the other rows stay where they are."""
        high, low = self._stepped(self._state)
        if rows is not None:
            high, low = np.where(rows, high, self._state[0]), np.where(rows, low, self._state[1])
        self._state = high, low
        mixed, turn = high ^ low, high >> np.uint64(58)
        return (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & np.uint64(63)))

    def random(self) -> np.ndarray:
        """As `Generator.random()`: (rows,) in [0, 1)."""
        return (self._next() >> np.uint64(11)).astype(np.float64) * (1.0 / 9007199254740992.0)

    def uniform(self, low: float, high: float) -> np.ndarray:
        """As `Generator.uniform(low, high)`."""
        return low + (high - low) * self.random()

    def integers(self, n: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """As `Generator.integers(n)` for the rows given, 0 for others (Lemire 2019).

        Args:
            n: (rows,) from 1 to 2**32 - 1.
            rows: (rows,) of bool.
        """
        wanted = rows & (n > 1)
        found = np.zeros(len(self), np.int64)
        size = n.astype(np.uint64)
        while wanted.any():
            product = self._next32(wanted) * size
            rest = product & _LOW
            ok = wanted & ((rest >= size) | (rest >= ((_LOW + np.uint64(1)) - size) % size))
            found[ok] = (product >> _32)[ok].astype(np.int64)
            wanted = wanted & ~ok
        return found

    def _next32(self, rows: np.ndarray) -> np.ndarray:
        fresh = rows & ~self._has_half
        bits = self._next(fresh) if fresh.any() else self._half
        found = np.where(fresh, bits & _LOW, self._half)
        self._half = np.where(fresh, bits >> _32, self._half)
        self._has_half = np.where(rows, fresh, self._has_half)
        return found


def mixed_seeds(seed: int, epoch: int, rows: np.ndarray) -> np.ndarray:
    """`mix_seeds(seed, epoch, row)` of many rows.

    >>> from zoo.data.loaders.seeding import mix_seeds
    >>> mixed_seeds(3, 1, np.array([5])).tolist() == [mix_seeds(3, 1, 5)]
    True
    """
    state = np.zeros(len(rows), np.uint64)
    mask = (1 << 64) - 1
    for part in (np.uint64(seed & mask), np.uint64(epoch & mask), np.asarray(rows).astype(np.uint64)):
        with np.errstate(over="ignore"):
            state = state + part + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state >> np.uint64(1)


@cache
def draws_agree() -> bool:
    """Whether these are the numbers of the numpy that is installed, which may change its generators."""
    seeds = np.array([0, 1, 2**40 + 3, 2**63 - 1], np.uint64)
    ours = Draws(seeds)
    all_rows = np.ones(4, bool)
    found = [
        ours.random(), ours.integers(np.array([7] * 4), all_rows), ours.uniform(-2, 5),
        ours.integers(np.array([7] * 4), all_rows), ours.integers(np.array([2**31 + 1] * 4), all_rows),
    ]  # fmt: skip
    for row, seed in enumerate(seeds.tolist()):
        rng = np.random.default_rng(seed)
        theirs = [
            rng.random(), rng.integers(7), rng.uniform(-2, 5), rng.integers(7), rng.integers(2**31 + 1),
        ]  # fmt: skip
        if [float(column[row]) for column in found] != [float(value) for value in theirs]:
            return False
    return True


def _seed_words(seeds: np.ndarray) -> list[np.ndarray]:
    """`SeedSequence(seed).generate_state(4, uint64)`."""
    constant = 0x43B0D7E5

    def hashed(value: np.ndarray) -> np.ndarray:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * 0x931E8875 & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return value ^ (value >> np.uint32(16))

    zero = np.zeros(len(seeds), np.uint32)
    words = [(seeds & _LOW).astype(np.uint32), (seeds >> _32).astype(np.uint32), zero, zero]
    pool = [hashed(word) for word in words]
    for source in range(4):
        for target in range(4):
            if source != target:
                mixed = pool[target] * np.uint32(0xCA01F9DD) - hashed(pool[source]) * np.uint32(0x4973F715)
                pool[target] = mixed ^ (mixed >> np.uint32(16))
    constant = 0x8B51F9DD
    state: list[np.ndarray] = []
    for number in range(8):
        value = pool[number % 4] ^ np.uint32(constant)
        constant = constant * 0x58F38DED & 0xFFFFFFFF
        value = value * np.uint32(constant)
        state.append((value ^ (value >> np.uint32(16))).astype(np.uint64))
    return [state[2 * i] | (state[2 * i + 1] << _32) for i in range(4)]


def _add(a: Wide, b: Wide) -> Wide:
    low = a[1] + b[1]
    return a[0] + b[0] + (low < b[1]), low


def _times(a: Wide, b: tuple[np.uint64, np.uint64]) -> Wide:
    """The low 128 bits of a product."""
    a_low, a_high = a[1] & _LOW, a[1] >> _32
    b_low, b_high = b[1] & _LOW, b[1] >> _32
    low = a_low * b_low
    middle = a_high * b_low + (low >> _32)
    other = a_low * b_high + (middle & _LOW)
    high = a_high * b_high + (middle >> _32) + (other >> _32)
    return high + a[0] * b[1] + a[1] * b[0], a[1] * b[1]

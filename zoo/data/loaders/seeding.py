"""Seeds: one call for every generator, pure per-epoch orders, and blocks that leave no trace in the
generators.
"""

from __future__ import annotations

import contextlib
import numbers
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch (all devices).

    Args:
        seed: any integer from 0 to 2**32 - 1.
        deterministic: also ask torch for deterministic kernels (slower on a GPU; an operation that has none
            raises).

    Example:
        >>> set_seed(1); a = torch.rand(1); set_seed(1); bool(a == torch.rand(1))
        True
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"set_seed: seed must lie in [0, 2**32), got {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def checked_seed(seed: Any) -> int | None:
    """A seed as an `int`, or None.

    Raises:
        TypeError: for anything but a whole number.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(f"seed is a whole number or None, got {seed!r}")
    return None if seed is None else int(seed)


def draw_seed() -> int:
    """A fresh seed drawn from torch's global generator, hence fixed by `set_seed`."""
    return int(torch.randint(0, 2**31 - 1, ()).item())


def mix_seeds(*parts: int) -> int:
    """One well-spread 63-bit seed out of several integers (the splitmix64 finaliser, Steele et al. 2014).

    Example:
        >>> mix_seeds(1, 2) == mix_seeds(1, 2), mix_seeds(1, 2) == mix_seeds(2, 1)
        (True, False)
    """
    state = 0
    for part in parts:
        state = (state + (part & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of rows in one epoch, a pure function of its arguments.

    Returns:
        Permutation of `range(n)`, `int64`.
    """
    generator = torch.Generator().manual_seed(mix_seeds(seed, epoch))
    return torch.randperm(n, generator=generator)


def rng_state() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, as plain values and tensors."""
    kind, keys, *rest = np.random.get_state()
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).astype(np.int64), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the generators back to what `rng_state` returned; those of devices that are not there are left."""
    kind, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, keys.astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


@contextlib.contextmanager
def preserve_rng() -> Iterator[None]:
    """Whatever runs inside leaves Python's, numpy's and torch's generators as they were."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def loader_generators(loader: Any) -> list[torch.Generator]:
    """The torch generators that a `DataLoader`, its samplers and its dataset hold as attributes."""
    holders, waiting = [], [loader]
    while waiting:
        holder = waiting.pop(0)
        if holder is None or any(holder is one for one in holders):
            continue
        holders.append(holder)
        own = getattr(holder, "__dict__", {})
        waiting += [own.get(name) for name in ("sampler", "batch_sampler", "batches", "dataset")]
    found = {
        id(value): value
        for holder in holders
        for value in getattr(holder, "__dict__", {}).values()
        if isinstance(value, torch.Generator)
    }
    return list(found.values())


@contextlib.contextmanager
def preserve_generators(loader: Any) -> Iterator[None]:
    """Whatever iterates inside leaves a torch `DataLoader`'s own generators as they were."""
    states = [(generator, generator.get_state()) for generator in loader_generators(loader)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Python's, numpy's and torch's CPU generators start from `seed` inside, and are put back afterwards.

    None changes nothing.

    Raises:
        TypeError: it is no whole number.

    Example:
        >>> with seeded(1): a = torch.rand(1)
        >>> with seeded(1): print(bool(a == torch.rand(1)))
        True
    """
    checked_seed(seed)
    if seed is None:
        yield
        return
    python, numpy_state, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu)

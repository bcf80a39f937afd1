"""Seeds: one call for every generator, pure per-epoch orders, and blocks that leave no trace in the
generators.
"""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def preserve_rng() -> Iterator[None]:
    """Whatever runs inside leaves Python's, numpy's and torch's generators as they were."""
    python, numpy_state, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = (
        torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    )
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextlib.contextmanager
def preserve_generators(loader: Any) -> Iterator[None]:
    """Whatever iterates inside leaves a torch `DataLoader`'s own generators as they were."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    holders = (loader, sampler, inner)
    own = [g for h in holders if isinstance(g := getattr(h, "generator", None), torch.Generator)]
    states = [(generator, generator.get_state()) for generator in own]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's CPU generators start from `seed` inside, and are put back afterwards."""
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

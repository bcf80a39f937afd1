"""Batches: how a loader is asked for them, and what one holds."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.allocator import reuse_freed_memory
from zoo.data.loaders.device import prefetch, to_device
from zoo.data.loaders.seeding import mix_seeds, preserve_generators, preserve_rng

BatchTransform = Callable[[tuple, bool, torch.Generator], tuple]


def at_least_one(bs: int, loader: str) -> int:
    """A batch size, checked; `loader` is named in the error."""
    if bs < 1:
        raise ValueError(f"{loader}: bs must be at least 1, got {bs}")
    return bs


def drops_last(loader: Any, bs: int) -> bool:
    """Whether a loader leaves out its incomplete batch at another size: as before, or because batch norm
    cannot learn from a single row.
    """
    rows = loader.n_rows
    if rows <= bs:
        return False
    return (loader.shuffle and rows % bs == 1) or (loader.drop_last and rows % loader.bs != 1)


def begins_anywhere(loader: Any) -> bool:
    """Whether a loader's `set_epoch(epoch, start_batch)` lets a pass begin at any batch; others are passed
    over up to there.
    """
    if not hasattr(loader, "set_epoch"):
        return False
    kinds = [parameter.kind for parameter in inspect.signature(loader.set_epoch).parameters.values()]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in positional for kind in kinds) > 1 or inspect.Parameter.VAR_POSITIONAL in kinds


def batch_count(loader: Any) -> int | None:
    """How many batches a loader yields; `None` if it does not tell, as one over an `IterableDataset`."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return None


def n_rows(loader: Any) -> int | None:
    """How many rows a loader yields (its batches, if it does not tell; `None` if it tells neither)."""
    if hasattr(loader, "n_rows"):
        return loader.n_rows
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError, NotImplementedError):
        return batch_count(loader)


def rows_text(loader: Any) -> str:
    """How many rows a loader yields, to be read.

    Example:
        >>> rows_text([0] * 1200), rows_text(iter(()))
        ('1,200', 'stream')
    """
    rows = n_rows(loader)
    return "stream" if rows is None else f"{rows:,}"


def device_batches(loader: Any, device: torch.device, training: bool) -> Iterator[tuple]:
    """The batches of a loader on `device` as a model gets them: transformed there if the loader asks for it,
    and small whole numbers widened.
    """
    if device.type == "cpu":
        reuse_freed_memory()
    if hasattr(loader, "to"):
        loader.to(device)
    return _as_models_see(loader, prefetch(loader, device), device, training)


def first_batch(loader: Any, device: torch.device, *, training: bool) -> tuple:
    """The first batch of a loader's coming pass, on `device` as a model gets it; leaves no trace.

    Raises:
        ValueError: if there is none.
    """
    with preserve_rng(), preserve_generators(loader):
        one = itertools.islice(loader, 1)  # what lies in the loader stays where it is
        moved = (to_device(batch, device) for batch in one)
        found = next(_as_models_see(loader, moved, device, training), None)
    if found is None:
        raise ValueError("there is no batch: the loader is empty")
    return found


def _as_models_see(loader: Any, batches: Iterable, device: torch.device, training: bool) -> Iterator[tuple]:
    transform = getattr(loader, "batch_transform", None)
    if transform is None:
        yield from map(widen_codes, batches)
        return
    generator = torch.Generator(device)
    seed, epoch = getattr(loader, "seed", 0), getattr(loader, "epoch", 0)
    for number, batch in enumerate(batches, getattr(loader, "start_batch", 0)):
        generator.manual_seed(mix_seeds(seed, epoch, number))
        yield widen_codes(transform(batch, training, generator))


_NARROW = (torch.int8, torch.int16)


def widen_codes(batch: Any) -> Any:
    """A batch whose int8 and int16 tensors are int64, as embeddings and losses want them.

    Codes lie in memory in the smallest format that holds them, and are widened where they are used. Bytes
    (uint8) are pictures and stay.

    Example:
        >>> [part.dtype for part in widen_codes((torch.zeros(1, dtype=torch.int8), torch.zeros(1)))]
        [torch.int64, torch.float32]
    """
    if isinstance(batch, tuple | list) and any(
        isinstance(part, Tensor) and part.dtype in _NARROW for part in batch
    ):
        parts = [
            part.long() if isinstance(part, Tensor) and part.dtype in _NARROW else part for part in batch
        ]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def split_batch(batch: Any, n_inputs: int | None = None) -> tuple[tuple, Any]:
    """A batch as `(inputs, target)`; the target is `None` for a batch that holds just `n_inputs` inputs.

    Raises:
        TypeError: if it is not a tuple or list of at least one input and a target.
    """
    if n_inputs is not None and isinstance(batch, Tensor):
        batch = (batch,)
    if isinstance(batch, tuple | list) and batch and len(batch) == n_inputs:
        return tuple(batch), None
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return tuple(batch[:-1]), batch[-1]
    raise TypeError(
        f"a loader must yield tuples (inputs..., target); got {type(batch).__name__}"
        + (f" of length {len(batch)}" if isinstance(batch, tuple | list) else "")
    )


def as_tensor(array: Any) -> Tensor:
    """A tensor as it is; an array as a tensor that shares its memory where it can, float64 as float32."""
    if isinstance(array, Tensor):
        return array
    array = np.asanyarray(array)
    if array.dtype == np.float64 and not isinstance(array, np.memmap):
        array = array.astype(np.float32)
    if array.flags.writeable:
        return torch.from_numpy(array)
    if isinstance(array, np.memmap):
        with warnings.catch_warnings():  # a read-only map stays one: batches are copies or are only read
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.from_numpy(array)
    return torch.from_numpy(array.copy())

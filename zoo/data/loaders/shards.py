"""The share of every batch that falls to one of several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from zoo.data.loaders.batches import batch_count
from zoo.data.loaders.dataset_loader import DatasetLoader
from zoo.data.loaders.seeding import loader_generators, mix_seeds, rng_state, set_rng_state
from zoo.distributed import group as distributed


def share(rows: int, rank: int, world: int) -> tuple[int, int]:
    """First and last + 1 of the rows of a batch that are a process's own; as many for each as can be.

    Example:
        >>> [share(5, rank, 2) for rank in (0, 1)]
        [(0, 2), (2, 5)]
    """
    return rows * rank // world, rows * (rank + 1) // world


def shares(rows: int, world: int) -> list[int]:
    """How many rows of a batch each process gets.

    Example:
        >>> shares(5, 3)
        [1, 2, 2]
    """
    return [stop - start for start, stop in (share(rows, rank, world) for rank in range(world))]


def taken(rows: int, rank: int, world: int) -> slice:
    """The rows a process reads: its share, or the first row where that is empty, so that it can keep step."""
    start, stop = share(rows, rank, world)
    return slice(start, stop) if stop > start else slice(0, 1)


def batch_rows(batch: Any) -> int:
    """How many rows a batch has: the length of its first tensor.

    Raises:
        ValueError: if it holds none.
    """
    for leaf in _leaves(batch):
        if leaf.ndim:
            return len(leaf)
    raise ValueError("this batch cannot be shared out over processes: it holds no tensor with rows")


def cut(batch: Any, rows: int, part: slice) -> Any:
    """Some rows of a batch of `rows` rows.

    A target may hold several entries a row, one row's after another's, as that of a language model does.

    Raises:
        ValueError: if a tensor has another number of rows.

    Example:
        >>> x, y = torch.arange(4).reshape(2, 2), torch.arange(4)
        >>> [kept.tolist() for kept in cut((x, y), 2, slice(1, 2))]
        [[[2, 3]], [2, 3]]
    """
    if isinstance(batch, tuple | list) and len(batch) > 1:
        kept = [*(_cut(item, rows, part) for item in batch[:-1]), _cut(batch[-1], rows, part, several=True)]
        return type(batch)(*kept) if hasattr(batch, "_fields") else type(batch)(kept)
    return _cut(batch, rows, part)


def _cut(item: Any, rows: int, part: slice, *, several: bool = False) -> Any:
    if isinstance(item, Tensor | np.ndarray):
        if item.ndim == 0:
            return item
        each, odd = divmod(len(item), rows)
        if odd or (each != 1 and not several):
            raise ValueError(
                f"this batch cannot be shared out over processes: one part has {len(item)} rows, the first "
                f"has {rows}; the first dimension of every part must be the rows"
            )
        return item[part.start * each : part.stop * each]
    if isinstance(item, dict):
        return {key: _cut(value, rows, part, several=several) for key, value in item.items()}
    if isinstance(item, tuple | list):
        if len(item) == rows and one_a_row(item, rows):
            return item[part]
        kept = [_cut(value, rows, part, several=several) for value in item]
        return type(item)(*kept) if hasattr(item, "_fields") else type(item)(kept)
    return item


def one_a_row(item: tuple | list, rows: int) -> bool:
    """Whether a sequence as long as a batch holds one value a row: names, or rows of different length."""
    tensors = list(_leaves(item))
    return not tensors or (
        isinstance(item, list) and any(leaf.ndim == 0 or len(leaf) != rows for leaf in tensors)
    )


def _leaves(item: Any) -> Iterator[Tensor | np.ndarray]:
    if isinstance(item, Tensor | np.ndarray):
        yield item
    elif isinstance(item, dict | tuple | list):
        for value in item.values() if isinstance(item, dict) else item:
            yield from _leaves(value)


class Shards:
    """A loader that yields this process's share of every batch of another loader.

    Rows that must be decoded are shared out before they are read; batches that lie in memory are cut. A
    loader without `set_epoch` draws its order from the global generators: every process draws it with the
    generators of process 0, and then goes on with its own.

    Args:
        loader: yields whole batches, the same in every process.

    Attributes:
        sizes: rows of the whole batches yielded so far, by batch number.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.rank, self.world = distributed.rank(), distributed.world_size()
        self.sizes: dict[int, int] = {}
        self._own: DataLoader | None = None
        sampler = getattr(loader, "sampler", None) or getattr(
            getattr(loader, "batch_sampler", None), "sampler", None
        )
        if isinstance(sampler, DistributedSampler):
            raise ValueError(
                "this loader has a DistributedSampler, but its batches are shared out over the processes "
                "already, so most rows would never be seen: give a loader of all rows, with shuffle=True "
                "or another sampler"
            )
        if type(loader) is DataLoader and not isinstance(loader.dataset, IterableDataset):
            self._own = self._with_own_rows(loader)

    @property
    def batch_transform(self) -> Callable | None:
        """That of the loader."""
        return getattr(self.loader, "batch_transform", None)

    @property
    def seed(self) -> int:
        """Of the batch transform: each process draws its own numbers."""
        seed = getattr(self.loader, "seed", 0)
        return mix_seeds(seed, self.rank) if self.rank else seed

    @property
    def epoch(self) -> int:
        """That of the loader."""
        return getattr(self.loader, "epoch", 0)

    @property
    def start_batch(self) -> int:
        """That of the loader."""
        return getattr(self.loader, "start_batch", 0)

    def to(self, device: torch.device) -> None:
        """Move the loader's data to a device, if it does such a thing."""
        if hasattr(self.loader, "to"):
            self.loader.to(device)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.sizes.clear()
        try:
            if isinstance(self.loader, DatasetLoader):
                yield from self._decoded(self.loader)
            elif hasattr(self.loader, "set_epoch"):
                yield from self._cut(self.loader)
            elif self._own is not None:
                yield from self._drawn_alike(self._own)
            else:
                yield from self._cut(self._drawn_alike(self.loader))
        except Exception as error:
            distributed.fail(error)
            raise

    def _cut(self, batches: Iterable[Any]) -> Iterator[Any]:
        for number, batch in enumerate(batches, self.start_batch):
            rows = self.sizes[number] = batch_rows(batch)
            yield cut(batch, rows, taken(rows, self.rank, self.world))

    def _decoded(self, loader: DatasetLoader) -> Iterator[Any]:
        loader.share = lambda rows: rows[taken(len(rows), self.rank, self.world)]
        try:
            batches = iter(loader)
        finally:
            loader.share = None
        whole = islice(loader.batch_rows(), loader.start_batch, None)
        for number, (rows, batch) in enumerate(zip(whole, batches, strict=True), loader.start_batch):
            self.sizes[number] = len(rows)
            yield batch

    def _drawn_alike(self, loader: Any) -> Iterator[Any]:
        """The batches of a loader whose order comes from generators, in the order of process 0."""
        own = rng_state()
        generators = loader_generators(loader)
        shared, states = distributed.from_main((own, [one.get_state() for one in generators]))
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        set_rng_state(shared)
        batches = iter(loader)
        first = list(islice(batches, 1))
        if self.rank:
            set_rng_state(own)
        yield from first
        yield from batches

    def _with_own_rows(self, loader: DataLoader) -> DataLoader | None:
        """A loader like this one that reads this process's rows only."""
        if loader.batch_sampler is None:
            return None
        return DataLoader(
            loader.dataset,
            batch_sampler=_OwnRows(loader.batch_sampler, self),  # type: ignore[arg-type]
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            generator=loader.generator,
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
        )


class _OwnRows:
    """A batch sampler that keeps a process's share of every batch."""

    def __init__(self, batches: Iterable[Sequence[Any]], view: Shards) -> None:
        # `sampler` lets generators be found where they are in a plain loader
        self.batches, self.sampler = batches, getattr(batches, "sampler", None)
        self.rank, self.world, self.sizes = view.rank, view.world, view.sizes

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for number, batch in enumerate(self.batches):
            rows = list(batch)
            self.sizes[number] = len(rows)
            yield rows[taken(len(rows), self.rank, self.world)]


def fingerprint(loader: Any) -> dict[str, Any]:
    """What can be told cheaply of a loader's rows: their number, that of the batches, and a few of them."""
    if loader is None:
        return {}
    source = getattr(loader, "dataset", loader)
    rows = getattr(loader, "n_rows", None)
    if rows is None:
        rows = batch_count(source)
    found: dict[str, Any] = {"rows": rows, "batches": batch_count(loader)}
    tensors = getattr(source, "tensors", None)
    parts = dict(enumerate(tensors)) if isinstance(tensors, tuple | list) else {}
    parts |= {name: getattr(source, name, None) for name in ("items", "y", "ids", "columns", "targets")}
    for name, part in parts.items():
        if isinstance(part, Tensor | np.ndarray | list | tuple) and len(part):
            some = [part[row] for row in np.linspace(0, len(part) - 1, min(16, len(part))).astype(int)]
            found[f"rows of {name}"] = str([_short(value) for value in some])
    return found


def _short(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray):
        return value.reshape(-1)[:16].tolist()
    return value.parts[-2:] if isinstance(value, Path) else str(value)

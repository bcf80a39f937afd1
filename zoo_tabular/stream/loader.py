"""Batches of a table that is read from Parquet files during every epoch."""

from __future__ import annotations

import copy
import itertools
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.batches import BatchTransform, as_tensor, drops_last
from zoo.data.loaders.seeding import draw_seed, epoch_order, mix_seeds
from zoo_tabular.stream.read_ahead import give_back_memory, read_ahead
from zoo_tabular.stream.row_groups import FileChanged, RowGroups

LANES = 6  # places of the table that are read side by side
READ_ROWS = 16_384
HELD_BYTES = 1 << 28  # row groups that are read at several places are held decoded up to this size


@dataclass(frozen=True)
class Slice:
    """Rows of one row group: from `start` to before `stop`, of those that belong to the loader.

    `last` tells that nobody goes on reading where they end.
    """

    group: int
    start: int
    stop: int
    last: bool = True

    def __len__(self) -> int:
        return self.stop - self.start


class ParquetLoader:
    """Batches of rows that are read, coded and shuffled in pools, while the model trains or in between.

    Every epoch draws an order of the row groups. Six of them are read side by side into a pool of
    `buffer_rows` rows, whose rows are shuffled and cut into batches; batches go on over the ends of pools.
    Fewer than twelve row groups are cut into equal parts first, so that six places are read to the end.
    Fewer than six that take no more than 256 MB are decoded once; of others, what lies before a part is
    read and dropped. Row groups are decoded page by page, so that their size does not count. The order is a
    pure function of `(seed, epoch)`.

    On a GPU, and where torch has fewer threads than the process has CPUs (`torch.set_num_threads`), a thread
    makes the next pools: three are in memory at a time, the one in use, one that waits and one being made.
    Where torch takes every CPU, such a thread would only make its threads wait for each other: pools are made
    in between, and two are in memory. Hyper-threads count as CPUs: where torch's default is one thread a
    core, a thread reads on the others. On a GPU pools are copied there whole.

    Args:
        groups: the files.
        columns: what to read of them.
        coder: turns a record batch into arrays with as many rows, the target last.
        counts: how many rows of each row group belong to this loader.
        keep: the filter expression that says which, or None for all.
        bs: rows per batch.
        shuffle: draw a new order every epoch.
        seed: `None` draws one from torch's global generator.
        drop_last: leave out an incomplete last batch.
        batch_transform: `(batch, training, generator) -> batch`, run on the device.
        buffer_rows: rows of a pool.
        after_pass: called when a pass was complete.

    Attributes:
        n_rows: how many rows there are.
        ids: the row groups, with the rows in each.
    """

    def __init__(
        self,
        groups: RowGroups,
        columns: Sequence[str],
        coder: Callable[[Any], tuple[np.ndarray, ...]],
        counts: Sequence[int] | np.ndarray,
        *,
        keep: Any = None,
        bs: int = 64,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        batch_transform: BatchTransform | None = None,
        buffer_rows: int = 131_072,
        after_pass: Callable[[], None] | None = None,
    ) -> None:
        if buffer_rows < 1 or bs < 1:
            raise ValueError(
                f"ParquetLoader: bs and buffer_rows must be at least 1, got {bs} and {buffer_rows}"
            )
        self.groups, self.columns, self.coder, self.keep = groups, list(columns), coder, keep
        self.counts = np.asarray(counts, dtype="int64")
        self.n_rows = int(self.counts.sum())
        self.bs, self.shuffle, self.drop_last = bs, shuffle, drop_last
        self.seed = draw_seed() if seed is None and shuffle else seed or 0
        self.batch_transform, self.after_pass = batch_transform, after_pass
        self.buffer_rows = buffer_rows
        self.epoch, self.start_batch = 0, 0
        self.next_epoch = 0
        self._device = torch.device("cpu")

    @property
    def ids(self) -> list[str]:
        names = (group.name for group in self.groups.groups)
        return [f"{name}: {count}" for name, count in zip(names, self.counts.tolist(), strict=True) if count]

    @property
    def order(self) -> Tensor | None:
        """Row numbers, counted through the files, in the order of this epoch's batches; `None` when they come
        in their natural order.
        """
        if not self.shuffle:
            return None
        first = np.cumsum(self.counts) - self.counts
        parts = []
        for number, pool in enumerate(self._pools()):
            rows = np.concatenate([first[part.group] + np.arange(part.start, part.stop) for part in pool])
            shuffled = np.empty_like(rows)
            shuffled[self._places(number, len(rows))] = rows
            parts.append(torch.from_numpy(shuffled))
        return torch.cat(parts)[: len(self) * self.bs]

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the order of the coming passes, and the batch at which they begin.

        Pools before that batch are not made; row groups that lie in them alone are not read.
        """
        self.epoch, self.start_batch = epoch, start_batch

    def with_bs(self, bs: int) -> ParquetLoader:
        """The same rows in batches of another size; where it shuffles, none of a single row is left over."""
        if bs < 1:
            raise ValueError(f"ParquetLoader: bs must be at least 1, got {bs}")
        other = copy.copy(self)
        other.bs, other.drop_last = bs, drops_last(self, bs)
        return other

    def to(self, device: torch.device) -> None:
        """Have the batches on a device."""
        self._device = device

    def __len__(self) -> int:
        return self.n_rows // self.bs if self.drop_last else -(-self.n_rows // self.bs)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        bs, device = self.bs, self._device
        rest: tuple[Tensor, ...] | None = None
        pools = self._filled_pools()
        for pool in read_ahead(pools) if _leaves_a_cpu(device) else pools:
            if device.type != "cpu":
                pool = tuple(part.to(device, non_blocking=True) for part in pool)
            if rest is not None:
                lacking = bs - len(rest[0])
                rest = tuple(torch.cat([a, b[:lacking]]) for a, b in zip(rest, pool, strict=True))
                if len(rest[0]) < bs:
                    continue
                yield rest
                pool = tuple(part[lacking:] for part in pool)
            whole = len(pool[0]) // bs * bs
            batches = zip(*(part[:whole].split(bs) for part in pool), strict=True) if whole else ()
            for number, batch in enumerate(batches):
                if number == whole // bs // 2:
                    give_back_memory()  # a training leaves gaps, which grow by some MB a batch
                yield batch
            # a copy, so that the pool is let go
            rest = tuple(part[whole:].clone() for part in pool) if whole < len(pool[0]) else None
        if rest is not None and not self.drop_last:
            yield rest
        if self.after_pass is not None:
            self.after_pass()

    def _pools(self) -> Iterator[list[Slice]]:
        """Which rows make up each pool of this epoch."""
        waiting = iter(self._stretches())
        lanes = list(itertools.islice(waiting, LANES if self.shuffle else 1))
        while lanes:
            share = max(1, self.buffer_rows // len(lanes))
            pool: list[Slice] = []
            following: list[Slice] = []
            for lane in lanes:
                free, left = share, lane
                while free and len(left):
                    stop = min(left.start + free, left.stop)
                    pool.append(Slice(left.group, left.start, stop, stop == left.stop))
                    free -= len(pool[-1])
                    left = Slice(left.group, stop, left.stop)
                    if not len(left):
                        left = next(waiting, left)
                following += [left] if len(left) else []
            lanes = following
            yield pool

    def _stretches(self) -> list[Slice]:
        """The row groups in the order of this epoch, or equal parts of them where there are few."""
        present = np.flatnonzero(self.counts).tolist()
        few = self.shuffle and len(present) < 2 * LANES
        parts = LANES // math.gcd(len(present), LANES) if few else 1
        found = []
        for group in present:
            ends = [int(self.counts[group]) * part // parts for part in range(parts + 1)]
            found += [Slice(group, *pair) for pair in itertools.pairwise(ends) if pair[0] < pair[1]]
        if not self.shuffle:
            return found
        return [found[place] for place in epoch_order(len(found), self.seed, self.epoch).tolist()]

    def _decoded_bytes(self) -> int:
        """About what all row groups of the loader take in memory."""
        groups = [self.groups.groups[place] for place in np.flatnonzero(self.counts)]
        return sum(max(group.stored_bytes, 8 * group.rows * len(self.columns)) for group in groups)

    def _places(self, pool: int, rows: int) -> np.ndarray:
        """Where each row of a pool goes."""
        return epoch_order(rows, mix_seeds(self.seed, self.epoch), pool).numpy()

    def _filled_pools(self) -> Iterator[tuple[Tensor, ...]]:
        """The pools of this epoch, from the one on in which `start_batch` lies."""
        skip = self.start_batch * self.bs
        readers: dict[tuple[int, int], _Reader] = {}  # by row group and the row where they stand
        held: dict[int, list[Any]] | None = None
        if self.shuffle and np.count_nonzero(self.counts) < LANES and self._decoded_bytes() <= HELD_BYTES:
            held = {}  # record batches of row groups that are read at several places
        pin = self._device.type == "cuda"
        for number, pool in enumerate(self._pools()):
            rows = sum(map(len, pool))
            if skip >= rows:
                skip -= rows
                continue
            made: tuple[np.ndarray, ...] = ()
            places = self._places(number, rows) if self.shuffle else None
            filled = 0
            for part in pool:
                reader = readers.pop((part.group, part.start), None)
                if reader is None:
                    reader = _Reader(self, part.group, part.start, held)
                for arrays in reader.take(len(part)):
                    if not made:
                        made = tuple(_pages((rows, *array.shape[1:]), array.dtype) for array in arrays)
                    stop = filled + len(arrays[0])
                    where = slice(filled, stop) if places is None else places[filled:stop]
                    for whole, array in zip(made, arrays, strict=True):
                        whole[where] = array
                    filled = stop
                if not part.last:
                    readers[part.group, part.stop] = reader
                elif part.stop == self.counts[part.group]:
                    reader.end()
            tensors = tuple(as_tensor(array[skip:]) for array in made)
            del made, arrays
            give_back_memory()
            yield tuple(tensor.pin_memory() for tensor in tensors) if pin else tensors
            del tensors
            skip = 0


def _leaves_a_cpu(device: torch.device) -> bool:
    """Whether a thread can work beside a model that trains on this device, without taking turns with one of
    torch's threads; a hyper-thread counts as a CPU.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device.type != "cpu" or torch.get_num_threads() < cpus


def _pages(shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """An array in memory of its own, which goes back to the system when the array is let go, as that of the
    usual allocator may not.
    """
    size = int(np.prod(shape)) * kind.itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), kind, int(np.prod(shape))).reshape(shape)


class _Reader:
    """Coded rows of one row group, as many at a time as are asked for; `held` shares what was decoded."""

    def __init__(
        self, loader: ParquetLoader, group: int, start: int, held: dict[int, list[Any]] | None
    ) -> None:
        self._loader, self._group = loader, loader.groups.groups[group]
        rows = max(1, min(READ_ROWS, loader.buffer_rows))
        self._batches = loader.groups.read(self._group, loader.columns, rows, keep=loader.keep)
        if held is not None:
            if group not in held:
                held[group] = list(self._batches)
            self._batches = iter(held[group])
        self._rest: Any = None
        while start:
            batch = self._next(start)
            start -= len(batch)

    def take(self, rows: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The next `rows` rows."""
        while rows:
            batch = self._next(rows)
            rows -= len(batch)
            yield self._loader.coder(batch)

    def end(self) -> None:
        """Makes sure that there are no more rows than were counted."""
        if self._rest is not None or next(self._batches, None) is not None:
            raise FileChanged(self._group)

    def _next(self, most: int) -> Any:
        batch = self._rest if self._rest is not None else next(self._batches, None)
        if batch is None:
            raise FileChanged(self._group)
        self._rest = batch.slice(most) if len(batch) > most else None
        return batch.slice(0, most)

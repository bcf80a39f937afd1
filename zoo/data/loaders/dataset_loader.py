"""Batches of rows that must be decoded first, by processes that read ahead."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from zoo.allocator import reuse_freed_memory
from zoo.data.loaders.batches import BatchTransform, at_least_one, drops_last
from zoo.data.loaders.row_errors import Collated, RowError, raised
from zoo.data.loaders.seeding import checked_seed, draw_seed, epoch_order, mix_seeds, seeded
from zoo.sealed import Sealed


class SampleKey(int):
    """The row number handed to a dataset, with the seed of that row's random draws in this epoch."""

    seed: int

    def __new__(cls, index: int, seed: int = 0) -> SampleKey:
        key = super().__new__(cls, index)
        key.seed = seed
        return key

    def __reduce__(self) -> tuple:
        return SampleKey, (int(self), self.seed)


class BatchPlan(Protocol):
    """Decides which rows make up the batches of an epoch, for example rows of similar length.

    One in which a row can come several times an epoch has a true attribute `repeats`, so that it is augmented
    anew each time; one that can be made for another batch size has a method `with_bs(bs)`.
    """

    def __len__(self) -> int: ...

    def batches(self, epoch: int, seed: int) -> Sequence[Sequence[int]]: ...


class DatasetLoader(Sealed):
    """Batches of a map-style dataset whose rows must be decoded, such as image files.

    The dataset is indexed with `SampleKey`s: ordinary row numbers that also carry a seed, a pure function of
    `(seed, epoch, row)`. Python's, numpy's and torch's generators start from it for every row, so random
    augmentation depends neither on the number of workers nor on what was drawn before. A dataset that draws
    from the seed of its keys alone says so by a true attribute `seeds_itself`, and the generators stay as
    they are. What a row raises is raised by the pass with the number of the row, alike with and without
    workers.

    Args:
        dataset: anything with `__len__` and `__getitem__` returning `(inputs..., target)`.
        bs: rows per batch.
        shuffle: draw a new order every epoch.
        seed: `None` draws one from torch's global generator.
        num_workers: processes that decode; 0 decodes in this one.
        collate_fn: how rows become a batch (torch's default otherwise).
        plan: chooses the rows of every batch instead of `bs` and `shuffle`.
        batch_transform: `(batch, training, generator) -> batch`, run on the device after the copy.
        drop_last: leave out an incomplete last batch.

    Attributes:
        share: which rows of a batch are read, for a pass begun while it is set; `None` for all.
    """

    def __init__(
        self,
        dataset: Any,
        bs: int = 64,
        shuffle: bool = False,
        *,
        seed: int | None = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        plan: BatchPlan | None = None,
        batch_transform: BatchTransform | None = None,
        drop_last: bool = False,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError("DatasetLoader: the dataset has no rows")
        self.dataset, self.shuffle, self.plan, self.drop_last = dataset, shuffle, plan, drop_last
        self.bs = at_least_one(bs, "DatasetLoader")
        given = checked_seed(seed)
        self.seed: int = draw_seed() if given is None else given
        self.batch_transform = batch_transform
        self.epoch, self.start_batch = 0, 0
        self.next_epoch = 0
        self.n_rows = len(dataset)
        self._collate_fn = collate_fn
        self.share: Callable[[Sequence[int]], Sequence[int]] | None = None
        self._loader = DataLoader(
            _Seeded(dataset),  # type: ignore[arg-type]
            batch_sampler=_EpochSampler(self),  # type: ignore[arg-type]
            num_workers=num_workers,
            collate_fn=Collated(default_collate if collate_fn is None else collate_fn),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),
        )

    def with_bs(self, bs: int, *, num_workers: int | None = None) -> Self:
        """The same rows in batches of another size, decoded by as many processes unless told otherwise;
        where it shuffles, no batch of a single row is left over.

        Raises:
            TypeError: if a plan decides on the batches.
        """
        if self.plan is not None and not hasattr(self.plan, "with_bs"):
            raise TypeError("DatasetLoader: the plan decides on the batches, not bs: make the loader anew")
        other = type(self)(
            self.dataset,
            at_least_one(bs, "DatasetLoader"),
            self.shuffle,
            seed=self.seed,
            num_workers=self.num_workers if num_workers is None else num_workers,
            collate_fn=self._collate_fn,
            batch_transform=self.batch_transform,
            drop_last=drops_last(self, bs),
            plan=None if self.plan is None else self.plan.with_bs(bs),  # type: ignore[attr-defined]
        )
        other.epoch, other.start_batch, other.next_epoch = self.epoch, self.start_batch, self.next_epoch
        return other

    @property
    def num_workers(self) -> int:
        return self._loader.num_workers

    @property
    def order(self) -> Tensor | None:
        """Row numbers in the order of this epoch's batches, or `None` when they come in their natural
        order.
        """
        if self.plan is None and not self.shuffle:
            return None
        return torch.tensor([row for rows in self.batch_rows() for row in rows])

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the order of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch

    def __len__(self) -> int:
        if self.plan is not None:
            return len(self.plan)
        return self.n_rows // self.bs if self.drop_last else -(-self.n_rows // self.bs)

    def __iter__(self) -> Iterator[tuple]:
        return raised(iter(self._loader))

    def batch_rows(self) -> Iterable[Sequence[int]]:
        """The row numbers of this epoch's batches, one after another."""
        if self.plan is not None:
            return self.plan.batches(self.epoch, self.seed)
        order = (
            epoch_order(self.n_rows, self.seed, self.epoch).tolist() if self.shuffle else range(self.n_rows)
        )
        bs = self.bs
        return (order[start : start + bs] for start in range(0, len(self) * bs, bs))


def _begin_worker(number: int) -> None:
    reuse_freed_memory()


class _Seeded:
    """A dataset whose rows draw their random numbers from their own seed."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        try:
            if getattr(self.dataset, "seeds_itself", False):
                return self.dataset[key]
            with seeded(key.seed):
                return self.dataset[key]
        except Exception as error:
            return RowError(error, int(key))

    def __getitems__(self, keys: list[SampleKey]) -> list[Any]:
        """The rows of one batch: at once, by a dataset of ours that can."""
        together = getattr(self.dataset, "__getitems__", None)
        if together is None or not getattr(self.dataset, "seeds_itself", False):
            return [self[key] for key in keys]
        return together(keys)


class _EpochSampler:
    """Batches of sample keys for torch's `DataLoader`."""

    def __init__(self, loader: DatasetLoader) -> None:
        # Weak: in a reference cycle the collector closes the workers' pipes before telling them to stop, and
        # then waits five seconds for each.
        self._loader = weakref.ref(loader)

    def _owner(self) -> DatasetLoader:
        loader = self._loader()
        if loader is None:
            raise RuntimeError("the DatasetLoader of this sampler is gone: keep a reference to it")
        return loader

    def __len__(self) -> int:
        return len(self._owner())

    def __iter__(self) -> Iterator[list[SampleKey]]:
        loader = self._owner()
        again = Counter[int]() if getattr(loader.plan, "repeats", False) else None
        return _keyed(loader.batch_rows(), loader.share, loader.seed, loader.epoch, loader.start_batch, again)


def _keyed(
    batches: Iterable[Sequence[int]],
    share: Callable[[Sequence], Sequence] | None,
    seed: int,
    epoch: int,
    first: int,
    again: Counter[int] | None,
) -> Iterator[list[SampleKey]]:
    """Keys of the batches from `first` on; with `again`, which counts how often each row has come, a row's
    further seeds are others."""
    for number, rows in enumerate(batches):
        if again is not None:
            keys = []
            for row in rows:
                parts = (seed, epoch, row, again[row]) if again[row] else (seed, epoch, row)
                keys.append(SampleKey(row, mix_seeds(*parts)))
                again[row] += 1
            if number >= first:
                yield list(keys if share is None else share(keys))
        elif number >= first:
            own = rows if share is None else share(rows)
            yield [SampleKey(row, mix_seeds(seed, epoch, row)) for row in own]

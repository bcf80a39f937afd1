"""Pictures that stay in memory: decoded once, augmented together, on the device where they fit there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.dataset_loader import DatasetLoader, _EpochSampler
from zoo.data.loaders.seeding import epoch_order
from zoo.data.loaders.tensor_loader import GATHER_BYTES
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.store import FixedStore, RaggedStore, Store, StoredRows, UniformStore, make_store
from zoo.vision.transforms.batched import BatchViews, batch_views, cut_pixels, lit, sample_pixels
from zoo.vision.transforms.draws import mixed_seeds

log = logging.getLogger(__name__)

_TOGETHER = 1 << 18
"""Pixels that are warped together on a CPU, whose caches hold no more."""

_DRAWN_TOGETHER = 4096
"""Rows whose views are drawn at once."""

Batch = tuple[np.ndarray, np.ndarray | None]
"""Row numbers and, where something is drawn, the seed of each."""


class PictureLoader(DatasetLoader):
    """Batches of an `ImageDataset`, whose pictures stay in memory once they were read, where they fit.

    Pictures that are not changed at random are kept as the network sees them, bit for bit as they are
    otherwise. Of others a copy is kept that is no larger than the transform needs (in memory already: as they
    are); their views are drawn from the same seeds as otherwise, and carried out for the whole batch, on the
    device if all fit there. The first pass reads what is not there yet, with as many processes as otherwise,
    so that a first batch costs no more than before. Files that change later are not looked at again.

    Row by row, as in a `DatasetLoader`, go transforms with code of users, targets that follow their pictures,
    random views of pictures in memory that are shrunk by more than a half, and whatever does not fit into the
    free memory of the host.

    Attributes:
        resident: None: where they fit; True: also where they hardly fit; False: never.
    """

    resident: bool | None = False

    def __init__(self, dataset: Any, *args: Any, **options: Any) -> None:
        super().__init__(dataset, *args, **options)
        self._device = torch.device("cpu")
        self._store: Store | None = None
        self._made_for: tuple[Any, ...] = ()
        self._targets: Tensor | None = None

    def with_bs(self, bs: int, *, num_workers: int | None = None) -> PictureLoader:
        other = super().with_bs(bs, num_workers=num_workers)
        for name in ("resident", "_device", "_store", "_made_for", "_targets"):
            setattr(other, name, getattr(self, name))
        return other

    def to(self, device: torch.device) -> None:
        """Where the batches are needed; what fits goes there once all of it was read."""
        self._device = device

    def forget(self) -> None:
        """Let go of the pictures that are kept."""
        self._store, self._made_for, self._targets = None, (), None

    @property
    def resident_bytes(self) -> int:
        """Memory of the pictures that are kept."""
        return 0 if self._store is None else self._store.nbytes

    def __iter__(self) -> Iterator[tuple]:
        store = self._ready()
        if store is None:
            return super().__iter__()
        return self._kept_batches(store, self._batches(not isinstance(store, FixedStore)))

    def _ready(self) -> Store | None:
        """The store of the pictures as they are to be transformed now, if there may be one."""
        if self.resident is False or not isinstance(self.dataset, ImageDataset):
            self.forget()
            return None
        own = self.dataset
        made_for = (self.resident, own.tfm, own.channels, id(own.items), id(own.y), id(own.target))
        if made_for != self._made_for:
            self._made_for, self._targets = made_for, None
            self._store = make_store(own, must=bool(self.resident))
        return self._store

    def _batches(self, draws: bool) -> list[Batch]:
        """The rows of the coming batches, as they are to be read now."""
        if draws and getattr(self.plan, "repeats", False):
            keyed = iter(_EpochSampler(self))
            return [
                (np.array(keys, np.int64), np.array([key.seed for key in keys], np.uint64)) for keys in keyed
            ]
        share, first = self.share, self.start_batch
        if self.plan is not None:
            wanted = [np.asarray(rows, np.int64) for rows in self.batch_rows()]
        else:
            order = epoch_order(self.n_rows, self.seed, self.epoch) if self.shuffle else None
            whole = np.arange(self.n_rows) if order is None else order.numpy()
            wanted = [whole[start * self.bs : (start + 1) * self.bs] for start in range(len(self))]
        own = [rows if share is None else np.asarray(share(rows)) for rows in wanted[first:]]  # type: ignore[arg-type]
        if not draws:
            return [(rows, None) for rows in own]
        return [(rows, mixed_seeds(self.seed, self.epoch, rows)) for rows in own]

    def _kept_batches(self, store: Store, batches: Sequence[Batch]) -> Iterator[tuple]:
        if self._targets is None:
            self._targets = self.dataset.targets()
        if isinstance(store, FixedStore) and store.complete:
            yield from self._gathered(store, [rows for rows, _ in batches])
            return
        if isinstance(store, FixedStore):
            for rows, _ in self._arrived(store, batches):
                yield self._with_targets(store.batch(rows), rows)
            return
        assert isinstance(store, UniformStore | RaggedStore)  # noqa: S101 (make_store)
        for rows, views in self._viewed(store, self._arrived(store, batches)):
            yield self._with_targets(seen_together(store, rows, views), rows)

    def _viewed(
        self, store: UniformStore | RaggedStore, batches: Iterator[Batch]
    ) -> Iterator[tuple[np.ndarray, BatchViews]]:
        """The views of each batch; those of several are drawn together once all pictures are there."""
        for batch in batches:
            several = [batch]
            if store.complete:
                several += islice(batches, max(0, _DRAWN_TOGETHER // max(1, len(batch[0])) - 1))
            rows = np.concatenate([rows for rows, _ in several])
            seeds = np.concatenate([seeds for _, seeds in several if seeds is not None])
            views, start = batch_views(self.dataset.tfm, store.full_sizes(rows), seeds), 0
            for own, _ in several:
                yield own, views if len(several) == 1 else views.take(np.arange(start, start + len(own)))
                start += len(own)

    def _arrived(self, store: Store, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Each batch once its pictures are there."""
        arrivals = self._arrivals(store, batches)
        for batch in batches:
            next(arrivals, None)
            if store.complete:
                store.move(self._device)
            yield batch

    def _gathered(self, store: FixedStore, batches: Sequence[np.ndarray]) -> Iterator[tuple]:
        """Rows of several small batches are picked together."""
        store.move(self._device)
        together = max(1, GATHER_BYTES * self.n_rows // max(1, store.nbytes * self.bs))
        for start in range(0, len(batches), together):
            own = batches[start : start + together]
            rows = np.concatenate(own)
            sizes = [len(batch) for batch in own]
            parts = (part.split(sizes) for part in self._with_targets(store.batch(rows), rows))
            yield from zip(*parts, strict=True)

    def _with_targets(self, pixels: Tensor, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        assert self._targets is not None  # noqa: S101 (_kept_batches)
        if self._device.type == "cuda" and pixels.device.type == "cpu":
            pixels = pixels.pin_memory()
        if self._targets.device != pixels.device:
            self._targets = self._targets.to(pixels.device)
        return pixels, self._targets[torch.from_numpy(rows).to(pixels.device)]

    def _arrivals(self, store: Store, batches: Sequence[Batch]) -> Iterator[None]:
        """Goes on by one for each batch once its rows are in the store."""
        if store.complete:
            return
        asked = store.known.copy()
        wanted: list[list[int]] = []
        for rows, _ in batches:
            missing = np.unique(rows[~asked[rows]])
            asked[missing] = True
            wanted.append(missing.tolist())
        needed = [rows for rows in wanted if rows]
        reader = DatasetLoader(
            StoredRows(self.dataset, isinstance(store, FixedStore)),
            plan=_InOrder(needed),
            num_workers=self.num_workers if len(needed) > 1 else 0,
            collate_fn=list,
            seed=0,
        )
        reading = iter(reader)
        for rows in wanted:
            if rows:
                for row, found in zip(rows, next(reading), strict=True):
                    store.put(row, found)
            if store.complete and rows:
                log.info("%d pictures stay in memory: %.1f MB", self.n_rows, store.nbytes / 1e6)
            yield None


class _InOrder:
    """A plan of batches that are given."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, epoch: int, seed: int) -> list[list[int]]:
        return self.rows


def seen_together(store: UniformStore | RaggedStore, rows: np.ndarray, views: BatchViews) -> Tensor:
    """What views show of the pictures of some rows, N x C x height x width (uint8), on their device.

    Args:
        store: holds them.
        rows: their numbers.
        views: as many.
    """
    if isinstance(store, UniformStore):
        plain = (views.scaled == store.pictures.shape[2:]).all() and not views.lights
        if plain and views.on_grid.all():
            border = store.border if views.all_show(store.mode) else 0
            return cut_pixels(store.bordered if border else store.pictures, rows, views, border)
    shape = len(rows), store.channels, *views.size
    found = torch.empty(shape, dtype=torch.uint8, device=store.device)
    together = max(1, _TOGETHER // (views.size[0] * views.size[1]))
    together = together if store.device.type == "cpu" else len(rows)
    for start in range(0, len(rows), together):
        part = np.arange(start, min(len(rows), start + together))
        own = views.take(part)
        pictures, sizes = store.batch(rows[part])
        values = sample_pixels(pictures.float(), sizes, own)
        for factors in own.lights:
            values = lit(values, factors)
        found[start : start + together] = values.add_(0.5)  # cut off to whole numbers, so rounded
    return found

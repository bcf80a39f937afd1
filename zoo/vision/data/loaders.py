"""Loaders of pictures: decoded and augmented on CPU workers, normalised on the device."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from zoo.data.loaders.balanced import BalancedPlan
from zoo.data.loaders.cores import usable_cores
from zoo.data.loaders.dataset_loader import BatchPlan, DatasetLoader
from zoo.data.loaders.tensor_loader import TensorLoader
from zoo.vision.data.dataset import ImageDataset
from zoo.vision.data.resident import PictureLoader
from zoo.vision.targets.base import Target
from zoo.vision.transforms.image_transform import ImageTransform

_MOST_WORKERS = 8


def collate_pictures(rows: list[tuple[Tensor, Any]], target: Target | None = None) -> tuple[Any, ...]:
    """Stack rows to (N x C x H x W pixels, targets); pictures of different sizes are a clear error.

    Args:
        rows: as a dataset gives them.
        target: knows how targets are put together; None stacks them.
    """
    shapes = {tuple(pixels.shape) for pixels, _ in rows}
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise ValueError(
            f"pictures of different sizes in one batch ({first[2]}x{first[1]} and {second[2]}x{second[1]} "
            f"pixels): "
            "pass tfms=tfms_from_model(arch, sz) to bring them to one size"
        )
    kinds = {pixels.dtype for pixels, _ in rows}
    if len(kinds) > 1:
        raise TypeError(f"pictures of different kinds in one batch: {sorted(map(str, kinds))}")
    if target is None:
        pixels, targets = default_collate(rows)
        return pixels, targets
    return target.collate_batch(torch.stack([pixels for pixels, _ in rows]), [found for _, found in rows])


class Normalize:
    """Batch transform: pixels -> normalised floats on the device. The target is passed through."""

    def __init__(self, tfm: ImageTransform) -> None:
        self.tfm = tfm

    def __call__(
        self, batch: tuple, training: bool = False, generator: torch.Generator | None = None
    ) -> tuple:
        *inputs, target = batch
        if isinstance(target, Tensor) and target.dtype == torch.uint8:
            target = target.long()  # masks, as losses read them
        return (self.tfm.normalize(inputs[0]), *inputs[1:], target)


class _RowsInOrder:
    """A plan of batches: some rows, one after another."""

    def __init__(self, rows: np.ndarray, bs: int) -> None:
        self.rows, self.bs = rows, bs

    def __len__(self) -> int:
        return -(-len(self.rows) // self.bs)

    def batches(self, epoch: int, seed: int) -> list[list[int]]:
        starts = range(0, len(self.rows), self.bs)
        return [self.rows[start : start + self.bs].tolist() for start in starts]


def default_num_workers(dataset: ImageDataset) -> int:
    """Decoding processes: the cores this process may use, less one for the training where there are three or
    more, at most eight; none where starting them costs more than they save or cannot be forked.
    """
    if os.name != "posix" or os.uname().sysname != "Linux":
        return 0
    if isinstance(dataset.items, np.ndarray) or len(dataset) < 256:
        return 0
    return workers_for(usable_cores())


def workers_for(cores: int) -> int:
    """Decoding processes for a number of cores.

    Two of two cores, as the training waits for pictures more often than the other way round.

    >>> [workers_for(cores) for cores in (1, 2, 3, 4, 9, 64)]
    [1, 2, 2, 3, 8, 8]
    """
    return min(_MOST_WORKERS, max(min(cores, 2), cores - 1))


def checked_bs(bs: Any) -> int:
    """A number of pictures per batch.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 1.

    >>> checked_bs("4")
    Traceback (most recent call last):
    ...
    TypeError: bs must be a whole number of pictures per batch, got '4'
    """
    if isinstance(bs, bool | np.bool_) or not isinstance(bs, int | np.integer):
        raise TypeError(f"bs must be a whole number of pictures per batch, got {bs!r}")
    if bs < 1:
        raise ValueError(f"bs must be at least 1 picture per batch, got {bs}")
    return int(bs)


def picture_loader(
    dataset: ImageDataset,
    bs: int,
    *,
    shuffle: bool = False,
    num_workers: int | None = None,
    seed: int | None = None,
    balance: bool = False,
    rows: np.ndarray | None = None,
    resident: bool | None = False,
) -> PictureLoader:
    """A loader of (normalised pictures, targets).

    A shuffled loader leaves out a last batch of a single picture, on which batch norm cannot train.

    Args:
        dataset: pictures with their transform.
        bs: pictures per batch.
        shuffle: draw a new order every epoch.
        num_workers: decoding processes; None chooses.
        seed: of the order and the augmentation; None draws one.
        balance: draw rare classes more often.
        rows: read only these rows, in this order; not with `shuffle` or `balance`.
        resident: whether pictures are kept in memory, see `PictureLoader`; None: where they fit.
    """
    plan: BatchPlan | None = None
    if balance:
        if dataset.y is None:
            raise ValueError("picture_loader: balance=True needs labels, and these pictures have none")
        plan = BalancedPlan(dataset.y, bs)
    if rows is not None:
        plan = _RowsInOrder(rows, bs)
    if rows is not None and shuffle:
        raise ValueError(
            "picture_loader: rows come in the order given, so shuffle=True does not go with them"
        )
    found = PictureLoader(
        dataset,
        bs,
        shuffle,
        seed=seed,
        num_workers=default_num_workers(dataset) if num_workers is None else num_workers,
        collate_fn=collate_pictures
        if dataset.target is None or dataset.y is None
        else partial(collate_pictures, target=dataset.target),
        plan=plan,
        batch_transform=Normalize(dataset.tfm),
        drop_last=shuffle and len(dataset) > bs > 1 and len(dataset) % bs == 1,
    )
    found.resident = resident
    return found


class FeatureLoader(TensorLoader):
    """Batches of (features, target), drawn as those of the pictures.

    Attributes:
        pictures: the loader of the pictures that the features are of.
        plan: chooses the rows of every batch instead of `bs` and `shuffle`, as that of the pictures does.
    """

    pictures: DatasetLoader
    plan: BatchPlan | None = None

    @property
    def order(self) -> Tensor | None:
        """Row numbers in the order of this epoch's batches; `None` where that is their natural order."""
        if self.plan is None:
            return super().order
        return torch.tensor([row for rows in self.plan.batches(self.epoch, self.seed) for row in rows])

    def with_bs(self, bs: int) -> FeatureLoader:
        other: FeatureLoader = super().with_bs(bs)  # type: ignore[assignment]
        if self.plan is not None:
            if not hasattr(self.plan, "with_bs"):
                raise TypeError("FeatureLoader: the plan decides on the batches, not bs")
            other.plan = self.plan.with_bs(bs)  # type: ignore[attr-defined]
        return other

    def __len__(self) -> int:
        return super().__len__() if self.plan is None else len(self.plan)

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        if self.plan is None:
            yield from super()._batches()
            return
        planned = list(self.plan.batches(self.epoch, self.seed))[self.start_batch :]
        order = torch.tensor([row for rows in planned for row in rows], dtype=torch.long)
        for rows in order.to(self.tensors[0].device).split([len(rows) for rows in planned]):
            yield tuple(tensor.index_select(0, rows) for tensor in self.tensors)


def with_pictures(data: Any) -> Any:
    """The same data with loaders of the pictures in place of those of their features."""
    names = ("train_dl", "valid_dl", "test_dl")
    found = {name: loader for name in names if isinstance(loader := getattr(data, name, None), FeatureLoader)}
    if not found:
        return data
    data = copy.copy(data)
    for name, loader in found.items():
        setattr(data, name, loader.pictures)
    return data


def reloaded(
    loader: DatasetLoader | FeatureLoader,
    dataset: ImageDataset,
    *,
    bs: int | None = None,
    num_workers: int | None = None,
) -> PictureLoader:
    """A loader of other pictures with the order, place and settings of a loader.

    Args:
        loader: made by `picture_loader`, or of features of its pictures.
        dataset: as many rows, with their transform.
        bs: another batch size.
        num_workers: decoding processes; None: as many as the loader has.

    Raises:
        TypeError: the loader is of another kind.
    """
    loader = loader.pictures if isinstance(loader, FeatureLoader) else loader
    if not isinstance(loader, DatasetLoader) or not isinstance(loader.plan, BalancedPlan | None):
        raise TypeError(
            f"the loader of these pictures, a {type(loader).__name__}, was made by code of yours, and cannot "
            "be made anew for others"
        )
    found = picture_loader(
        dataset,
        loader.bs if bs is None else bs,
        shuffle=loader.shuffle,
        num_workers=loader.num_workers if num_workers is None else num_workers,
        seed=loader.seed,
        balance=loader.plan is not None,
        resident=getattr(loader, "resident", False),
    )
    found.epoch, found.start_batch, found.next_epoch = loader.epoch, loader.start_batch, loader.next_epoch
    if found.bs == loader.bs:
        found.drop_last = loader.drop_last
    return found

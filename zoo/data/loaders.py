"""What a learner trains on: loaders whose order is a pure function of (seed, epoch), bundled as
`ModelData`.
"""

from __future__ import annotations

import copy
import inspect
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.data.device import prefetch
from zoo.data.prediction import Prediction, decode_labels
from zoo.data.seeding import draw_seed, epoch_order, mix_seeds, seeded

BatchTransform = Callable[[tuple, bool, torch.Generator], tuple]


GATHER_BYTES = 8 * 2**20  # rows of several small batches are gathered together, up to so many bytes


class TensorLoader:
    """Batches of tensors that lie in memory: one indexed read for a batch or several, never one per row.

    The tensors move to the learner's device once, if they fill less than half of its free memory; otherwise
    every batch is moved. Rows of memory-mapped arrays are read as they are needed.

    Args:
        tensors: tensors or numpy arrays with the same first dimension; the last one is the target. Numpy's
            float64 becomes float32 (memory-mapped arrays stay as they are).
        bs: rows per batch.
        shuffle: draw a new order every epoch, a pure function of `(seed, epoch)`.
        seed: `None` draws one from torch's global generator.
        drop_last: leave out an incomplete last batch.
        batch_transform: `(batch, training, generator) -> batch`, run on the device.

    Raises:
        ValueError: if the lengths differ or there are no rows.

    Example:
        >>> loader = TensorLoader(torch.arange(5.0), torch.arange(5), bs=2)
        >>> [target.tolist() for _, target in loader]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        *tensors: Tensor | np.ndarray,
        bs: int = 64,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        batch_transform: BatchTransform | None = None,
    ) -> None:
        if not tensors:
            raise ValueError("TensorLoader needs at least one tensor")
        self.tensors = tuple(as_tensor(tensor) for tensor in tensors)
        sizes = [len(tensor) for tensor in self.tensors]
        if len(set(sizes)) != 1:
            raise ValueError(f"TensorLoader: all tensors need the same number of rows, got {sizes}")
        if sizes[0] == 0:
            raise ValueError("TensorLoader: there are no rows")
        self.n_rows = sizes[0]
        self.bs, self.shuffle, self.drop_last = _at_least_one(bs, "TensorLoader"), shuffle, drop_last
        self.seed = draw_seed() if seed is None and shuffle else seed or 0
        self.batch_transform = batch_transform
        self.epoch, self.start_batch = 0, 0
        self.next_epoch = 0
        self._pin = False

    @property
    def order(self) -> Tensor | None:
        """Row numbers in the order of this epoch's batches, or `None` when they come in their natural
        order.
        """
        if not self.shuffle:
            return None
        return epoch_order(self.n_rows, self.seed, self.epoch)[: len(self) * self.bs]

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the order of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch

    def with_bs(self, bs: int) -> TensorLoader:
        """The same rows in batches of another size; where it shuffles, none of a single row is left over."""
        other = copy.copy(self)
        other.bs = _at_least_one(bs, "TensorLoader")
        other.drop_last = drops_last(self, bs)
        return other

    def to(self, device: torch.device) -> None:
        """Move the tensors to `device` if they fit there comfortably."""
        if self._pin or self.tensors[0].device == device:
            return
        if device.type == "cuda":
            size = sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)
            if size > torch.cuda.mem_get_info(device)[0] / 2:
                self._pin = True
                return
        self.tensors = tuple(tensor.to(device) for tensor in self.tensors)

    def __len__(self) -> int:
        return self.n_rows // self.bs if self.drop_last else -(-self.n_rows // self.bs)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self._pin:  # the copy to the device can then overlap with the work on the batch before
            return (tuple(part.pin_memory() for part in batch) for batch in self._batches())
        return self._batches()

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        tensors, bs = self.tensors, self.bs
        starts = range(self.start_batch * bs, len(self) * bs, bs)
        if not self.shuffle:
            for start in starts:  # copies, so that no model that works in place reaches the data
                yield tuple(tensor[start : start + bs].clone() for tensor in tensors)
            return
        order = epoch_order(self.n_rows, self.seed, self.epoch).to(tensors[0].device)
        row_bytes = sum(tensor[:1].numel() * tensor.element_size() for tensor in tensors)
        together = max(1, GATHER_BYTES // max(1, row_bytes * bs)) * bs  # rows of several batches at once
        for start in range(starts.start, starts.stop, together):
            rows = order[start : min(start + together, starts.stop)]
            gathered = (tensor.index_select(0, rows).split(bs) for tensor in tensors)
            yield from zip(*gathered, strict=True)


def _at_least_one(bs: int, loader: str) -> int:
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
    """Decides which rows make up the batches of an epoch, for example rows of similar length."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, seed: int) -> Sequence[Sequence[int]]: ...


class DatasetLoader:
    """Batches of a map-style dataset whose rows must be decoded, such as image files.

    The dataset is indexed with `SampleKey`s: ordinary row numbers that also carry a seed, a pure function of
    `(seed, epoch, row)`. Python's, numpy's and torch's generators start from it for every row, so random
    augmentation depends neither on the number of workers nor on what was drawn before.

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
        self.bs = _at_least_one(bs, "DatasetLoader")
        self.seed = draw_seed() if seed is None else seed
        self.batch_transform = batch_transform
        self.epoch, self.start_batch = 0, 0
        self.next_epoch = 0
        self.n_rows = len(dataset)
        self.share: Callable[[Sequence[int]], Sequence[int]] | None = None
        self._loader = DataLoader(
            _Seeded(dataset),  # type: ignore[arg-type]
            batch_sampler=_EpochSampler(self),  # type: ignore[arg-type]
            num_workers=num_workers,
            collate_fn=collate_fn,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),
        )

    def with_bs(self, bs: int, *, num_workers: int | None = None) -> DatasetLoader:
        """The same rows in batches of another size, decoded by as many processes unless told otherwise;
        where it shuffles, no batch of a single row is left over.

        Raises:
            TypeError: if a plan decides on the batches.
        """
        if self.plan is not None:
            raise TypeError("DatasetLoader: the plan decides on the batches, not bs: make the loader anew")
        other = DatasetLoader(
            self.dataset,
            _at_least_one(bs, "DatasetLoader"),
            self.shuffle,
            seed=self.seed,
            num_workers=self.num_workers if num_workers is None else num_workers,
            collate_fn=self._loader.collate_fn,
            batch_transform=self.batch_transform,
            drop_last=drops_last(self, bs),
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
        return iter(self._loader)

    def batch_rows(self) -> Iterable[Sequence[int]]:
        """The row numbers of this epoch's batches, one after another."""
        if self.plan is not None:
            return self.plan.batches(self.epoch, self.seed)
        order = (
            epoch_order(self.n_rows, self.seed, self.epoch).tolist() if self.shuffle else range(self.n_rows)
        )
        bs = self.bs
        return (order[start : start + bs] for start in range(0, len(self) * bs, bs))


class _Seeded:
    """A dataset whose rows draw their random numbers from their own seed."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        with seeded(key.seed):
            return self.dataset[key]


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
        share = loader.share
        batches = loader.batch_rows() if share is None else map(share, loader.batch_rows())
        return _keyed(batches, loader.seed, loader.epoch, loader.start_batch)


def _keyed(batches: Iterable[Sequence[int]], seed: int, epoch: int, first: int) -> Iterator[list[SampleKey]]:
    for number, rows in enumerate(batches):
        if number >= first:
            yield [SampleKey(row, mix_seeds(seed, epoch, row)) for row in rows]


class ModelData:
    """Training, validation and test batches, and how to read raw inputs and answer in the user's terms.

    Any iterable with a length that yields `(inputs..., target)` will do as a loader: `TensorLoader`,
    `DatasetLoader`, a plain torch `DataLoader`. With `valid_dl=None` everything is trained on and nothing
    validated, for a final fit.

    Attributes:
        task: "classification", "multilabel", "regression", "sequence", or `None` when unknown.
        classes: label names, where there are any.
        path: where `Learner.save` keeps its files.
    """

    task: str | None = None
    classes: list[str] | None = None

    def __init__(
        self, train_dl: Any, valid_dl: Any = None, test_dl: Any = None, path: str | Path | None = None
    ) -> None:
        self.train_dl, self.valid_dl, self.test_dl = train_dl, valid_dl, test_dl
        self.path = Path("." if path is None else path)

    def default_loss(self) -> Callable | None:
        """The loss that goes with the targets; `None` leaves the choice to their type."""
        return None

    def default_metrics(self) -> list:
        """The metrics shown when the user names none."""
        return []

    def batches_from_raw(self, items: Any) -> Iterator[tuple[Tensor, ...]]:
        """Raw inputs as batches of model inputs, in order."""
        raise TypeError(
            f"{type(self).__name__} does not know how to read raw inputs; use predict_array with tensors "
            "instead"
        )

    def decode(self, outputs: Tensor) -> list[Prediction] | np.ndarray:
        """Probabilities or values of many rows in the user's terms."""
        if self.task in ("classification", "multilabel"):
            return decode_labels(outputs, self.classes, multilabel=self.task == "multilabel")
        return self.invert_target(outputs.numpy())

    def invert_target(self, values: np.ndarray) -> np.ndarray:
        """Model units back to the user's units, for regression."""
        return values

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What prediction on raw inputs needs: JSON-able state and tensors."""
        return {"task": self.task, "classes": self.classes}, {}

    @classmethod
    def from_state(cls, state: dict[str, Any], tensors: dict[str, Tensor]) -> ModelData:
        """The data object of a loaded learner: it predicts, but has no rows to train on."""
        data = cls(None)
        data.task, data.classes = state.get("task"), state.get("classes")
        return data

    def __repr__(self) -> str:
        parts = [
            f"{name} {n_rows(loader):,}"
            for name, loader in (("train", self.train_dl), ("valid", self.valid_dl), ("test", self.test_dl))
            if loader is not None
        ]
        return f"{type(self).__name__}({', '.join(parts) or 'no rows: for prediction only'})"


def n_rows(loader: Any) -> int:
    """How many rows a loader yields (its batches, if it does not tell)."""
    if hasattr(loader, "n_rows"):
        return loader.n_rows
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        return len(loader)


def device_batches(loader: Any, device: torch.device, training: bool) -> Iterator[tuple]:
    """The batches of a loader on `device`, transformed there if the loader asks for it."""
    if hasattr(loader, "to"):
        loader.to(device)
    transform = getattr(loader, "batch_transform", None)
    batches = prefetch(loader, device)
    if transform is None:
        yield from batches
        return
    generator = torch.Generator(device)
    seed, epoch = getattr(loader, "seed", 0), getattr(loader, "epoch", 0)
    for number, batch in enumerate(batches, getattr(loader, "start_batch", 0)):
        generator.manual_seed(mix_seeds(seed, epoch, number))
        yield transform(batch, training, generator)


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

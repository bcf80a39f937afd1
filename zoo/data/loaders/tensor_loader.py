"""Batches of rows that lie in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.batches import BatchTransform, as_tensor, at_least_one, drops_last
from zoo.data.loaders.seeding import checked_seed, draw_seed, epoch_order
from zoo.data.prepared import PLACE
from zoo.sealed import Sealed

GATHER_BYTES = 8 * 2**20  # rows of several small batches are gathered together, up to so many bytes


class TensorLoader(Sealed):
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
        self.bs, self.shuffle, self.drop_last = at_least_one(bs, "TensorLoader"), shuffle, drop_last
        self.seed = draw_seed() if checked_seed(seed) is None and shuffle else seed or 0
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
        other.bs = at_least_one(bs, "TensorLoader")
        other.drop_last = drops_last(self, bs)
        return other

    def prepared(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Settings and tensors, as `ModelData.save` keeps them; not the batch transform.

        Raises:
            TypeError: if there is a batch transform, which is code.
        """
        if self.batch_transform is not None:
            raise TypeError(
                f"its batch_transform ({type(self.batch_transform).__name__}) is code, which is not kept: "
                "save the data without it and set loader.batch_transform again when they are loaded"
            )
        names = ("bs", "shuffle", "seed", "drop_last", *PLACE)
        tensors = {str(number): tensor for number, tensor in enumerate(self.tensors)}
        return {name: getattr(self, name) for name in names}, tensors

    @classmethod
    def from_prepared(cls, settings: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        """The loader whose `prepared()` this is."""
        settings = dict(settings)
        place = {name: settings.pop(name) for name in PLACE}
        loader = cls(*(arrays[str(number)] for number in range(len(arrays))), **settings)
        vars(loader).update(place)
        return loader

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

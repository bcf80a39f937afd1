"""Padded batches of texts of similar length."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.device import send
from zoo.data.loaders.seeding import draw_seed, epoch_order
from zoo_text.data.text_ids import TextIds
from zoo_text.tokens.listed import check_whole
from zoo_text.tokens.vocab import PADDING_ID


class TextLoader:
    """Texts of different lengths as padded batches; texts of similar length share a batch.

    In training the batches are drawn anew each epoch, a pure function of `(seed, epoch)`: rows are shuffled,
    sorted by length inside pools of 50 batches, and the batches shuffled; the longest batch comes first, so
    that a lack of memory shows at once. Otherwise rows are sorted by length, and `order` tells where they
    came from.

    Args:
        ids: All texts joined, integers.
        offsets: Where each text starts; one more than there are texts.
        targets: One row a text.
        bs: Texts a batch; all batches of an epoch have nearly the same number.
        shuffle: For training: `bs` and the number of texts must be at least 2 then, and no batch is of a
            single text (one may be of `bs` + 1).
        seed: Of the order; drawn if None.
        max_tokens: Keep only the last so many tokens of a text.
        backward: Give the tokens of each text from its end on.

    Yields:
        ids (rows, longest), int64, padded at the end with 1; lengths (rows,), int64; targets.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        targets: np.ndarray,
        bs: int = 64,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        max_tokens: int | None = None,
        backward: bool = False,
    ) -> None:
        check_whole(1, bs=bs)
        if max_tokens is not None:
            check_whole(1, max_tokens=max_tokens)
        self.n_rows = len(offsets) - 1
        if self.n_rows == 0:
            raise ValueError("there are no texts")
        if shuffle and min(bs, self.n_rows) < 2:
            raise ValueError(f"training needs at least two texts a batch: bs is {bs}, texts {self.n_rows}")
        self.bs, self.shuffle = bs, shuffle
        self.seed = draw_seed() if seed is None and shuffle else seed or 0
        ends = np.asarray(offsets[1:])
        lengths = np.diff(offsets)
        if max_tokens is not None:
            lengths = np.minimum(lengths, max_tokens)
        self.ids = torch.from_numpy(np.asarray(ids))
        self.starts = torch.from_numpy(ends - lengths)
        self.lengths = torch.from_numpy(lengths)
        self.targets = torch.from_numpy(np.asarray(targets))
        self._sorted = torch.argsort(self.lengths, descending=True, stable=True)
        self.epoch = self.start_batch = 0
        self._offsets, self.max_tokens, self.backward = np.asarray(offsets), max_tokens, backward

    def with_bs(self, bs: int) -> TextLoader:
        """The same texts in batches of another size."""
        if bs < 1 + self.shuffle:
            raise ValueError(f"bs must be at least {1 + self.shuffle}, not {bs}")
        other = copy.copy(self)
        other.bs = bs
        return other

    def prepared(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Settings, token ids and targets, as `ModelData.save` keeps them."""
        names = ("bs", "shuffle", "seed", "max_tokens", "backward", "epoch", "start_batch")
        arrays = {"ids": self.ids, "offsets": torch.from_numpy(self._offsets), "targets": self.targets}
        return {name: getattr(self, name) for name in names}, arrays

    @classmethod
    def from_prepared(cls, settings: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        """The loader whose `prepared()` this is."""
        settings = dict(settings)
        epoch, start_batch = settings.pop("epoch"), settings.pop("start_batch")
        ids, offsets, targets = (arrays[name].numpy() for name in ("ids", "offsets", "targets"))
        loader = cls(ids, offsets, targets, **settings)
        loader.set_epoch(epoch, start_batch)
        return loader

    def texts(self) -> TextIds:
        """The token ids of each text as the network reads them, in the order of the rows."""
        ids, starts, lengths = self.ids.cpu().numpy(), self.starts.numpy(), self.lengths.numpy()
        if self.max_tokens is None:
            return TextIds(ids, self._offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return TextIds(ids[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets)

    @property
    def whole_lengths(self) -> np.ndarray:
        """Tokens of each text before it was cut."""
        return np.diff(self._offsets)

    def longest(self) -> TextLoader:
        """A single batch of the `bs` longest texts: no batch of training takes more memory."""
        other = copy.copy(self)
        other._sorted, other.shuffle = self._sorted[: self.bs], False
        other.n_rows = len(other._sorted)
        return other

    @property
    def order(self) -> Tensor | None:
        """Row numbers in the order of the batches."""
        return torch.cat(self.plan())

    def plan(self) -> list[Tensor]:
        """The rows of each batch of this epoch."""
        if not self.shuffle:
            return list(torch.tensor_split(self._sorted, len(self)))
        shuffled = epoch_order(self.n_rows, self.seed, self.epoch)
        pools = []
        for pool in shuffled.split(self.bs * 50):
            pools.append(pool[torch.argsort(self.lengths[pool], descending=True, stable=True)])
        batches = list(torch.tensor_split(torch.cat(pools), len(self)))
        longest = max(range(len(batches)), key=lambda number: int(self.lengths[batches[number]].max()))
        rest = [
            number
            for number in epoch_order(len(batches), self.seed + 1, self.epoch).tolist()
            if number != longest
        ]
        return [batches[number] for number in [longest, *rest]]

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the order of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch

    def to(self, device: torch.device) -> None:
        """Move the texts to a device, if they fill less than half of what is free there."""
        if self.ids.device == device:
            return
        if device.type == "cuda":
            size = self.ids.numel() * self.ids.element_size()
            if size > torch.cuda.mem_get_info(device)[0] / 2:
                return
        self.ids, self.targets = self.ids.to(device), self.targets.to(device)

    def __len__(self) -> int:
        count = -(-self.n_rows // self.bs)
        # batch normalisation cannot train on one row
        return min(count, self.n_rows // 2) if self.shuffle else count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        device = self.ids.device
        for rows in self.plan()[self.start_batch :]:
            lengths, starts = self.lengths[rows], self.starts[rows]
            steps = torch.arange(int(lengths.max()))
            real = steps < lengths[:, None]
            along = lengths[:, None] - 1 - steps if self.backward else steps
            places = torch.where(real, starts[:, None] + along, 0)
            ids = self.ids[send(places, device)].long().masked_fill_(send(~real, device), PADDING_ID)
            yield ids, send(lengths, device), self.targets[send(rows, device)]


def padded_ids(encoded: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """The ids of several texts as one batch.

    Args:
        encoded: the ids of each text.

    Returns:
        Ids of shape (texts, longest), int64, padded at the end; and the lengths.
    """
    lengths = torch.tensor([len(row) for row in encoded])
    padded = torch.full((len(encoded), int(lengths.max())), PADDING_ID)
    for row, own in enumerate(encoded):
        padded[row, : len(own)] = torch.from_numpy(np.asarray(own, dtype=np.int64))
    return padded, lengths


class SortedBatches:
    """Raw texts as padded batches of similar length, the longest first, for prediction.

    Args:
        encoded: the ids of each text.
        bs: texts a batch.

    Attributes:
        order: row numbers in the order of the batches, by which answers go back.

    Example:
        >>> batches = SortedBatches([np.array([2]), np.array([3, 4, 5]), np.array([6, 7])], bs=2)
        >>> [ids.tolist() for ids, _ in batches], batches.order.tolist()
        ([[[3, 4, 5], [6, 7, 1]], [[2]]], [1, 2, 0])
    """

    def __init__(self, encoded: Sequence[np.ndarray], bs: int = 64) -> None:
        self.encoded, self.bs = encoded, bs
        lengths = torch.tensor([len(row) for row in encoded])
        self.order = torch.argsort(lengths, descending=True, stable=True)

    def __len__(self) -> int:
        return -(-len(self.encoded) // self.bs)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.order.split(self.bs) if len(self.order) else ():
            yield padded_ids([self.encoded[row] for row in rows.tolist()])

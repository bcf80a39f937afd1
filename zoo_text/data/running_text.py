"""One long text as batches that go on where the last ones ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.seeding import draw_seed, mix_seeds


class LanguageModelLoader:
    """One long text cut into `bs` equal columns, read in step, a stretch of them a batch.

    Row r of batch k goes on where row r of batch k - 1 ended, so that a model can carry its state. In
    training the length of a stretch is random (bptt, in 5% of batches half of it, plus normal jitter), the
    same for all rows, and a pure function of `(seed, epoch)`.

    Args:
        ids: The whole text, integers; may be memory-mapped.
        bs: Columns.
        bptt: Steps a batch.
        random_length: Draw lengths; otherwise each is `bptt`.
        seed: Of the lengths; drawn if None.
        backward: Read each column from its end on.

    Yields:
        inputs (bs, steps), int64, and targets (bs x steps,): the same text one step on, flattened.

    Example:
        >>> loader = LanguageModelLoader(np.arange(9), bs=2, bptt=2)
        >>> [(x.tolist(), y.tolist()) for x, y in loader]
        [([[0, 1], [4, 5]], [1, 2, 5, 6]), ([[2], [6]], [3, 7])]
    """

    def __init__(
        self,
        ids: np.ndarray,
        bs: int = 64,
        bptt: int = 70,
        *,
        random_length: bool = False,
        seed: int | None = None,
        backward: bool = False,
    ) -> None:
        for name, value in (("bs", bs), ("bptt", bptt)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        steps = len(ids) // bs
        if steps < 2:
            raise ValueError(
                f"a text of {len(ids)} tokens is too short for {bs} columns: "
                f"use bs of at most {max(1, len(ids) // 2)}, or more text"
            )
        self.bs, self.bptt, self.random_length, self.backward = bs, bptt, random_length, backward
        self.seed = draw_seed() if seed is None and random_length else seed or 0
        self._ids = ids
        self.columns = torch.from_numpy(np.asarray(ids[: steps * bs]).reshape(bs, steps))
        self.n_rows = (steps - 1) * bs
        self.epoch = self.start_batch = 0
        self.lengths: list[int] = []
        self.set_epoch(0)

    @property
    def max_bs(self) -> int:
        """The most columns that this text can be cut into."""
        return len(self._ids) // 2

    def with_bs(self, bs: int) -> LanguageModelLoader:
        """The same text cut into another number of columns."""
        other = LanguageModelLoader(
            self._ids, bs, self.bptt, random_length=self.random_length, seed=self.seed,
            backward=self.backward,
        )  # fmt: skip
        other.set_epoch(self.epoch, self.start_batch)
        return other

    def prepared(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Settings and token ids, as `ModelData.save` keeps them."""
        names = ("bs", "bptt", "random_length", "seed", "backward", "epoch", "start_batch")
        return {name: getattr(self, name) for name in names}, {"ids": torch.from_numpy(np.asarray(self._ids))}

    @classmethod
    def from_prepared(cls, settings: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        """The loader whose `prepared()` this is."""
        settings = dict(settings)
        epoch, start_batch = settings.pop("epoch"), settings.pop("start_batch")
        loader = cls(arrays["ids"].numpy(), **settings)
        loader.set_epoch(epoch, start_batch)
        return loader

    def longest(self) -> LanguageModelLoader:
        """The same columns in stretches of the greatest length that can be drawn."""
        longest = self.bptt + 25 if self.random_length else self.bptt
        return LanguageModelLoader(self._ids, self.bs, longest, backward=self.backward)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the lengths of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch
        total, lengths = self.columns.shape[1] - 1, []
        rng = np.random.default_rng(mix_seeds(self.seed, epoch))
        done = 0
        while done < total:
            length = self.bptt
            if self.random_length:
                middle = self.bptt if rng.random() < 0.95 else self.bptt / 2
                length = round(rng.normal(middle, min(5.0, self.bptt / 14)))
                length = min(max(length, 1, min(5, self.bptt // 2)), self.bptt + 25)
            lengths.append(min(length, total - done))
            done += lengths[-1]
        self.lengths = lengths

    def to(self, device: torch.device) -> None:
        """Move the text to a device, if it fills less than half of what is free there."""
        if self.columns.device == device:
            return
        if device.type == "cuda":
            size = self.columns.numel() * self.columns.element_size()
            if size > torch.cuda.mem_get_info(device)[0] / 2:
                return
        self.columns = self.columns.to(device)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        start = sum(self.lengths[: self.start_batch])
        for length in self.lengths[self.start_batch :]:
            if self.backward:
                end = self.columns.shape[1] - start
                stretch = self.columns[:, end - length - 1 : end].flip(1).long()
            else:
                stretch = self.columns[:, start : start + length + 1].long()
            yield stretch[:, :-1], stretch[:, 1:].reshape(-1)
            start += length

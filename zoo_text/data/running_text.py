"""One long text as batches that go on where the last ones ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data.loaders.seeding import draw_seed, mix_seeds
from zoo_text.tokens.listed import check_whole


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
        whole: Every word but the first is a target once, after the word before it: each column begins with
            the last word of the one before, and what is left over comes last, in a row of its own.
        seed: Of the lengths; drawn if None.
        backward: Read each column from its end on.

    Yields:
        inputs (bs, steps), int64, and targets (bs x steps,): the same text one step on, flattened.

    Example:
        >>> loader = LanguageModelLoader(np.arange(9), bs=2, bptt=2)
        >>> [(x.tolist(), y.tolist()) for x, y in loader]
        [([[0, 1], [4, 5]], [1, 2, 5, 6]), ([[2], [6]], [3, 7])]
        >>> loader = LanguageModelLoader(np.arange(10), bs=2, bptt=2, whole=True)
        >>> [(x.tolist(), y.tolist()) for x, y in loader]
        [([[0, 1], [4, 5]], [1, 2, 5, 6]), ([[2, 3], [6, 7]], [3, 4, 7, 8]), ([[8]], [9])]
    """

    def __init__(
        self,
        ids: np.ndarray,
        bs: int = 64,
        bptt: int = 70,
        *,
        random_length: bool = False,
        whole: bool = False,
        seed: int | None = None,
        backward: bool = False,
    ) -> None:
        check_whole(1, bs=bs, bptt=bptt)
        steps = (len(ids) - 1) // bs + 1 if whole else len(ids) // bs
        if steps < 2:
            raise ValueError(
                f"a text of {len(ids)} tokens is too short for {bs} columns: "
                f"use bs of at most {max(1, len(ids) // 2)}, or more text"
            )
        self.bs, self.bptt, self.random_length, self.whole = bs, bptt, random_length, whole
        self.backward = backward
        self.seed = draw_seed() if seed is None and random_length else seed or 0
        self._ids = ids
        self.n_rows = (steps - 1) * bs
        if whole:
            text = torch.from_numpy(np.ascontiguousarray(ids[::-1] if backward else ids))
            self.columns = text.as_strided((bs, steps), (steps - 1, 1))
            self._rest = text[None, self.n_rows :]  # its first word is the last target of the columns
            self.n_rows = len(ids) - 1
        else:
            self.columns = torch.from_numpy(np.asarray(ids[: steps * bs]).reshape(bs, steps))
            self._rest = self.columns[:1, :1]
        self.epoch = self.start_batch = 0
        self.lengths: list[int] = []
        self.set_epoch(0)

    @property
    def text(self) -> np.ndarray:
        """The ids of the whole text, in its order."""
        return self._ids

    @property
    def max_bs(self) -> int:
        """The most columns that this text can be cut into."""
        return len(self._ids) - 1 if self.whole else len(self._ids) // 2

    def with_bs(self, bs: int) -> LanguageModelLoader:
        """The same text cut into another number of columns."""
        other = LanguageModelLoader(
            self._ids, bs, self.bptt, random_length=self.random_length, whole=self.whole, seed=self.seed,
            backward=self.backward,
        )  # fmt: skip
        other.set_epoch(self.epoch, self.start_batch)
        return other

    def prepared(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Settings and token ids, as `ModelData.save` keeps them."""
        names = ("bs", "bptt", "random_length", "whole", "seed", "backward", "epoch", "start_batch")
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
        return LanguageModelLoader(self._ids, self.bs, longest, whole=self.whole, backward=self.backward)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the lengths of the coming passes, and the batch at which they begin."""
        self.epoch, self.start_batch = epoch, start_batch
        rng = np.random.default_rng(mix_seeds(self.seed, epoch))
        self.lengths = self._drawn(self.columns.shape[1] - 1, rng)
        self._rest_lengths = self._drawn(self._rest.shape[1] - 1, rng)

    def _drawn(self, total: int, rng: np.random.Generator) -> list[int]:
        """Lengths of stretches, together `total`.

        They are not rounded to a few: that kernels are prepared anew for a new length cannot be seen in the
        time that it takes (200 and 400 features on a CPU: 9.3 ms a step of 32 columns either way).
        """
        lengths: list[int] = []
        while total > 0:
            length = self.bptt
            if self.random_length:
                middle = self.bptt if rng.random() < 0.95 else self.bptt / 2
                length = round(rng.normal(middle, min(5.0, self.bptt / 14)))
                length = min(max(length, 1, min(5, self.bptt // 2)), self.bptt + 25)
            lengths.append(min(length, total))
            total -= length
        return lengths

    def to(self, device: torch.device) -> None:
        """Move the text to a device, if it fills less than half of what is free there."""
        if self.columns.device == device:
            return
        if device.type == "cuda":
            size = self.columns.numel() * self.columns.element_size()
            if size > torch.cuda.mem_get_info(device)[0] / 2:
                return
        self.columns, self._rest = self.columns.to(device), self._rest.to(device)

    def __len__(self) -> int:
        return len(self.lengths) + len(self._rest_lengths)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        skipped = self.start_batch
        for columns, lengths in ((self.columns, self.lengths), (self._rest, self._rest_lengths)):
            start = sum(lengths[:skipped])
            for length in lengths[skipped:]:
                if self.backward and not self.whole:
                    end = columns.shape[1] - start
                    stretch = columns[:, end - length - 1 : end].flip(1).long()
                else:
                    stretch = columns[:, start : start + length + 1].long()
                yield stretch[:, :-1], stretch[:, 1:].reshape(-1)
                start += length
            skipped = max(0, skipped - len(lengths))


def evaluated_columns(words: int) -> int:
    """Into how many columns a text is cut to be evaluated: a figure of the text alone, so that what is
    measured does not depend on how a model was trained.

    Every column begins without anything that was read before; columns of about a thousand words hardly
    notice. Of the larger half of what is possible, that number which leaves the fewest words over.

    Args:
        words: How many words are targets.

    Example:
        >>> evaluated_columns(500), evaluated_columns(10_000), evaluated_columns(1_000_000)
        (1, 8, 64)
    """
    most = min(max(words // 1024, 1), 64)
    return min(range(most, most // 2, -1), key=lambda columns: words % columns)

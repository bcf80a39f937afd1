"""The output layer of a language model and its loss in one step, without keeping a score for every word of
the vocabulary.

Scores of a batch over a vocabulary are by far the largest tensors of a language model (4,480 tokens x 20,000
words is 360 MB). `FusedCrossEntropy` makes them block by block and computes the gradients on the way,
exactly, and `Deferred.read` tells an evaluation what it asks of them. With `sampled` a training scores only
some random words besides the right one, which is many times faster still and approximate.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.losses import CrossEntropyFlat
from zoo.metrics import LazyScores

_BLOCK_SCORES = 1 << 22
_WORDS = 128
"""Sampled words are filled up to a multiple of this: their number changes from batch to batch, and a CPU that
computes in bfloat16 prepares, and keeps, a matrix product for each new shape (22 ms and several MB)."""


@dataclass
class Deferred(LazyScores):
    """Logits that have not been computed: `hidden @ weight.T + bias`.

    Args:
        hidden: What the output layer is given, (rows, features).
        weight: Of the output layer, (words, features).
        bias: Of the output layer, (words,).

    Example:
        >>> scores = Deferred(torch.zeros(3, 2), torch.ones(4, 2), torch.tensor([0.0, 0.0, 1.0, 0.0]))
        >>> nats, likeliest = scores.read(torch.tensor([2, 2, 0]))
        >>> likeliest.tolist(), scores[-1:].scores().tolist()
        ([2, 2, 2], [[0.0, 0.0, 1.0, 0.0]])
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    _found: tuple[Tensor, tuple[Tensor, Tensor]] | None = field(default=None, repr=False)

    def __getitem__(self, rows: slice) -> Deferred:
        """Those of some rows."""
        return Deferred(self.hidden[rows], self.weight, self.bias)

    def scores(self) -> Tensor:
        """All of them, (rows, words)."""
        return F.linear(self.hidden, self.weight, self.bias)

    @torch.no_grad()
    def read(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `LazyScores`. The loss and all metrics of a batch ask with the same targets: one pass over the
        words answers all."""
        if self._found is None or self._found[0] is not targets:
            labels = targets.reshape(-1).long().clamp(min=0)
            nats, likeliest = torch.empty_like(labels, dtype=torch.float32), torch.empty_like(labels)
            step = max(1, _BLOCK_SCORES // len(self.weight))
            for start in range(0, len(labels), step):
                part = slice(start, start + step)
                scores = self[part].scores().float()
                top, likeliest[part] = scores.max(1)
                chosen = scores.gather(1, labels[part, None]).squeeze(1)
                nats[part] = scores.sub_(top[:, None]).exp_().sum(1).log_().add_(top).sub_(chosen)
            self._found = targets, (nats, likeliest)
        return self._found[1]


def _blocks(rows: int, most: int, few_lengths: bool = False) -> Iterator[slice]:
    """Stretches of at most `most` rows.

    Args:
        rows: How many there are.
        most: In a stretch.
        few_lengths: Have them equally long up to a rest in powers of two, so that there are few different
            lengths, however many rows there are; otherwise the rest is one stretch.
    """
    start, whole = 0, max(1, most if most < 64 else most // 64 * 64)
    while start < rows:
        left = rows - start
        rest = 1 << (left.bit_length() - 1) if few_lengths else left
        length = whole if left >= whole else rest
        yield slice(start, start + length)
        start += length


def _labels(preds: Deferred, target: Tensor) -> Tensor:
    """Word numbers, (rows,), checked as far as that needs no look at them."""
    if target.is_floating_point():
        raise TypeError(f"cross entropy needs word numbers as targets, got {target.dtype}")
    if target.numel() != len(preds.hidden):
        raise ValueError(
            f"cross entropy: {len(preds.hidden)} rows of scores, but targets of shape {tuple(target.shape)}"
        )
    return target.reshape(-1).long()


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of a linear layer's scores over the rows that are known, block by block."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, known: Tensor,
        correction: Tensor | None, low: torch.dtype | None,
    ) -> Tensor:  # fmt: skip
        rows, words = len(hidden), len(weight)
        common = low or torch.promote_types(hidden.dtype, weight.dtype)
        wide = torch.promote_types(common, torch.float32)
        x, w = hidden.to(common), weight.to(common)
        grad_hidden = torch.empty_like(x)
        grad_weight = torch.zeros_like(weight, dtype=wide)
        grad_bias = torch.zeros_like(bias, dtype=wide)
        losses = hidden.new_zeros(rows, dtype=wide)
        offset = bias if correction is None else bias - correction
        prepared = low is not None and hidden.device.type == "cpu"  # see `_WORDS`
        for part in _blocks(rows, _BLOCK_SCORES // words, few_lengths=prepared):
            scores = (x[part] @ w.t()).to(wide).add_(offset)
            right, counts = target[part, None], known[part, None]
            if correction is not None:  # the right word is there for certain
                scores.scatter_add_(1, right, correction[right].to(wide))
            top = scores.amax(1, keepdim=True)
            chosen = scores.gather(1, right)
            probs = scores.sub_(top).exp_()
            total = probs.sum(1, keepdim=True)
            losses[part] = (total.log() + top - chosen).squeeze(1)
            # rows that do not count have slopes of zero
            probs.div_(total.masked_fill_(~counts, math.inf)).scatter_add_(1, right, -counts.to(wide))
            grad_bias += probs.sum(0)
            slope = probs.to(common)
            grad_hidden[part] = slope @ w
            grad_weight += slope.t() @ x[part]
        ctx.count = known.sum()
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return losses.masked_fill_(~known, 0.0).sum() / ctx.count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / ctx.count
        hidden, weight, bias = ctx.saved_tensors
        return hidden.to(scale.dtype) * scale, weight * scale, bias * scale, None, None, None, None


class FusedCrossEntropy(nn.Module):
    """Cross entropy in nats of logits, or of a linear layer that has not been applied yet (`Deferred`).

    Args:
        sampled: In training score only the words that occur in the batch and this many others, drawn evenly,
            each score corrected for the chance of being among them (after Jean et al. 2015). The training
            loss is then an estimate; the validation loss stays exact. None scores all words.
        counts: How often each word occurs in training, for that correction; (vocab_sz,).
    """

    def __init__(self, sampled: int | None = None, counts: Tensor | None = None) -> None:
        super().__init__()
        if sampled is not None and (
            isinstance(sampled, bool) or not isinstance(sampled, numbers.Integral) or sampled < 1
        ):
            raise ValueError(f"sampled must be a whole number of at least 1, not {sampled!r}")
        self.sampled = sampled
        if sampled is not None and counts is None:
            raise ValueError("sampled needs counts, how often each word occurs in training")
        self.plain = CrossEntropyFlat()
        self.activation = self.plain.activation
        self.share: Tensor | None
        self.register_buffer("share", None if counts is None else (counts + 1.0) / (counts + 1.0).sum())

    def forward(self, preds: Tensor | Deferred, target: Tensor) -> Tensor:
        """The mean loss over tokens; exact wherever no gradients are wanted."""
        if isinstance(preds, Tensor):
            return self.plain(preds, target)
        labels = _labels(preds, target)
        known = labels != self.plain.ignore_index
        if not torch.is_grad_enabled():
            return preds.read(target)[0].masked_fill(~known, 0.0).sum() / known.sum()
        hidden, weight, bias = preds.hidden, preds.weight, preds.bias
        device = hidden.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        correction = None
        with torch.autocast(device, enabled=False):
            if self.sampled is not None and self.sampled < len(weight):
                words, labels, correction = self._choose(labels, known, len(weight))
                weight, bias = F.embedding(words, weight), bias[words]
            else:
                labels = labels.masked_fill(~known, 0)
            return _LinearCrossEntropy.apply(hidden, weight, bias, labels, known, correction, low)

    def counted(self, targets: Tensor) -> Tensor | None:
        """What the mean is over: how many tokens."""
        return self.plain.counted(targets)

    def _choose(self, target: Tensor, known: Tensor, n_words: int) -> tuple[Tensor, Tensor, Tensor]:
        """Words to score, the targets' places among them (of those that are not known any), and each word's
        log-probability of being there."""
        if self.sampled is None or self.share is None:
            raise RuntimeError("all words are scored: there is nothing to choose")
        if len(self.share) != n_words:
            raise ValueError(f"counts are of {len(self.share)} words, the output layer has {n_words}")
        draws = torch.randint(n_words, (self.sampled,), device=target.device)
        target = target.where(known, draws[0])
        present, place = torch.unique(torch.cat([target, draws]), return_inverse=True)
        missing = known.sum() * torch.log1p(-self.share[present]) + self.sampled * math.log1p(-1 / n_words)
        filled = (0, -len(present) % _WORDS)  # with words that are certainly not meant
        return (
            F.pad(present, filled),
            place[: len(target)],
            F.pad((-torch.expm1(missing)).log(), filled, value=math.inf),
        )

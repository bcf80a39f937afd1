"""What a linear model says of a text, as a part of a network."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_text.model.document import occurrences
from zoo_text.tokens.vocab import PADDING_ID

FOLDS = 5
"""Linear models that a `LinearScores` holds, each fitted without a fifth of the texts."""


class LinearScores(nn.Module):
    """Scores from the words and pairs of neighbouring words that a text holds, and from a vector of the whole
    text. They are fitted once (`zoo_text.linear_start`), not trained by gradients: the network beside them
    learns what they miss, as the deep part beside the wide one (Cheng et al. 2016, "Wide & Deep").

    A linear model of many words knows its own training texts by heart, and would leave nothing to learn from
    them. So there are `FOLDS` of them, each fitted without the texts of one fold. In training a text gets the
    scores of the one that has not seen it; otherwise those of all are averaged. The fold of a text is the sum
    of its ids modulo `FOLDS`.

    Args:
        n_words: Size of the vocabulary.
        n_grams: Words and pairs that count.
        features: Size of the vectors of whole texts.
        n_out: Number of scores.
        folds: `FOLDS`, or 0 where only the mean of the models is kept: for answers, or for other texts.

    Attributes:
        trust: What the scores of the network beside it are multiplied by; 1 until it is fitted.

    Shape:
        ids (rows, steps), padded anywhere, vectors (rows, features) -> (rows, n_out), float32.

    Example:
        >>> linear = LinearScores(10, 2, 0, 1).eval()
        >>> _ = linear.keys.copy_(torch.tensor([3, 10 * (1 + 3) + 4]))  # the word 3, and 3 before 4
        >>> linear.weight[0] = torch.tensor([[1.0], [3.0]])
        >>> [round(x, 2) for [x] in linear(torch.tensor([[4, 3, 1], [3, 4, 3]])).tolist()]
        [1.0, 2.83]
    """

    # weights of older versions, which had no such part, say what they said
    added_later: ClassVar[dict[str, float]] = {"keys": 0, "weight": 0.0, "bias": 0.0, "trust": 1.0}

    keys: Tensor
    weight: Tensor
    bias: Tensor
    trust: Tensor

    def __init__(self, n_words: int, n_grams: int, features: int, n_out: int, folds: int = FOLDS) -> None:
        super().__init__()
        if folds not in (0, FOLDS):
            raise ValueError(f"folds is 0 or {FOLDS}, not {folds!r}")
        self.n_words, self.n_grams, self.features, self.folds = n_words, n_grams, features, folds
        # keys: ascending, as `NGrams.keys`; weight and bias: first the mean, then each fold's
        self.register_buffer("keys", torch.arange(n_grams))
        self.register_buffer("weight", torch.zeros(1 + folds, n_grams + features, n_out))
        self.register_buffer("bias", torch.zeros(1 + folds, n_out))
        self.register_buffer("trust", torch.ones(()))

    def forward(self, ids: Tensor, vectors: Tensor | None = None, shares: Tensor | None = None) -> Tensor:
        """The scores.

        Args:
            ids: (rows, steps).
            vectors: Of the whole texts, (rows, features).
            shares: How much of each token is there, (rows, steps); all by default. The scale stays that of
                the whole text, and a pair is there as much as its words on average.
        """
        apart = self.training and self.folds > 0
        fold = 1 + self.fold(ids) if apart else torch.zeros_like(ids[:, 0])
        scores = self.bias[fold]
        if self.n_grams:
            scores = scores + self._of_words(ids, shares, fold)
        if vectors is not None and self.features:
            scores = scores + torch.einsum("rf,rfo->ro", vectors, self.weight[fold, self.n_grams :])
        return scores

    @torch.no_grad()
    def forget_vectors(self) -> None:
        """Lets the vectors of whole texts say nothing."""
        self.weight[:, self.n_grams :] = 0

    @staticmethod
    def fold(ids: Tensor) -> Tensor:
        """The fold of each text, (rows,)."""
        return ids.masked_fill(ids == PADDING_ID, 0).sum(1) % FOLDS

    def _of_words(self, ids: Tensor, shares: Tensor | None, fold: Tensor) -> Tensor:
        real = ids != PADDING_ID  # unknown words are in no key
        pairs = (1 + ids[:, :-1]) * self.n_words + ids[:, 1:]
        wanted = torch.cat([ids, pairs], 1)
        places = torch.searchsorted(self.keys, wanted).clamp(max=self.n_grams - 1)
        found = (self.keys[places] == wanted) & torch.cat([real, real[:, :-1] & real[:, 1:]], 1)
        each = found / occurrences(torch.where(found, places, -1))
        scale = each.sum(1, keepdim=True).clamp(min=1).sqrt()
        if shares is not None:
            each = each * torch.cat([shares, (shares[:, :-1] + shares[:, 1:]) / 2], 1)
        rows = fold[:, None] * self.weight.shape[1] + places
        weight = self.weight.float().flatten(0, 1)
        return F.embedding_bag(rows, weight, per_sample_weights=(each / scale).to(weight), mode="sum")

    def extra_repr(self) -> str:
        return f"{self.n_grams} words and pairs, {self.features} features, {self.bias.shape[1]} scores"

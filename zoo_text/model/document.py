"""A vector for a whole text, whatever the order of its words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DocumentVectors(nn.Module):
    """Latent semantic indexing (Deerwester et al. 1990): the sum of the vectors of a text's different words,
    scaled to length 1.

    The vectors come from which words occur in the same texts (`zoo_text.data.documents`), and are not
    trained. A word counts once however often it occurs; words that are not known count nothing.

    Args:
        vocab_sz: Number of words.
        size: Features.

    Shape:
        ids (rows, steps), padded anywhere -> (rows, size), float32.

    Example:
        >>> vectors = DocumentVectors(4, 2)
        >>> _ = vectors.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]))
        >>> [[round(x, 3) for x in row] for row in vectors(torch.tensor([[2, 3, 2], [2, 2, 1]])).tolist()]
        [[0.6, 0.8], [1.0, 0.0]]
    """

    weight: Tensor

    def __init__(self, vocab_sz: int, size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(vocab_sz, size))

    def forward(self, ids: Tensor, shares: Tensor | None = None) -> Tensor:
        """The vectors of texts.

        Args:
            ids: (rows, steps).
            shares: How much of each token is there, (rows, steps); all by default. The scale stays that of
                the whole text.
        """
        each = 1.0 / occurrences(ids)
        whole = self._sums(ids, each)
        length = whole.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return (whole if shares is None else self._sums(ids, each * shares)) / length

    def _sums(self, ids: Tensor, each: Tensor) -> Tensor:
        weight = self.weight.float()
        return F.embedding_bag(ids, weight, per_sample_weights=each.to(weight), mode="sum")

    def extra_repr(self) -> str:
        return "{}, {}".format(*self.weight.shape)


def occurrences(ids: Tensor) -> Tensor:
    """How often each token occurs in its row, (rows, steps), float32.

    Example:
        >>> occurrences(torch.tensor([[5, 7, 5], [1, 1, 1]])).tolist()
        [[2.0, 1.0, 2.0], [3.0, 3.0, 3.0]]
    """
    ordered, places = ids.sort(1)
    before = F.pad(ordered, (1, 0), value=-2)[:, :-1]  # no token is -2; the sizes suit exporters
    run = (ordered != before).long().cumsum(1) - 1
    counts = torch.zeros(ids.shape, device=ids.device).scatter_add_(1, run, torch.ones_like(run).float())
    return torch.empty_like(counts).scatter_(1, places, counts.gather(1, run))

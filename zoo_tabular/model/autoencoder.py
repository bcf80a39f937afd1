"""Features without targets: a network that repairs rows learns what a row is in a few numbers.

Rows go in with some cells swapped for those of other rows, and the network must give back the rows as they
were, through a narrow middle; what the middle says about a row are its features. Swap noise as in the winning
entry of the Porto Seguro competition (M. Jahrer 2017, kaggle.com/c/porto-seguro-safe-driver-prediction,
discussion 44629: 15% of the cells); denoising autoencoders by Vincent et al. 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.losses import Activation
from zoo.storage.registry import register_model
from zoo_tabular.model.layers import FusedEmbedding


def _example() -> tuple[nn.Module, tuple[Tensor, Tensor], Tensor]:
    model = AutoencoderModel([(5, 3), (4, 2)], 3, 2, [8])
    codes = torch.tensor([[0, 1], [4, 3], [2, 0], [1, 2]])
    numbers = torch.linspace(-1, 1, 12).view(4, 3)
    return model, (codes, numbers), torch.cat([numbers, torch.zeros(4, 9)], 1)


@register_model("tabular.autoencoder", example=_example)
class AutoencoderModel(nn.Module):
    """Embeddings and numbers -> hidden layers -> narrow middle -> hidden layers -> all columns.

    Args:
        emb_szs: (levels, width) of every category column; may be empty.
        n_cont: number columns; may be 0.
        width: numbers in the middle.
        szs: hidden sizes before the middle, mirrored after it; may be empty.

    Shape:
        codes (rows, category columns), numbers (rows, n_cont) -> (rows, n_cont + sum of levels): numbers,
        then scores of the levels of each category.

    Example:
        >>> model = AutoencoderModel([(5, 3)], 2, 4, [8]).eval()
        >>> inputs = torch.zeros(6, 1, dtype=torch.long), torch.zeros(6, 2)
        >>> model(*inputs).shape, model.encode(*inputs).shape
        (torch.Size([6, 7]), torch.Size([6, 4]))
    """

    def __init__(
        self, emb_szs: Sequence[Sequence[int]], n_cont: int, width: int = 16, szs: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        if width < 1 or any(size < 1 for size in szs):
            raise ValueError(f"width and szs must be positive, got {width} and {list(szs)}")
        if n_cont < 0 or (not n_cont and not len(emb_szs)):
            raise ValueError("the model needs at least one category or number column")
        self.n_cont, self.width = n_cont, width
        self.embeddings = FusedEmbedding(emb_szs) if len(emb_szs) else None
        n_in = n_cont + (self.embeddings.out_features if self.embeddings is not None else 0)
        self.encoder = nn.Sequential(*_layers(n_in, szs), nn.Linear(szs[-1] if len(szs) else n_in, width))
        back = list(reversed(szs))
        n_out = n_cont + sum(int(levels) for levels, _ in emb_szs)
        self.decoder = nn.Sequential(*_layers(width, back), nn.Linear(back[-1] if back else width, n_out))

    def encode(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """The middle: features of shape (rows, width)."""
        parts = [] if self.embeddings is None else [self.embeddings(codes)]
        parts += [numbers] if self.n_cont else []
        return self.encoder(torch.cat(parts, 1))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return self.decoder(self.encode(codes, numbers))

    def layer_groups(self) -> dict[str, Any]:
        """Embeddings, then the way to the middle, then the way back."""
        first = {"embeddings": [self.embeddings]} if self.embeddings is not None else {}
        return {**first, "encoder": [self.encoder], "decoder": [self.decoder]}


def _layers(n_in: int, szs: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size in szs:
        layers += [nn.Linear(n_in, size), nn.ReLU(), nn.BatchNorm1d(size)]
        n_in = size
    return layers


class ReconstructionLoss(nn.Module):
    """How far rebuilt rows are from the real ones, as the mean over columns.

    Squared error of scaled numbers, cross entropy of categories divided by the logarithm of their levels: a
    network that knows nothing is at about 1 in every column.

    Args:
        n_cont: number columns.
        levels: codes of each category column.

    Shape:
        predictions (rows, n_cont + sum of levels), targets (rows, n_cont + categories); result: a scalar.
    """

    def __init__(self, n_cont: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.n_cont, self.levels = n_cont, list(levels)
        self.activation = Activation("identity")

    def forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        return self.cells(preds, targets).mean()

    def cells(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The loss of every cell, shape (rows, n_cont + categories)."""
        preds = preds.float()
        parts = [(preds[:, : self.n_cont] - targets[:, : self.n_cont]).square()]
        scores = preds[:, self.n_cont :].split(self.levels, 1) if self.levels else ()
        for i, part in enumerate(scores):
            wrong = F.cross_entropy(part, targets[:, self.n_cont + i].long(), reduction="none")
            parts.append(wrong[:, None] / math.log(self.levels[i]))
        return torch.cat(parts, 1)


class SwapNoise:
    """Swaps cells of training rows for those of other rows of the batch; the targets stay as they were.

    Args:
        rate: share of the cells.
    """

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"swap_noise is a share of cells, at least 0 and below 1, got {rate}")
        self.rate = rate

    def __call__(self, batch: tuple, training: bool, generator: torch.Generator) -> tuple:
        if not training or not self.rate:
            return batch
        *inputs, target = batch
        return *(self._swap(part, generator) for part in inputs), target

    def _swap(self, part: Tensor, generator: torch.Generator) -> Tensor:
        options = {"generator": generator, "device": part.device}
        others = torch.randint(len(part), part.shape, **options)
        hit = torch.rand(part.shape, **options) < self.rate
        return torch.where(hit, part.gather(0, others), part)

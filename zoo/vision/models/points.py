"""Points in pictures: a head that looks where each point is, instead of pooling the places away."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.storage.registry import register_model
from zoo.vision.models.architectures import arch_name
from zoo.vision.models.bodies import probe
from zoo.vision.models.transfer import TransferModel, transfer_body


class PointsHead(nn.Module):
    """A map for each point, and the mean place under the softmax of the map.

    Nibali et al. 2018, "Numerical Coordinate Regression with Convolutional Neural Networks" (the
    differentiable spatial to numerical transform), without its regularisation. A linear layer on pooled
    features has to learn places from what pooling left of them; this head has a weight a channel and point,
    so that a hundred pictures are enough. A factor and a shift a coordinate let points lie between the
    middles of the outermost cells and the edges, and beyond. It begins in the middle of the picture.

    Args:
        n_in: channels of the feature map.
        n_points: how many points.
        p: dropout of whole channels.

    Example:
        >>> PointsHead(8, 3).eval()(torch.randn(2, 8, 4, 5)).abs().max().item() < 1e-6
        True
    """

    def __init__(self, n_in: int, n_points: int, p: float = 0.25) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm2d(n_in), nn.Dropout2d(p)
        self.maps = nn.Conv2d(n_in, n_points, 1)
        self.factor = nn.Parameter(torch.ones(n_points, 2))
        self.shift = nn.Parameter(torch.zeros(n_points, 2))
        nn.init.zeros_(self.maps.weight)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """N x n_in x H x W -> N x 2 n_points, x and y of each point in [-1, 1] of the picture."""
        maps = self.maps(self.dropout(self.norm(features)))
        height, width = maps.shape[2:]
        shares = maps.flatten(2).softmax(2).unflatten(2, (height, width))
        x, y = (
            (torch.arange(n, device=maps.device, dtype=shares.dtype) + 0.5) * 2 / n - 1
            for n in (width, height)
        )
        places = torch.stack([(shares.sum(2) * x).sum(2), (shares.sum(3) * y).sum(2)], 2)
        return (places * self.factor + self.shift).flatten(1)


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return points_model("squeezenet1_1", 2), (torch.randn(2, 3, 64, 64),), torch.rand(2, 4) * 2 - 1


@register_model("vision.points", example=_example)
def points_model(arch: str, n_points: int, c_in: int = 3, p: float = 0.25) -> TransferModel:
    """A body with random weights and a `PointsHead`.

    Args:
        arch: name of an architecture.
        n_points: how many points.
        c_in: channels of the pictures.
        p: the head's dropout.

    >>> points_model("squeezenet1_1", 5).eval()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """
    body = transfer_body(arch_name(arch), c_in)
    n_features, cut = probe(body, c_in)
    return TransferModel(body, PointsHead(n_features, n_points, p), cut, pooled=False)

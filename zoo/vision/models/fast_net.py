"""A network that learns 32x32 photos to 94% within seconds on a GPU."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.storage.registry import register_model


class ShiftNorm(nn.BatchNorm2d):
    """Batch norm that shifts but does not scale, with quick statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4, affine=False)
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        """N x channels x H x W in, the same shape out."""
        return super().forward(input) + self.shift[:, None, None]


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    """3x3, same size, without bias; the first `c_in` filters start by handing their channel on."""
    conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[: min(c_in, c_out)])
    return conv


class ConvGroup(nn.Module):
    """Convolution, maximum over 2x2, norm, GELU, convolution, norm, GELU.

    Args:
        c_in: channels in.
        c_out: channels out.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(c_in, c_out), ShiftNorm(c_out)
        self.conv2, self.norm2 = _conv(c_out, c_out), ShiftNorm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x H/2 x W/2."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Whitening(nn.Module):
    """A 2x2 convolution whose filters decorrelate the patches of the training pictures, and are not trained.

    The filters are a buffer: saved with the weights, never updated. They start at random.

    Args:
        c_in: channels of the pictures; 8 * c_in come out.
    """

    filters: Tensor

    def __init__(self, c_in: int) -> None:
        super().__init__()
        n = 4 * c_in
        self.register_buffer(
            "filters", _both_signs(nn.init.orthogonal_(torch.empty(n, n))).view(-1, c_in, 2, 2)
        )
        self.bias = nn.Parameter(torch.zeros(2 * n))

    @torch.no_grad()
    def fit(self, pictures: Tensor, eps: float = 5e-4) -> None:
        """Take the filters from pictures.

        Args:
            pictures: some thousand normalised training pictures, N x c_in x H x W.
            eps: added to the variances, so that what hardly occurs is not amplified without bound.
        """
        c_in = self.filters.shape[1]
        patches = F.unfold(pictures.float(), 2).transpose(1, 2).reshape(-1, 4 * c_in)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        rows = directions.T / (variances + eps).sqrt()[:, None]
        self.filters.copy_(_both_signs(rows).view_as(self.filters))

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x 8 c_in x H - 1 x W - 1."""
        return F.conv2d(x, self.filters.to(x.dtype), self.bias.to(x.dtype))


def _both_signs(rows: Tensor) -> Tensor:
    return torch.cat([rows, -rows])


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return FastNet(3, widths=(8, 12)), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.fast_net", example=_example)
class FastNet(nn.Module):
    """The network of K. Jordan's "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024, airbench94).

    A whitening 2x2 convolution (Page 2019, "How to train your ResNet"), groups of two 3x3 convolutions with
    GELU and a norm without scale, filters that start as the identity, the maximum over the picture, and a
    linear layer whose outputs are scaled down. There: pictures with alternating flips and shifts by 2 pixels,
    label smoothing 0.2, SGD with Nesterov momentum 0.85, one cycle of 9 epochs at batch size 1,024, a rate 64
    times as high for the norms' shifts, and the mean over mirrored views.

    Args:
        n_classes: outputs.
        widths: channels of the groups.
        whiten: whether the whitening layer comes first; `whiten_with` gives it its filters.
        scale: factor of the outputs.
        c_in: channels of the pictures, of at least 2 ** (1 + number of groups) pixels.

    >>> model = FastNet(10).whiten_with(torch.randn(50, 3, 32, 32))
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_classes: int,
        widths: Sequence[int] = (64, 256, 256),
        whiten: bool = True,
        scale: float = 1 / 9,
        c_in: int = 3,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must name the channels of at least one group, got {list(widths)}")
        self.whitening = Whitening(c_in) if whiten else None
        sizes = [8 * c_in if whiten else c_in, *widths]
        self.groups = nn.Sequential(*(ConvGroup(a, b) for a, b in itertools.pairwise(sizes)))
        self.head = nn.Linear(widths[-1], n_classes, bias=False)
        self.scale = scale

    def whiten_with(self, pictures: Tensor) -> Self:
        """Take the first layer's filters from normalised training pictures (N x c_in x H x W), some thousand.

        Raises:
            ValueError: the model was made with `whiten=False`.
        """
        if self.whitening is None:
            raise ValueError("this FastNet has no whitening layer: make it with whiten=True")
        self.whitening.fit(pictures.to(self.whitening.filters.device))
        return self

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x n_classes (no softmax)."""
        if self.whitening is not None:
            x = F.gelu(self.whitening(x))
        return self.head(self.groups(x).amax((2, 3))) * self.scale

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Whitening with the first half of the groups, the other groups, head."""
        groups = list(self.groups)
        half = len(groups) // 2
        first = [] if self.whitening is None else [self.whitening]
        parts = {"early": [*first, *groups[:half]], "late": groups[half:], "head": [self.head]}
        return {name: modules for name, modules in parts.items() if modules}

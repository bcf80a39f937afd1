"""Plain networks for pictures of about 28 to 32 pixels, from scratch, each a step up from the one before.

Fully connected, convolutions, batch norm, residual blocks. A larger residual network is in `resnet_small`, a
wide one in `wide_resnet`, and `fast_net` is the quickest to train.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from zoo.engine.init import kaiming_head
from zoo.storage.registry import register_model
from zoo.vision.models.layers import conv_layer, res_block


def _fully_connected() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return SimpleNet(3, 8, hidden=(12,)), (torch.randn(2, 1, 8, 8),), torch.tensor([0, 2])


@register_model("vision.simple_net", example=_fully_connected)
class SimpleNet(nn.Module):
    """A fully connected network: every pixel is an input of its own.

    Args:
        n_classes: outputs.
        sz: side of the pictures in pixels, or (height, width); other sizes cannot be read.
        hidden: sizes of the hidden layers; () for a linear model.
        p: dropout after each hidden layer.
        c_in: channels of the pictures.

    >>> SimpleNet(10, 28)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_classes: int,
        sz: int | tuple[int, int] = 28,
        hidden: Sequence[int] = (100,),
        p: float = 0.0,
        c_in: int = 1,
    ) -> None:
        super().__init__()
        height, width = (sz, sz) if isinstance(sz, int) else sz
        sizes = [c_in * height * width, *hidden, n_classes]
        _positive(sizes, f"hidden={list(hidden)}, sz={sz}, c_in={c_in}, {n_classes} classes")
        self.sz = (height, width)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes[:-1]):
            layers += [nn.Linear(a, b), nn.ReLU(inplace=True), *([nn.Dropout(p)] if p else [])]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(sizes[-2], n_classes)
        kaiming_head(self)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x n_classes (no softmax).

        Raises:
            ValueError: pictures of another size.
        """
        if tuple(x.shape[-2:]) != self.sz:
            raise ValueError(
                f"a fully connected network reads one size: made for sz={self.sz}, the pictures have "
                f"{tuple(x.shape[-2:])} pixels"
            )
        return self.head(self.body(x))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Hidden layers, if there are any, and the last layer."""
        if next(self.body.parameters(), None) is None:
            return {"head": [self.body, self.head]}
        return {"body": [self.body], "head": [self.head]}


class _ConvStack(nn.Module):
    """Convolutions of stride 2, the maximum over the picture, a linear layer."""

    norm: ClassVar[bool] = False
    residual: ClassVar[bool] = False

    def __init__(self, n_classes: int, widths: Sequence[int], p: float, c_in: int) -> None:
        super().__init__()
        _positive(
            [*widths, n_classes, c_in, len(widths)],
            f"widths={list(widths)}, {n_classes} classes, c_in={c_in}",
        )
        sizes = [c_in, *widths]
        layers = [
            conv_layer(a, b, stride=1 if self.norm and i == 0 else 2, norm=self.norm)
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        ]
        if self.residual:
            layers[1:] = [
                nn.Sequential(layer, res_block(width))
                for layer, width in zip(layers[1:], widths[1:], strict=True)
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(p), nn.Linear(widths[-1], n_classes)
        )
        kaiming_head(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x n_classes (no softmax)."""
        return self.head(self.body(x))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """The first half of the convolutions, the others, the last layer."""
        convs = list(self.body)
        half = len(convs) // 2
        groups = {"early": convs[:half], "late": convs[half:], "head": [self.head]}
        return {name: modules for name, modules in groups.items() if modules}


def _conv() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return ConvNet(3, widths=(4, 8)), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.conv_net", example=_conv)
class ConvNet(_ConvStack):
    """Convolutions of stride 2 with ReLU, the maximum over the picture, a linear layer.

    Args:
        n_classes: outputs.
        widths: channels of the convolutions.
        p: dropout before the last layer.
        c_in: channels of the pictures, which may have any size.

    >>> ConvNet(10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, n_classes: int, widths: Sequence[int] = (20, 40, 80), p: float = 0.0, c_in: int = 3
    ) -> None:
        super().__init__(n_classes, widths, p, c_in)


def _conv_bn() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return ConvNetBn(3, widths=(4, 8)), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.conv_net_bn", example=_conv_bn)
class ConvNetBn(_ConvStack):
    """The same with batch norm after each convolution (Ioffe & Szegedy 2015), and a first one of stride 1.

    Args:
        n_classes: outputs.
        widths: channels of the convolutions.
        p: dropout before the last layer.
        c_in: channels of the pictures, which may have any size.

    >>> ConvNetBn(10, c_in=1)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    norm: ClassVar[bool] = True

    def __init__(
        self, n_classes: int, widths: Sequence[int] = (10, 20, 40, 80, 160), p: float = 0.0, c_in: int = 3
    ) -> None:
        super().__init__(n_classes, widths, p, c_in)


def _conv_res() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return ConvNetRes(3, widths=(4, 8)), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.conv_net_res", example=_conv_res)
class ConvNetRes(ConvNetBn):
    """`ConvNetBn` with a residual block (He et al. 2015) after each convolution that halves the picture.

    Args:
        n_classes: outputs.
        widths: channels of the convolutions.
        p: dropout before the last layer.
        c_in: channels of the pictures, which may have any size.

    >>> ConvNetRes(10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    residual: ClassVar[bool] = True


def _positive(sizes: Sequence[int], given: str) -> None:
    if min(sizes) < 1:
        raise ValueError(f"layer sizes must be positive, got {given}")

"""Building blocks for networks and heads of one's own."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdaptiveConcatPool2d(nn.Module):
    """Maximum and mean over cells of the picture, side by side: N x C x H x W -> N x 2C x size x size.

    Args:
        size: cells along each side.

    >>> AdaptiveConcatPool2d()(torch.zeros(2, 8, 5, 7)).shape
    torch.Size([2, 16, 1, 1])
    """

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be at least 1 cell, got {size}")
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W -> N x 2C x size x size, the maxima first."""
        return torch.cat([F.adaptive_max_pool2d(x, self.size), F.adaptive_avg_pool2d(x, self.size)], 1)

    def extra_repr(self) -> str:
        """The argument, for printing."""
        return f"size={self.size}"


def conv_layer(
    c_in: int,
    c_out: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    norm: bool = True,
    activation: bool = True,
    zero_norm: bool = False,
) -> nn.Sequential:
    """Convolution with the padding that keeps a picture's size (at stride 1), batch norm, ReLU.

    The convolution starts with Kaiming's rule (He et al. 2015) and has a bias only where no norm follows.

    Args:
        c_in: channels in.
        c_out: channels out.
        kernel_size: side of the filters in pixels.
        stride: step of the filters in pixels.
        norm: whether batch norm follows.
        activation: whether a ReLU comes last.
        zero_norm: whether the norm starts at zero, as the last one of a residual block may.

    >>> [type(layer).__name__ for layer in conv_layer(3, 8, stride=2)]
    ['Conv2d', 'BatchNorm2d', 'ReLU']
    """
    if zero_norm and not norm:
        raise ValueError("zero_norm=True needs norm=True")
    conv = nn.Conv2d(c_in, c_out, kernel_size, stride, kernel_size // 2, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu" if activation else "linear")
    layers: list[nn.Module] = [conv]
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    if norm:
        layers.append(nn.BatchNorm2d(c_out))
        if zero_norm:
            nn.init.zeros_(layers[-1].get_parameter("weight"))
    if activation:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class res_block(nn.Module):
    """Two `conv_layer`s added to their input (He et al. 2015), which keep channels and size.

    Args:
        channels: in and out.
        dense: whether the input is joined as further channels instead of added (Huang et al. 2016); then
            twice the channels come out.
        zero_norm: whether the block starts as the identity.

    >>> res_block(8)(torch.zeros(2, 8, 5, 5)).shape, res_block(8, dense=True)(torch.zeros(2, 8, 5, 5)).shape
    (torch.Size([2, 8, 5, 5]), torch.Size([2, 16, 5, 5]))
    """

    def __init__(self, channels: int, *, dense: bool = False, zero_norm: bool = False) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_layer(channels, channels), conv_layer(channels, channels, zero_norm=zero_norm)
        )
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        """N x channels x H x W -> the same shape, or with `dense` twice the channels."""
        return torch.cat([x, self.convs(x)], 1) if self.dense else x + self.convs(x)


class Upsample(nn.Module):
    """Twice the height and width, by a learned pixel shuffle or by interpolation.

    The pixel shuffle (Shi et al. 2016) starts as nearest-neighbour interpolation (ICNR, Aitken et al. 2017),
    so that it draws no checkerboard.

    Args:
        c_in: channels in.
        c_out: channels out.
        how: "shuffle", or "bilinear" with a 1x1 convolution.

    >>> Upsample(8, 4)(torch.zeros(2, 8, 5, 7)).shape
    torch.Size([2, 4, 10, 14])
    """

    def __init__(self, c_in: int, c_out: int, how: Literal["shuffle", "bilinear"] = "shuffle") -> None:
        super().__init__()
        if how not in ("shuffle", "bilinear"):
            raise ValueError(f'upsampling must be "shuffle" or "bilinear", got {how!r}')
        self.how = how
        self.conv = nn.Conv2d(c_in, c_out * (4 if how == "shuffle" else 1), 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        with torch.no_grad():
            one = nn.init.kaiming_normal_(torch.empty(c_out, c_in, 1, 1), nonlinearity="relu")
            self.conv.weight.copy_(one.repeat_interleave(4, 0) if how == "shuffle" else one)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x 2H x 2W."""
        x = self.conv(x)
        if self.how == "shuffle":
            x = F.pixel_shuffle(x, 2)
        else:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.relu(self.norm(x), inplace=True)


def fit_to(x: Tensor, height: int, width: int) -> Tensor:
    """A map with so many rows and columns: too many are cut off at the bottom and on the right, missing ones
    repeat the border, as many on either side (convolutions without padding take from all sides).

    >>> fit_to(torch.arange(3.0)[None, None, None], 1, 5).flatten().tolist()
    [0.0, 0.0, 1.0, 2.0, 2.0]
    """
    x = x[..., :height, :width]
    rows, columns = height - x.shape[-2], width - x.shape[-1]
    if rows or columns:
        sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x = F.pad(x, sides, mode="replicate")
    return x

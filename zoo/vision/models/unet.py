"""U-Nets on any body: an answer for every pixel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from zoo.storage.registry import register_model
from zoo.vision.models.architectures import arch_name
from zoo.vision.models.bodies import body_units, build_body, probe, wants_channels_last
from zoo.vision.models.encoder import Encoder
from zoo.vision.models.layers import Upsample, conv_layer, fit_to


class UNetOptions(TypedDict, total=False):
    """What `unet` takes beside body, outputs and channels."""

    widths: Sequence[int] | None
    upsampling: Literal["shuffle", "bilinear"]
    n_convs: int
    p: float
    scale: int


_COARSEST, _FINEST = 256, 16


class DecoderBlock(nn.Module):
    """Up to the resolution of a finer map, that map beside it, two convolutions.

    Args:
        c_in: channels of the coarse map.
        c_skip: channels of the finer map.
        c_out: channels out.
        gap: how often the size doubles.
        how: see `Upsample`.
        n_convs: 3x3 convolutions after the join.
    """

    def __init__(
        self, c_in: int, c_skip: int, c_out: int, gap: int, how: Literal["shuffle", "bilinear"], n_convs: int
    ) -> None:
        super().__init__()
        steps = [c_in, *(max(c_out, min(c_in, c_out << i)) for i in reversed(range(gap)))]
        self.up = nn.Sequential(*(Upsample(a, b, how) for a, b in itertools.pairwise(steps)))
        self.norm = nn.BatchNorm2d(c_skip)
        widths = [steps[-1] + c_skip, *[c_out] * n_convs]
        self.convs = nn.Sequential(*(conv_layer(a, b) for a, b in itertools.pairwise(widths)))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """N x c_in x h x w and a finer map N x c_skip x H x W -> N x c_out x H x W."""
        x = fit_to(self.up(x), skip.shape[-2], skip.shape[-1])
        return self.convs(torch.cat([x, self.norm(skip)], 1))


class UNet(nn.Module):
    """Encoder, decoder with skip connections (Ronneberger, Fischer & Brox 2015), one answer a pixel.

    Made by `unet`, which explains the arguments.
    """

    def __init__(
        self,
        body: nn.Sequential,
        n_out: int,
        c_in: int = 3,
        *,
        widths: Sequence[int] | None = None,
        upsampling: Literal["shuffle", "bilinear"] = "shuffle",
        n_convs: int = 2,
        p: float = 0.0,
        scale: int = 1,
    ) -> None:
        super().__init__()
        if n_out < 1 or n_convs < 1 or scale < 1 or not 0 <= p < 1:
            raise ValueError(
                f"need n_out, n_convs and scale of at least 1 and p in [0, 1), got n_out={n_out}, "
                f"n_convs={n_convs}, scale={scale}, p={p}"
            )
        self.encoder = Encoder(body, c_in)
        self.cut = probe(body, c_in)[1]
        levels = [level.channels for level in self.encoder.levels]
        sizes = _widths(len(levels), widths)
        skips = [*levels[-2::-1], c_in]
        blocks, width = [], levels[-1]
        for skip, out, gap in zip(skips, sizes, self.encoder.gaps()[::-1], strict=True):
            last = len(blocks) == len(levels) - 1
            blocks.append(DecoderBlock(width, skip, out, gap, upsampling, 1 if last else n_convs))
            width = out
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.Dropout2d(p), nn.Conv2d(width, n_out * scale**2, 1))
        if scale > 1:
            self.head.append(nn.PixelShuffle(scale))
        last_conv = self.head[1]
        nn.init.kaiming_normal_(last_conv.get_parameter("weight"), nonlinearity="linear")
        nn.init.zeros_(last_conv.get_parameter("bias"))

    def forward(self, pictures: Tensor) -> Tensor:
        """N x channels x H x W -> N x n_out x (scale H) x (scale W) (no softmax)."""
        maps = self.encoder(pictures)
        x = maps[-1]
        for block, skip in zip(self.decoder, [*maps[-2::-1], pictures], strict=True):
            x = block(x, skip)
        return self.head(x)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Early body, late body (stride above 8), and as head the decoder with its last layer."""
        units = body_units(self.encoder.body)
        return {
            "early_body": units[: self.cut],
            "late_body": units[self.cut :],
            "head": [self.decoder, self.head],
        }


def _widths(n: int, widths: Sequence[int] | None) -> list[int]:
    """Channels of the decoder's blocks, from the coarsest up to the picture's own size."""
    if widths is None:
        return [max(_FINEST, _COARSEST >> i) for i in range(n - 1)] + [_FINEST]
    sizes = [int(width) for width in widths]
    if len(sizes) != n or min(sizes) < 1:
        raise ValueError(
            f"widths takes one number of channels for each of the {n} resolutions that the decoder draws, "
            f"coarsest first, got {sizes}"
        )
    return sizes


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    model = unet("squeezenet1_1", 3, widths=[16, 8, 8, 8])
    return model, (torch.randn(2, 3, 48, 40),), torch.randn(2, 3, 48, 40)


@register_model("vision.unet", example=_example)
def unet(
    arch: str,
    n_out: int,
    c_in: int = 3,
    *,
    widths: Sequence[int] | None = None,
    upsampling: Literal["shuffle", "bilinear"] = "shuffle",
    n_convs: int = 2,
    p: float = 0.0,
    scale: int = 1,
) -> UNet:
    """A U-Net on a body with random weights; `pretrained_unet` gives it published ones.

    Each block of the decoder doubles the size, takes in the body's map of that size (the last one the picture
    itself) and runs 3x3 convolutions with batch norm. Pictures may have any sides that the body reads.

    Args:
        arch: name of an architecture, see `zoo.vision.models.architectures.arch_name`.
        n_out: outputs a pixel: the number of classes, or of the channels of a picture that is the target.
        c_in: channels of the pictures.
        widths: channels of the decoder's blocks, coarsest first, as many as there are resolutions; by default
            256, 128, 64, ... and 16 at the picture's own size.
        upsampling: "shuffle" (pixel shuffle, ICNR) or "bilinear".
        n_convs: 3x3 convolutions a block; the last block, at the picture's own size, has one.
        p: dropout of whole channels before the last layer.
        scale: sides of the answer in those of the picture, for super-resolution.

    Returns:
        A module N x c_in x H x W -> N x n_out x H x W (times `scale`) with the groups early body, late body
        and head.

    Raises:
        ValueError: an unknown architecture, or arguments out of range.

    >>> unet("squeezenet1_1", 5).eval()(torch.zeros(1, 3, 45, 60)).shape
    torch.Size([1, 5, 45, 60])
    """
    body = build_body(arch_name(arch), c_in)
    model = UNet(body, n_out, c_in, widths=widths, upsampling=upsampling, n_convs=n_convs, p=p, scale=scale)
    if wants_channels_last(body):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model

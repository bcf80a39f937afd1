"""EfficientNet-lite0, a small network without squeeze-and-excitation, as a body."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

# expansion, kernel, stride, channels, repeats of the stages (Tan & Le 2019, table 1, in its lite form)
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM, _LAST = 32, 1280


class SameConv(nn.Conv2d):
    """A convolution without bias whose result has ceil(side / stride) pixels, padded as TensorFlow does: of
    an odd number of padded pixels the extra one lies at the bottom and on the right.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, padding=0, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x ceil(H / stride) x ceil(W / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1 and stride == 1:
            return super().forward(input)
        bottom, right = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:]
        )
        if bottom % 2 == right % 2 == 0:
            return F.conv2d(
                input, self.weight, None, self.stride, (bottom // 2, right // 2), groups=self.groups
            )
        sides = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        return super().forward(F.pad(input, sides))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expansion (1x1), depthwise convolution, projection (1x1); added to the input where shapes agree
    (Sandler et al. 2018).

    Args:
        c_in: channels in.
        c_out: channels out.
        expansion: factor of the channels in between; 1 leaves the first convolution out.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution.
    """

    def __init__(self, c_in: int, c_out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        middle = c_in * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion != 1:
            layers |= OrderedDict(
                expand_conv=SameConv(c_in, middle, 1), bn0=_norm(middle), relu0=nn.ReLU6(inplace=True)
            )
        layers |= OrderedDict(
            depthwise_conv=SameConv(middle, middle, kernel, stride, middle),
            bn1=_norm(middle),
            relu1=nn.ReLU6(inplace=True),
            project_conv=SameConv(middle, c_out, 1),
            bn2=_norm(c_out),
        )
        self.layers = nn.Sequential(layers)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x ceil(H / stride) x ceil(W / stride)."""
        return self.layers(x) + x if self.adds else self.layers(x)


class EfficientNetLite0(nn.Sequential):
    """The convolutions of EfficientNet-lite0 (Tan & Le 2019; lite variants: R. Liu 2020, "Higher accuracy on
    vision models with EfficientNet-Lite"): ReLU6, no squeeze-and-excitation, 1280 features at stride 32.

    Args:
        c_in: channels of the pictures.
    """

    def __init__(self, c_in: int = 3) -> None:
        units: OrderedDict[str, nn.Module] = OrderedDict()
        units["stem"] = nn.Sequential(
            OrderedDict(conv=SameConv(c_in, _STEM, 3, 2), bn=_norm(_STEM), relu=nn.ReLU6(inplace=True))
        )
        channels = _STEM
        for expansion, kernel, stride, width, repeats in _STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                units[f"block{len(units) - 1}"] = InvertedResidual(channels, width, expansion, kernel, step)
                channels = width
        units["top"] = nn.Sequential(
            OrderedDict(conv=SameConv(channels, _LAST, 1), bn=_norm(_LAST), relu=nn.ReLU6(inplace=True))
        )
        super().__init__(units)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def units(self) -> list[nn.Module]:
        """The stem, the blocks, and the last convolution."""
        return list(self.children())

    def adapt_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights with the names of the package `efficientnet_lite_pytorch` under this body's names."""
        return {_own_name(name): value for name, value in state.items() if not name.startswith("_fc.")}


_FOREIGN = (
    (r"_conv_stem\.", "stem.conv."),
    (r"_bn0\.", "stem.bn."),
    (r"_conv_head\.", "top.conv."),
    (r"_bn1\.", "top.bn."),
    (r"_blocks\.(\d+)\._", r"block\1.layers."),
)


def _own_name(name: str) -> str:
    for pattern, replacement in _FOREIGN:
        name = re.sub("^" + pattern, replacement, name)
    return name


def efficientnet_lite0(c_in: int = 3) -> EfficientNetLite0:
    """EfficientNet-lite0 as a body with random weights.

    Args:
        c_in: channels of the pictures.

    >>> import torch
    >>> efficientnet_lite0().eval()(torch.zeros(1, 3, 40, 70)).shape
    torch.Size([1, 1280, 2, 3])
    """
    return EfficientNetLite0(c_in)

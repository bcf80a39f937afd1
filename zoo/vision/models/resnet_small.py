"""A residual network for pictures of about 32x32 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.storage.registry import register_model


def conv_bn(c_in: int, c_out: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution (same padding, no bias) and batch norm."""
    conv = nn.Conv2d(c_in, c_out, kernel_size, stride, kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input (He et al. 2015); a 1x1 convolution where shapes differ.

    Args:
        c_in: channels in.
        c_out: channels out.
        stride: of the first convolution.
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv_bn(c_in, c_out, stride=stride)
        self.conv2 = conv_bn(c_out, c_out)
        self.shortcut = nn.Identity() if c_in == c_out and stride == 1 else conv_bn(c_in, c_out, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x H/stride x W/stride."""
        return self.relu(self.conv2(self.relu(self.conv1(x))) + self.shortcut(x))


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return ResNetSmall(3, widths=(8, 16), depth=1), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.resnet_small", example=_example)
class ResNetSmall(nn.Module):
    """3x3 stem, stages of residual blocks (all but the first halve the picture), mean pooling, linear layer.

    Convolutions start with Kaiming's rule, the last batch norm of each block at zero (each block starts as
    identity).

    Args:
        n_classes: outputs.
        widths: channels of the stages.
        depth: residual blocks per stage.
        p: dropout before the last layer.
        c_in: channels of the pictures.

    >>> ResNetSmall(10, widths=(8, 16), depth=1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_classes: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        depth: int = 2,
        p: float = 0.2,
        c_in: int = 3,
    ) -> None:
        super().__init__()
        if not widths or depth < 1:
            raise ValueError(
                f"need at least one stage of one block, got widths={list(widths)}, depth={depth}"
            )
        self.stem = nn.Sequential(conv_bn(c_in, widths[0]), nn.ReLU(inplace=True))
        stages = []
        for i, width in enumerate(widths):
            first = ResidualBlock(widths[max(0, i - 1)], width, stride=1 if i == 0 else 2)
            stages.append(nn.Sequential(first, *(ResidualBlock(width, width) for _ in range(depth - 1))))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.Dropout(p), nn.Linear(widths[-1], n_classes))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock):
                nn.init.zeros_(module.conv2[1].get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x n_classes (no softmax)."""
        return self.head(self.stages(self.stem(x)).mean((2, 3)))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Stem with the first half of the stages, the other stages, head."""
        stages = list(self.stages)
        half = len(stages) // 2
        groups = {"early": [self.stem, *stages[:half]], "late": stages[half:], "head": [self.head]}
        return groups

"""Wide residual networks for pictures of about 32x32 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.storage.registry import register_model


class WideBlock(nn.Module):
    """Norm, ReLU, 3x3 convolution, dropout, norm, ReLU, 3x3 convolution, added to the input.

    Args:
        c_in: channels in.
        c_out: channels out.
        stride: of the first convolution.
        p: dropout between the convolutions.
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1, p: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(c_in), nn.BatchNorm2d(c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.dropout = nn.Dropout(p)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        same = c_in == c_out and stride == 1
        self.shortcut = None if same else nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x c_out x H/stride x W/stride."""
        active = F.relu(self.norm1(x))
        way = x if self.shortcut is None else self.shortcut(active)
        inner = self.dropout(self.conv1(active))
        return way + self.conv2(F.relu(self.norm2(inner)))


def _example() -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    return WideResNet(3, depth=10, width=1), (torch.randn(2, 3, 16, 16),), torch.tensor([0, 2])


@register_model("vision.wide_resnet", example=_example)
class WideResNet(nn.Module):
    """WRN-depth-width (Zagoruyko & Komodakis 2016): few, wide residual blocks with the norm first.

    A 3x3 stem of 16 channels, three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times `width`
    channels, norm, ReLU, mean over the picture, linear layer. Convolutions start with Kaiming's rule.

    Args:
        n_classes: outputs.
        depth: number of convolutions, 6 n + 4: 10, 16, 22, 28, 40.
        width: factor of the channels. The paper's best for CIFAR-10: WRN-28-10.
        p: dropout inside the blocks; the paper uses 0.3 for CIFAR where pictures are not much augmented.
        c_in: channels of the pictures, which may have any size.

    Raises:
        ValueError: a depth that is not 6 n + 4, or no width.

    >>> WideResNet(10, depth=10, width=1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, n_classes: int, depth: int = 22, width: int = 6, p: float = 0.0, c_in: int = 3
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            near = max(10, 6 * round((depth - 4) / 6) + 4)
            raise ValueError(f"the depth of a wide resnet is 6 n + 4 with n >= 1, got {depth}; near: {near}")
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.stem = nn.Conv2d(c_in, 16, 3, 1, 1, bias=False)
        widths: Sequence[int] = (16, 16 * width, 32 * width, 64 * width)
        stages = []
        for i in range(3):
            blocks = [WideBlock(widths[i], widths[i + 1], 1 if i == 0 else 2, p)]
            blocks += [WideBlock(widths[i + 1], widths[i + 1], 1, p) for _ in range((depth - 4) // 6 - 1)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """N x c_in x H x W -> N x n_classes (no softmax)."""
        return self.head(F.relu(self.norm(self.stages(self.stem(x)))).mean((2, 3)))

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """Stem with the first stage, the other stages, head."""
        first, *others = self.stages
        return {"early": [self.stem, first], "late": [*others, self.norm], "head": [self.head]}

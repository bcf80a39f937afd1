"""Torchvision's vision transformers as bodies: tokens in, a feature map out, for pictures of any size."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

POSITIONS = "encoder.pos_embedding"


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings of a class token and a square grid, for another grid, by bicubic interpolation
    (Dosovitskiy et al. 2020, section 3.2).

    Args:
        positions: 1 x (1 + side * side) x width.
        grid: rows and columns wanted.

    Returns:
        1 x (1 + rows * columns) x width; the very argument where nothing changes.

    >>> resize_positions(torch.zeros(1, 1 + 14 * 14, 8), (6, 7)).shape
    torch.Size([1, 43, 8])
    """
    side = math.isqrt(positions.shape[1] - 1)
    if grid == (side, side):
        return positions
    old = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    new = F.interpolate(old, grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], new.flatten(2).transpose(1, 2)], 1)


class VitBody(nn.Sequential):
    """A vision transformer (Dosovitskiy et al. 2020) up to its last norm, as a body.

    The patches' tokens form the feature map; the class token takes part inside and is dropped at the end. A
    picture whose sides are no multiples of the patch is padded with zeros at the bottom and on the right.

    Args:
        vit: torchvision's model; parameter names stay its own.
    """

    def __init__(self, vit: torchvision.models.VisionTransformer) -> None:
        super().__init__(OrderedDict(conv_proj=vit.conv_proj, encoder=vit.encoder))
        self.class_token = vit.class_token
        self.patch = vit.patch_size

    def _part(self, name: str) -> Any:
        return self.get_submodule(name)

    def forward(self, input: Tensor) -> Tensor:
        """N x channels x H x W -> N x width x ceil(H / patch) x ceil(W / patch)."""
        bottom, right = (-side % self.patch for side in input.shape[-2:])
        patches = self._part("conv_proj")(F.pad(input, (0, right, 0, bottom)))
        rows, columns = patches.shape[-2:]
        encoder = self._part("encoder")
        tokens = torch.cat(
            [self.class_token.expand(len(input), -1, -1), patches.flatten(2).transpose(1, 2)], 1
        )
        tokens = tokens + resize_positions(encoder.pos_embedding, (rows, columns))
        tokens = encoder.ln(encoder.layers(encoder.dropout(tokens)))
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))

    def units(self) -> list[Any]:
        """Patches, class token, positions, the layers, the last norm."""
        encoder = self._part("encoder")
        layers = list(encoder.layers.children())
        return [self._part("conv_proj"), self.class_token, encoder.pos_embedding, *layers, encoder.ln]

    @property
    def early_units(self) -> int:
        """The patches and the first half of the layers."""
        return 3 + len(self._part("encoder").layers) // 2

    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        """The one resolution there is."""
        return [self(pictures)]

    def adapt_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights with the position embeddings of this body's own grid."""
        adapted = dict(state)
        own = self._part("encoder").pos_embedding
        given = adapted.get(POSITIONS)
        if given is not None and given.ndim == 3 and given.shape != own.shape:
            side, length = math.isqrt(own.shape[1] - 1), given.shape[1] - 1
            if math.isqrt(max(length, 0)) ** 2 == length > 0:
                adapted[POSITIONS] = resize_positions(given, (side, side))
        return adapted


def build_vit(name: str) -> VitBody:
    """A vision transformer of torchvision as a body, with random weights.

    Args:
        name: such as "vit_b_16".
    """
    # the grid of the weights that torchvision has for it by default, which then need no interpolation
    default = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    side = default.meta["min_size"][0]
    vit: Any = torchvision.models.get_model(name, weights=None, image_size=side)
    return VitBody(vit)

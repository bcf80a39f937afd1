"""New pictures in whatever form they come, as batches for a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from zoo.vision.transforms.image_transform import ImageTransform


def raw_batches(items: Any, tfm: ImageTransform, *, channels: int, bs: int) -> Iterator[tuple[Tensor, ...]]:
    """Normalised batches of pictures, in order.

    Args:
        items: a list, a column of a table, or a rows x H x W [x C] array; one picture stands for a list of
            one.
        tfm: how a picture becomes a tensor.
        channels: channels the model reads.
        bs: largest number of pictures in a batch.
    """
    chunk: list[Tensor] = []
    for item in picture_list(items, channels):
        pixels = tfm.pixels(item, channels=channels)
        full = tfm.size is None or len(chunk) == bs
        if chunk and (full or pixels.dtype != chunk[0].dtype):  # bytes and floats are scaled differently
            yield (tfm.normalize(torch.stack(chunk)),)
            chunk = []
        chunk.append(pixels)
    if chunk:
        yield (tfm.normalize(torch.stack(chunk)),)


def picture_list(items: Any, channels: int) -> Iterable[Any]:
    """What was given as pictures: several, or one that must not be taken apart."""
    one = str | os.PathLike | bytes | bytearray | memoryview | Image.Image
    if isinstance(items, one) or hasattr(items, "read"):
        return [items]
    if isinstance(items, pd.DataFrame | dict):
        raise TypeError(
            f"expected a list of pictures, got a {type(items).__name__}: pass the column of file names"
        )
    if not isinstance(items, np.ndarray | Tensor) or items.ndim < 2:
        return items
    if items.ndim == 2 or (items.ndim == 3 and items.shape[-1] in (1, channels)):
        return [items]
    if items.ndim == 3 and items.shape[0] == channels > 1:
        raise ValueError(
            f"expected pictures with channels last (H x W x {channels}), got an array of shape "
            f"{tuple(items.shape)}; for {channels} grey pictures pass a list of arrays"
        )
    return items

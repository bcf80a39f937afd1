"""Validation pictures of every mode, whose pixels must stay what they are, bit for bit."""

from __future__ import annotations

import io
import itertools

import numpy as np
from PIL import Image

from tests.vision.helpers import gradient
from zoo.vision.transforms.image_transform import ImageTransform

SIZES = {"wide": (50, 77), "tall": (91, 40), "large": (700, 620), "small": (9, 12), "odd": (33, 33)}
CASES = {
    f"{source}_{crop}_{interpolation}_{'x'.join(map(str, size or ()))}": (source, crop, interpolation, size)
    for source, crop, interpolation, size in itertools.product(
        SIZES, ("center", "squash", "letterbox"), ("bilinear", "bicubic"), ((24, 24), (17, 30))
    )
} | {f"{source}_plain": (source, "center", "bilinear", None) for source in ("wide", "odd")}


def picture(source: str) -> np.ndarray:
    """A smooth picture with noise on it."""
    height, width = SIZES[source]
    noise = np.random.default_rng(height * width).integers(-40, 41, (height, width, 3))
    return (gradient(height, width) + noise).clip(0, 255).astype(np.uint8)


def pixels(case: str) -> np.ndarray:
    """C x H x W of the picture as array, as JPEG file (decoded at a reduced size where it is large), in five
    channels, and in floats, one after another."""
    source, crop, interpolation, size = CASES[case]
    array = picture(source)
    tfm = ImageTransform(size, interpolation=interpolation, crop=crop)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=95)
    five = np.concatenate([array, array[:, :, :2]], 2)
    parts = [tfm.pixels(array), tfm.pixels(file.getvalue()), tfm.pixels(five, channels=5)]
    whole = [part.numpy() for part in parts]
    floats = tfm.pixels(array[:, :, :1].astype(np.float32) / 255, channels=1).numpy()
    return np.concatenate([*whole, np.rint(floats * 255).astype(np.uint8)])

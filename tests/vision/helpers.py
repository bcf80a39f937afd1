"""Small real slices and pictures made on the spot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def link_slice(source: Path, target: Path, n: int, splits: Sequence[str] = ("train", "valid")) -> Path:
    """Symbolic links to the first `n` pictures of each class folder."""
    for split in splits:
        for folder in sorted((source / split).iterdir()):
            (target / split / folder.name).mkdir(parents=True)
            for file in sorted(os.listdir(folder))[:n]:
                (target / split / folder.name / file).symlink_to(folder / file)
    return target


def gradient(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """A smooth RGB picture with a bright top-left corner, so that orientation can be told."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.random.default_rng(seed).uniform(60, 120, 3)
    values = base + 100 * (1 - y / height)[..., None] * [1, 0.5, 0.2] + 40 * (1 - x / width)[..., None]
    return values.clip(0, 255).astype(np.uint8)


def two_class_arrays(n: int = 40, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Reddish ("red") and bluish ("blue") noise pictures."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    pictures = rng.integers(0, 120, (n, size, size, 3))
    pictures[y == 0, :, :, 2] += 100
    pictures[y == 1, :, :, 0] += 100
    return pictures.astype(np.uint8), np.array(["blue", "red"])[y]


def two_class_folders(
    root: Path, n: int = 6, size: tuple[int, int] = (40, 48), names=("train", "valid")
) -> Path:
    """Class folders of PNG files made from `two_class_arrays`."""
    for number, split in enumerate(names):
        pictures, labels = two_class_arrays(2 * n, max(size), seed=number)
        for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            folder = root / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[: size[0], : size[1]]).save(folder / f"{i:03d}.png")
    return root

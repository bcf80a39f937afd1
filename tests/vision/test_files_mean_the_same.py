"""Weights know with what the pictures of their training were normalised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo.vision import ImageClassifierData, tfms_from_stats


def learner(path: Path, mean: float = 0.5, size: int = 16, shade: int = 0) -> zoo.Learner:
    pictures = np.random.default_rng(0).integers(shade, 255, (16, 16, 16, 3), dtype=np.uint8)
    tfms = tfms_from_stats(([mean] * 3, [0.25] * 3), size)
    data = ImageClassifierData.from_arrays(path, (pictures, ["cat", "dog"] * 8), None, 8, tfms)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return zoo.Learner(data, net, device="cpu", progress=False, seed=0)


def test_other_normalisation_is_told(tmp_path: Path) -> None:
    learner(tmp_path).save("m")
    with pytest.warns(UserWarning, match=r"normalisation \(number 0 is '0.5, 0.25' there, '0, 0.25' here\)"):
        learner(tmp_path, mean=0.0).load("m")


def test_other_pictures_and_sizes_are_welcome(tmp_path: Path) -> None:
    learner(tmp_path).save("m")
    learner(tmp_path, size=12, shade=100).load("m")

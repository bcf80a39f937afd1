"""Small real training problems of the four domains, for benchmarks.

Each function makes a learner from scratch, always the same one, or raises `FileNotFoundError` where the data
set is not on the machine. What it reads and prepares is kept for the next call.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from zoo import Learner, ModelData, TensorLoader, get_cv_idxs, set_seed
from zoo.datasets import local_dataset
from zoo.metrics import accuracy

CATEGORIES = ["Store", "DayOfWeek", "Promo", "StateHoliday", "SchoolHoliday", "StoreType", "Assortment"]
CATEGORIES += ["PromoInterval", "Month", "Day", "Week"]
NUMBERS = ["CompetitionDistance", "CompetitionOpenSinceYear", "Promo2SinceYear", "Year"]


@functools.cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="zoo-benchmark-"))


@functools.cache
def _sales(root: str, rows: int) -> pd.DataFrame:
    folder = local_dataset(root, "rossmann", "store.csv")
    sales = pd.read_csv(folder / "train.csv", parse_dates=["Date"], dtype={"StateHoliday": str})
    sales = sales[sales["Sales"] > 0].merge(pd.read_csv(folder / "store.csv"), on="Store")
    sales = sales.sample(min(rows, len(sales)), random_state=0).sort_values("Date", ignore_index=True)
    dates = sales["Date"].dt
    week = dates.isocalendar().week.astype(int)
    return sales.assign(Month=dates.month, Day=dates.day, Week=week, Year=dates.year)


def tables(root: str, *, rows: int = 40_000, bs: int = 512, device: str | None = None) -> Learner:
    """Store sales: embeddings of categories, two hidden layers; the last tenth of the days is held out."""
    from zoo_tabular import ColumnarModelData, exp_rmspe

    sales = _sales(root, rows)
    held_out = range(int(0.9 * len(sales)), len(sales))
    set_seed(0)
    data = ColumnarModelData.from_data_frame(
        _scratch(), held_out, sales[[*CATEGORIES, *NUMBERS]], sales["Sales"], CATEGORIES, bs,
        cont_flds=NUMBERS, target_transform="log", seed=0,
    )  # fmt: skip
    top = float(np.log(sales["Sales"].max()) * 1.1)
    return data.get_learner(
        None, None, 0.04, 1, [1000, 500], [0.001, 0.01], (0, top), metrics=[exp_rmspe], device=device,
        seed=0, progress=False,
    )  # fmt: skip


@functools.cache
def _words(root: str, words: int) -> tuple[str, str]:
    folder = local_dataset(root, "wikitext-2", "wiki.train.tokens")
    found = (folder / "wiki.train.tokens").read_text(encoding="utf8").split()[: words + words // 10]
    return " ".join(found[:words]), " ".join(found[words:])


def text(
    root: str, *, words: int = 60_000, bs: int = 32, bptt: int = 35, device: str | None = None
) -> Learner:
    """Encyclopedia articles: an LSTM language model."""
    from zoo_text import Field, LanguageModelData

    train, valid = _words(root, words)
    set_seed(0)
    data = LanguageModelData.from_texts(
        Field(tokenize="whitespace"), [train], [valid],
        bs=bs, bptt=35, min_freq=3, seed=0, path=_scratch(),
    )  # fmt: skip
    learn = data.get_model(emb_sz=128, n_hid=256, n_layers=2, device=device, seed=0, progress=False)
    learn.clip = 0.4
    return learn


@functools.cache
def _thumbnails(root: str, split: str, each: int) -> tuple[np.ndarray, np.ndarray]:
    folder = local_dataset(root, "cifar10", "train") / split
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    pictures, labels = [], []
    for number, name in enumerate(names):
        for file in sorted((folder / name).iterdir())[:each]:
            pictures.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(number)
    return np.stack(pictures), np.array(labels)


def convnet(width: int = 32) -> nn.Sequential:
    """Six convolutions with batch norm, 32 x 32 pixels to ten classes."""
    layers: list[nn.Module] = []
    before = 3
    for channels in (width, 2 * width, 4 * width):
        for stride in (1, 2):
            layers.append(nn.Conv2d(before, channels, 3, stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def pictures(root: str, *, each: int = 300, bs: int = 64, device: str | None = None) -> Learner:
    """Thumbnails of ten classes: a small convolutional network, normalised pictures in memory."""

    def loader(split: str, count: int, shuffle: bool) -> TensorLoader:
        x, y = _thumbnails(root, split, count)
        scaled = (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25
        return TensorLoader(scaled.contiguous(), torch.from_numpy(y), bs=bs, shuffle=shuffle, seed=0)

    set_seed(0)
    data = ModelData(loader("train", each, True), loader("test", max(10, each // 3), False), path=_scratch())
    data.task = "classification"
    return Learner(data, convnet(), metrics=[accuracy], device=device, seed=0, progress=False)


@functools.cache
def _stars(root: str, rows: int) -> pd.DataFrame:
    stars = pd.read_csv(local_dataset(root, "ml-latest-small", "ratings.csv") / "ratings.csv")
    return stars.sample(min(rows, len(stars)), random_state=0, ignore_index=True)


def ratings(root: str, *, rows: int = 100_000, bs: int = 256, device: str | None = None) -> Learner:
    """Film ratings: factors and biases of users and films."""
    from zoo_collab import CollabFilterDataset

    set_seed(0)
    table = CollabFilterDataset.from_data_frame(
        _scratch(), _stars(root, rows), "userId", "movieId", "rating", rating_range=(0.5, 5)
    )
    return table.get_learner(
        50, get_cv_idxs(len(table), seed=0), bs=bs, device=device, seed=0, progress=False
    )

"""What the tests of texts in several processes run in each of them, and in a single one to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.core.distributed_runs import told
from zoo import distributed, set_seed
from zoo.callbacks import distributed as callbacks
from zoo_text import Field, LanguageModelData, TextData

WORDS = [f"w{number}" for number in range(30)]


def texts(n: int) -> list[str]:
    """Every word is mostly followed by its neighbour."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        walk = (rng.integers(30) + np.cumsum(rng.integers(1, 3, rng.integers(5, 30)))) % 30
        found.append(" ".join(WORDS[number] for number in walk))
    return found


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def language_model(path: Path) -> dict[str, Any]:
    """Seven columns, shared as three and four; regularised; the outputs of the validation are not sent."""
    set_seed(0)
    corpus = texts(60)
    data = LanguageModelData.from_texts(
        Field(), corpus[:50], corpus[50:], bs=7, bptt=9, min_freq=1, path=path
    )
    data.train_dl.seed += distributed.rank()  # as if every process had drawn its own lengths
    learn = data.get_model(sgd, 12, 12, 1, drop_mult=0.0, device="cpu", clip=0.5, progress=False)
    many, callbacks._MANY = callbacks._MANY, 1000
    try:
        learn.fit_one_cycle(2, 0.5)
    finally:
        callbacks._MANY = many
    return {**told(learn), "text": learn.generate("w1 w2", 4, seed=0)}


def classifier(path: Path) -> dict[str, Any]:
    """Padded rows, batch norm with statistics of its own; a last batch of three."""
    set_seed(0)
    corpus = texts(70)
    labels = ["early" if text.split()[0] < "w2" else "late" for text in corpus]
    train, valid = (corpus[:59], labels[:59]), (corpus[59:], labels[59:])
    data = TextData.from_texts(Field(), train, valid, bs=8, path=path)
    sizes = {"emb_sz": 12, "n_hid": 12, "n_layers": 1}
    learn = data.get_model(sgd, **sizes, drop_mult=0.0, device="cpu", progress=False)
    learn.fit(0.01, 2, cycle_len=1)
    learn.save_encoder("all")
    learn.load_encoder("all")
    return {**told(learn), "predicted": torch.from_numpy(learn.predict())}


RUNS = {"language_model": language_model, "classifier": classifier}

"""What several processes do in `test_review_engine.py`."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tests.core.helpers import digits, digits_learner, same, weights
from zoo import Learner, ModelData, distributed
from zoo.storage.checkpoint import write_tree


def main(folder: Path) -> None:
    found: dict[str, object] = {}

    learn = digits_learner(path=folder)
    if distributed.is_main():
        learn.save("best")
    learn.fit(0.01, 1)
    if distributed.is_main():
        time.sleep(1)  # the others must wait for the file
    learn.save("best")
    after = weights(learn.model)
    learn.load("best")
    found["latest weights"] = same(after, weights(learn.model))

    x, y = digits()
    rows = TensorDataset(x[:100], y[:100])
    sampler = DistributedSampler(rows, distributed.world_size(), distributed.rank())
    loader = DataLoader(rows, 20, sampler=sampler)
    try:
        Learner(ModelData(loader), torch.nn.Linear(64, 10), device="cpu", progress=False).fit(0.1, 1)
    except ValueError as error:
        found["refused"] = str(error)
    write_tree(folder / f"found{distributed.rank()}.safetensors", found)

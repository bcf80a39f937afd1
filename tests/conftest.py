"""Shared fixtures: real data where it can be found, the same seed for every test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import settings

from zoo.data.loaders.seeding import set_seed
from zoo.datasets import local_dataset

matplotlib.use("Agg")
settings.register_profile("untimed", deadline=None)  # nothing is timed in a test
settings.load_profile("untimed")

if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are shared out already
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeds_fixed() -> None:
    set_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Callable[..., Path]:
    """`data_dir(name)` gives the folder (or file) of a real data set, or skips the test."""
    root = Path(os.environ.get("ZOO_DATA", Path(__file__).parents[2] / "shared" / "data"))

    def find(name: str, marker: str | None = None) -> Path:
        try:
            return local_dataset(root, name, marker)
        except FileNotFoundError:
            pytest.skip(
                f"the data set {name!r} is not on this machine: set ZOO_DATA to the folder that holds it"
            )

    return find

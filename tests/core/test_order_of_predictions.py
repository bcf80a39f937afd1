"""Predictions of loaders with samplers: in the order of the rows, or with a warning."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tests.core.helpers import digits, digits_learner


class Backwards(Sampler):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        return iter(range(self.n - 1, -1, -1))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sampler": WeightedRandomSampler(torch.ones(20), 20)}, "WeightedRandomSampler"),
        ({"sampler": SubsetRandomSampler(range(20))}, "SubsetRandomSampler"),
        ({"sampler": Backwards(20)}, "Backwards"),
        ({"sampler": [3, 1, 2]}, "list"),
        ({"batch_sampler": BatchSampler(RandomSampler(range(20)), 8, False)}, "RandomSampler"),
        ({"batch_sampler": [[3, 1], [2]]}, "list"),
        ({"sampler": range(5, 20)}, None),
        ({"batch_sampler": BatchSampler(SequentialSampler(range(20)), 8, False)}, None),
        ({"batch_sampler": [[0, 1, 2], [5]]}, None),
        ({"batch_size": 8}, None),
        ({"batch_size": None}, None),
    ],
    ids=[
        "weighted", "subset", "own", "list", "batches of random rows", "list of batches", "range",
        "batches in order", "list of batches in order", "plain", "rows without batches",
    ],
)  # fmt: skip
def test_samplers_that_may_change_the_order_of_predictions_are_told(options, name) -> None:
    x, y = digits()
    learn = digits_learner()
    rows = TensorDataset(x[:20], y[:20])
    if options.get("batch_size", 1) is None:
        rows = [(x[:20], y[:20])]
    told = warnings.catch_warnings() if name is None else pytest.warns(UserWarning, match=rf"\({name}\), so")
    with told:
        learn.predict(loader=DataLoader(rows, **options))

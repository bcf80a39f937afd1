"""Batches of ratings as models see them, and in raw ids."""

import pandas as pd
import torch
from torch import nn

from zoo import Learner
from zoo_collab import CollabFilterDataset

DF = pd.DataFrame(
    {
        "who": ["ann", "bob", "ann", "cat"],
        "film": [7, 7, 9, 9],
        "stars": [1.0, 2.0, 3.0, 4.0],
        "name": list("xxyy"),
    }
)


def test_ratings_of_a_batch_are_shown_in_raw_ids_with_titles():
    table = CollabFilterDataset.from_data_frame(
        ".", DF, "who", "film", "stars", item_titles=DF[["film", "name"]], title_col="name"
    )
    data = table.get_data([3], bs=4, seed=0)
    shown = data.show_batch().sort_values(["film", "who"], ignore_index=True)
    assert shown.values.tolist() == [["ann", 7, "x", 1.0], ["bob", 7, "x", 2.0], ["ann", 9, "y", 3.0]]

    class Dot(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = nn.Embedding(len(data.users), 2), nn.Embedding(len(data.items), 2)

        def forward(self, users, items):
            return (self.users(users) * self.items(items)).sum(1)

    learn = Learner(data, Dot(), device="cpu", progress=False)
    learn.fit(0.01, 1)
    *inputs, target = data.one_batch(device="cpu")
    assert learn.model(*inputs).shape == target.shape
    assert learn.model(*data.one_item(("ann", 7), device="cpu")).shape == (1,)
    assert inputs[0].dtype == torch.int64

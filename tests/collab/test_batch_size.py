"""The search for the largest batch size on ratings."""

import torch

from tests.collab.test_learner import simulated
from zoo import Callback, get_cv_idxs
from zoo_collab import CollabFilterDataset


class Full(Callback):
    in_finder = True

    def after_predict(self, state):
        if state.rows > 100:
            raise torch.OutOfMemoryError("full")


def test_ratings(tmp_path):
    table = CollabFilterDataset.from_data_frame(tmp_path, simulated(), "who", "film", "stars")
    learn = table.get_learner(
        5, get_cv_idxs(len(table)), bs=32, callbacks=[Full()], seed=1, progress=False, device="cpu"
    )
    found = learn.find_batch_size()
    assert (found.bs, found.limit, learn.data.train_dl.bs) == (96, "memory", 32)

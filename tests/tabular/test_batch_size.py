"""The search for the largest batch size on tables."""

import torch

from tests.tabular.test_learner import table
from zoo import Callback
from zoo_tabular import ColumnarModelData


class Full(Callback):
    in_finder = True

    def after_predict(self, state):
        if state.rows > 300:
            raise torch.OutOfMemoryError("full")


def test_tables_are_tried_with_their_category_dropout(tmp_path):
    data = ColumnarModelData.from_data_frame(
        tmp_path, range(1200, 1500), table(), "Sales", ["Store", "Kind"], 64, seed=0, cat_dropout=0.1
    )
    learn = data.get_learner(szs=[20], callbacks=[Full()], progress=False, device="cpu")
    assert learn.find_batch_size().bs == 296
    assert data.train_dl.bs == 64
    other = data.train_dl.with_bs(1199)
    assert (len(other), other.batch_transform) == (1, data.train_dl.batch_transform)

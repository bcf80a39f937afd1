"""Batches of tables as models see them, and in the user's terms."""

import pandas as pd
import torch
from torch import nn

from zoo import Learner
from zoo_tabular import AutoencoderData, ColumnarModelData

DF = pd.DataFrame(
    {
        "user": ["ann", "bob", "cat", "ann", None, "bob"],
        "film": [1, 2, 3, 1, 2, 3],
        "km": [1.0, 2.0, None, 4.0, 5.0, 9.0],
        "stars": [1.0, 2.0, 3.0, 4.0, 5.0, 2.0],
    }
)


class Dot(nn.Module):
    """The courses' own model: nothing widens its codes."""

    def __init__(self, md):
        super().__init__()
        (n, _), (m, _) = md.embedding_sizes()
        self.u, self.m = nn.Embedding(n, 3), nn.Embedding(m, 3)

    def forward(self, cats, conts):
        return (self.u(cats[:, 0]) * self.m(cats[:, 1])).sum(1, keepdim=True)


def data(**options):
    return ColumnarModelData.from_data_frame(
        ".", [3], DF, "stars", ["user", "film"], bs=2, test_df=DF, seed=0, **options
    )


def test_own_modules_with_embeddings_train_and_predict_everywhere():
    md = data()
    assert md.train_dl.tensors[0].dtype == torch.int8  # compact where it lies
    learn = Learner(md, Dot(md), device="cpu", progress=False, metrics=["rmse"])
    learn.fit(0.01, 1)
    assert len(learn.predict(is_test=True)) == len(learn.predict_batch(DF)) == 6
    *inputs, target = md.one_batch()
    assert [part.dtype for part in inputs] == [torch.int64, torch.float32]
    assert learn.model(*inputs).shape == target.shape
    assert learn.model(*md.one_item(DF.iloc[0].to_dict())).shape == (1, 1)
    assert learn.score(*learn.predict_with_targs(), metrics=["exp_rmspe"]).keys() == {"exp_rmspe"}


def test_rows_of_a_batch_come_back_in_the_users_terms():
    md = data(target_transform="log")
    shown = md.show_batch(train=False)
    assert shown.drop(columns="target").round(5).values.tolist() == [["ann", 1, 4.0]]
    assert shown.target.round(4).tolist() == [4.0]
    everything = ColumnarModelData.from_data_frame(
        ".", [0], DF, "stars", ["user", "film"], bs=8, seed=0
    ).show_batch()
    merged = everything.sort_values(["film", "target"], ignore_index=True)
    assert merged.user.isna().sum() == 1
    assert merged.km.isna().sum() == 1
    _, numbers, _ = md.one_batch(train=False)
    assert md.denorm(numbers)[0, 0].round(decimals=4).item() == 4.0
    rows = AutoencoderData.from_frame(".", [3], DF.drop(columns="stars"), ["user", "film"], bs=2).show_batch(
        train=False
    )
    assert rows.film.tolist() == [1]


def test_score_is_on_the_scale_of_the_fit():
    md = data(target_transform="log")
    learn = md.get_learner(device="cpu", progress=False, use_bn=False, metrics=["exp_rmspe", "rmse"])
    found, wanted = learn.score(*learn.predict_with_targs()), learn.evaluate()
    assert {name: round(value, 4) for name, value in found.items()} == {
        name: round(wanted[name], 4) for name in ("exp_rmspe", "rmse")
    }

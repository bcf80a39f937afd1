"""Ratings on disk."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.collab.test_data import dataset, ratings
from tests.collab.test_implicit import tastes
from tests.core.test_prepared import assert_same_batches
from zoo import load_data
from zoo_collab import CollabFilterDataset, leave_one_out
from zoo_collab.learner import CollabLearner
from zoo_collab.model.models import EmbeddingDotBias


def test_loaded_ratings_give_the_same_batches_and_recommend(tmp_path):
    data = dataset().get_data([1], 2, test_df=ratings()[["who", "film"]], seed=2)
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert type(loaded) is type(data)
    assert_same_batches(data, loaded)
    answers = []
    for one in (data, loaded):
        torch.manual_seed(0)
        model = EmbeddingDotBias(len(one.users), len(one.items), 3, y_range=one.y_range)
        learn = CollabLearner(one, model, device="cpu", progress=False)
        learn.fit(0.01, 2)
        answers.append((learn.predict_batch([("ann", 70), ("bob", 90)]), learn.recommend("bob", 2)))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    assert answers[0][1].equals(answers[1][1])


@pytest.mark.parametrize("hidden", [None, [4]])
def test_loaded_pairs_without_ratings_draw_the_same_negatives(tmp_path, hidden):
    table = CollabFilterDataset(".", tastes(), "who", "film", time_col="when")
    learn = table.get_learner(3, leave_one_out(seed=1), seed=2, negatives=7, hidden=hidden, progress=False)
    data = learn.data
    loaded = load_data(data.save(tmp_path / "prepared"))
    assert (loaded.task, loaded.train_dl.batch_transform.n) == ("implicit", 7)
    assert torch.equal(loaded.weights, data.weights)
    assert_same_batches(data, loaded)
    models = [copy.deepcopy(learn.model) for _ in range(2)]
    fits = [
        CollabLearner(one, model, device="cpu", progress=False)
        for one, model in zip((data, loaded), models, strict=True)
    ]
    for one in fits:
        one.fit(1e-2, 1)
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name

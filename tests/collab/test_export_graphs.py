"""Recommenders as graphs: a user's and an item's index in, a rating or a score out."""

import json

import numpy as np
import pytest
import torch

from tests.collab.test_feature_models import ratings, sized, table
from tests.core.exported import both_files, by_onnx, session_of
from zoo.storage.exporting.graph import graph_of
from zoo.storage.exporting.onnx_file import write_onnx
from zoo.storage.exporting.program_file import traced
from zoo_collab import CollabFilterDataset


@pytest.mark.parametrize("kind", ["dot", "net"])
def test_models_that_know_features(kind, tmp_path):
    model = sized(kind).eval()
    graph = graph_of(model, (torch.tensor([0, 1, 3, 3]), torch.tensor([6, 0, 2, 5])))
    module, path = traced(graph).module(), write_onnx(graph, tmp_path / "a.onnx")
    for rows in (1, 7):
        pairs = torch.arange(rows) % 4, torch.arange(rows) % 7
        with torch.no_grad():
            truth = model(*pairs)
        assert rows == 1 or truth.std() > 0.01
        torch.testing.assert_close(module(*pairs)[0], truth)
        np.testing.assert_allclose(by_onnx(path, pairs)[0], truth, rtol=1e-5)


def test_ratings_of_raw_ids(tmp_path):
    learn = table().get_learner(8, None, 64, seed=0, progress=False, device="cpu")
    learn.fit(1e-2, 1)
    path, _ = both_files(learn, tmp_path)
    pairs = [(0, 500), (10, 501), (-1, 502)]  # the last user is unknown
    users, items = next(iter(learn.data.batches_from_raw(pairs)))
    (found,) = by_onnx(path, (users.long(), items.long()))
    truth = learn.outputs_of(lambda data: data.batches_from_raw(pairs))
    np.testing.assert_allclose(found, truth.numpy(), rtol=1e-5)
    told = session_of(path).get_modelmeta().custom_metadata_map
    assert json.loads(told["values"]) == ["stars"]
    assert [one["name"] for one in json.loads(told["inputs"])] == ["users", "items"]


def test_scores_of_pairs_without_ratings(tmp_path):
    taken = CollabFilterDataset(".", ratings()[["who", "film"]], "who", "film")
    learn = taken.get_learner(4, None, 64, seed=0, progress=False, device="cpu")
    learn.fit(1e-2, 1)
    path, _ = both_files(learn, tmp_path)
    told = json.loads(session_of(path).get_modelmeta().custom_metadata_map["outputs"])
    assert told[0]["meaning"].startswith("scores")

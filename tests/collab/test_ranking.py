"""The order of recommendations, and the pairs that they leave out."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from zoo import load_learner
from zoo_collab import CollabFilterDataset, EmbeddingDotBias
from zoo_collab.lists.ranking import as_ratings, item_scores, rank
from zoo_collab.pairs.seen import SeenPairs


class Given(nn.Module):
    """Scores as given, (users, items)."""

    def __init__(self, scores):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(scores, dtype=torch.float32))

    def forward(self, users, items):
        return self.weight[users, items]


def test_the_order_is_that_of_a_stable_sort_whatever_the_values():
    rng = np.random.default_rng(0)
    scores = rng.choice([-3e38, -2.5, -1e-40, -0.0, 0.0, 1e-40, 0.1, 7.0, 3e38], (40, 60)).astype(np.float32)
    found = rank(Given(scores), torch.arange(40), 59, 60)
    expected = 1 + np.argsort(-scores[:, 1:], axis=1, kind="stable")
    assert found.items.tolist() == expected.tolist()
    assert torch.equal(found.scores, torch.from_numpy(np.take_along_axis(scores, expected, 1)))


def test_a_shorter_list_is_the_beginning_of_a_longer_one_however_users_are_cut(monkeypatch):
    scores = torch.randint(0, 4, (9, 500), generator=torch.Generator().manual_seed(0))
    whole = rank(Given(scores), torch.arange(9), 499, 500).items
    for n in (1, 20, 50, 600):
        assert torch.equal(rank(Given(scores), torch.arange(9), n, 500).items, whole[:, :n])
    monkeypatch.setattr("zoo_collab.lists.ranking._CELLS", 1000)
    assert torch.equal(rank(Given(scores), torch.arange(9), 20, 500).items, whole[:, :20])
    assert rank(Given(scores), torch.arange(0), 20, 500).items.shape == (0, 20)


def test_what_is_left_out_is_in_no_list():
    seen = SeenPairs.from_pairs(np.array([1, 1, 2]), np.array([2, 3, 4]), 3)
    later = SeenPairs.from_pairs(np.array([1]), np.array([4]), 3)
    allowed = torch.tensor([True, True, True, True, True, False])
    model = Given(torch.arange(18.0).reshape(3, 6))
    found = rank(model, torch.tensor([1, 2, 0]), 5, 6, allowed=allowed, seen=[seen, later])
    assert found.items.tolist() == [[1, 0, 0, 0, 0], [3, 2, 1, 0, 0], [4, 3, 2, 1, 0]]
    assert found.scores[0].tolist() == [7.0, *[-np.inf] * 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_an_error(bad):
    scores = torch.zeros(5, 4)
    scores[3, 2] = bad
    with pytest.raises(ValueError, match=r"not finite for 1 of 2 users .*index 3.*lower rate"):
        rank(Given(scores), torch.tensor([1, 3]), 2, 4)


def test_a_saturated_range_does_not_mix_up_the_order():
    model = EmbeddingDotBias(3, 5001, 1, y_range=(0, 5))
    with torch.no_grad():
        model.item_bias.weight[1:, 0] = torch.linspace(10, 40, 5000)
    found = rank(model, torch.tensor([1]), 5000, 5001)
    assert found.items[0].tolist() == list(range(5000, 0, -1))
    assert as_ratings(model, found.scores).unique().numel() < 5000
    assert model.training


def test_models_without_scores_of_all_items_are_asked_in_bounded_pieces(monkeypatch):
    model, sizes = Given(torch.rand(8, 11)), []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    users = torch.tensor([5, 0, 7])
    whole = item_scores(model, users, 11)
    assert torch.equal(whole, model.weight[users])
    monkeypatch.setattr("zoo_collab.lists.ranking._PAIRS", 7)
    assert torch.equal(item_scores(model, users, 11), whole)
    assert sizes == [33, 7, 7, 7, 7, 5]
    assert torch.equal(as_ratings(model, whole), whole)


def test_pairs():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 400), rng.integers(0, 50, 400)
    pairs = SeenPairs.from_pairs(users, items, 30)
    kept = {(u, i) for u, i in zip(users, items, strict=True) if u and i}
    assert len(pairs) == len(kept)
    grid = torch.meshgrid(torch.arange(30), torch.arange(50), indexing="ij")
    mask = pairs.mask(torch.arange(30), 50)
    assert {tuple(pair) for pair in mask.nonzero().tolist()} == kept
    assert torch.equal(pairs.holds(*grid), mask)
    assert torch.equal(pairs.holds(torch.arange(30)[:, None], torch.arange(50)), mask)
    other = SeenPairs.from_pairs(users[:200], items[:200], 30)
    rest = pairs.without(other).mask(torch.arange(30), 50)
    assert torch.equal(rest, mask & ~other.mask(torch.arange(30), 50))
    assert not SeenPairs.none(30).holds(*grid).any()
    assert len(pairs.without(pairs)) == 0


def test_held_out_items_can_be_found_again_also_after_an_export(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"who": rng.integers(0, 9, 300), "what": rng.integers(0, 30, 300)})
    frame = frame.drop_duplicates().assign(stars=3.0 + rng.random(len(frame.drop_duplicates())))
    held = range(0, len(frame), 4)
    learn = CollabFilterDataset(tmp_path, frame, "who", "what", "stars").get_learner(
        3, held, progress=False, device="cpu", seed=0
    )
    learn.export(tmp_path / "model")
    trained = frame.drop(index=frame.index[list(held)])
    for one in (learn, load_learner(tmp_path / "model", device="cpu")):
        for known, left_out in ((frame, True), (trained, "train")):
            found = one.recommend(5, 99, exclude_seen=left_out)
            items = set(one.data.items.ids) - set(known.loc[known["who"] == 5, "what"])
            assert set(found["item"]) == items
        assert len(one.recommend(5, 99, exclude_seen=False)) == len(one.data.items.ids)
        with pytest.raises(ValueError, match="exclude_seen='valid': True leaves out all"):
            one.recommend(5, exclude_seen="valid")

"""What a recommender has learned, and why it answers as it does."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.collab.test_newcomers import ODD, trained
from zoo import load_learner
from zoo_collab import CollabLearner, EmbeddingDotBias
from zoo_collab.model.fold_in import Folding
from zoo_collab.reasons.item_map import _shared


@pytest.fixture(scope="module")
def learn(tmp_path_factory) -> CollabLearner:
    return trained(tmp_path_factory.mktemp("reasons"))


def own_ratings(learn, user) -> dict:
    users, items, stars = learn.data.train_dl.tensors
    own = users == learn.data.users.encode([user])[0]
    return {
        learn.data.items.ids[i - 1]: s for i, s in zip(items[own].tolist(), stars[own].tolist(), strict=True)
    }


def test_the_parts_of_a_score_add_up_and_are_of_the_users_own_ratings(learn) -> None:
    mine = own_ratings(learn, 13)
    for item in (504, 511):
        found = learn.why(13, item, n=4)
        score = learn.recommend(13, n=20, exclude_seen=False).set_index("item").loc[item]
        assert found.score == pytest.approx(score["score"], abs=1e-5)
        assert found.rating == pytest.approx(score["rating"], abs=1e-5)
        parts = found.table["contribution"]
        assert found.average + found.generosity + parts.sum() + found.others + found.rest == pytest.approx(
            found.score, abs=1e-9
        )
        assert parts.abs().is_monotonic_decreasing
        assert [mine[one] for one in found.table["item"]] == found.table["rating"].tolist()
        assert len(found.table) == 4
        everything = learn.why(13, item, n=99)
        assert len(everything.table) == len(mine)
        assert everything.others == 0
        # the rest is what fold-in does not tell: the score of the vector from these ratings has none
        folded = learn.why(None, item, n=99, ratings=mine)
        assert folded.rest == pytest.approx(0, abs=1e-4)
        assert found.score - found.rest == pytest.approx(folded.score, abs=1e-4)
        assert folded.user is None
    # user 13 likes odd films: that of odd ones speaks for an odd film
    signs = everything.table.assign(odd=everything.table["item"] % 2 == 1)
    assert everything.item == 511
    like = (signs["rating"] > 3) == signs["odd"]
    assert (signs["contribution"][like] > 0).mean() > 0.6


def test_a_score_without_range_is_a_sum_over_ratings_by_hand(learn) -> None:
    """Written out with the normal equations of the ridge regression that a fold-in is."""
    model = EmbeddingDotBias(41, 21, 3)
    torch.manual_seed(0)
    for table in (model.user_factors, model.item_factors, model.user_bias, model.item_bias):
        nn.init.normal_(table.weight, std=0.7)
        table.weight.data[0] = 0
    other = CollabLearner(learn.data, model, device="cpu")
    learn.data.folding = Folding(noise=0.8)
    try:
        found = other.why(None, 510, n=9, ratings=ODD)
    finally:
        learn.data.folding = None
    users = torch.cat([model.user_factors.weight, model.user_bias.weight], 1)[1:].detach().double().numpy()
    mean, n = users.mean(0), len(users)
    covariance = np.cov(users.T) * (1 - 4 / (4 + n)) + 4 / (4 + n) * np.cov(users.T).trace() / 4 * np.eye(4)
    items = torch.cat([model.item_factors.weight, torch.ones(21, 1)], 1).detach().double().numpy()
    bias = model.item_bias.weight[:, 0].detach().double().numpy()
    rows = learn.data.items.encode(list(ODD))
    a, asked = items[rows], items[learn.data.items.encode([510])[0]]
    inverse = np.linalg.inv(a.T @ a + 0.8 * np.linalg.inv(covariance))
    beyond = (
        np.array(list(ODD.values())) - a @ mean - bias[rows]
    )  # what the average user would not have given
    taste, bias_only = asked * [1, 1, 1, 0], np.array([0, 0, 0, 1])
    parts = dict(zip(ODD, (taste @ inverse @ a.T) * beyond, strict=True))
    assert found.generosity == pytest.approx(float((bias_only @ inverse @ a.T) @ beyond), abs=1e-6)
    for item, part in zip(found.table["item"], found.table["contribution"], strict=True):
        assert part == pytest.approx(parts[item], abs=1e-6)
    start = asked @ mean + bias[learn.data.items.encode([510])[0]]
    assert found.average == pytest.approx(start, abs=1e-6)
    assert found.score == pytest.approx(start + found.generosity + sum(parts.values()), abs=1e-5)


def test_why_says_what_it_needs(learn, tmp_path) -> None:
    with pytest.raises(ValueError, match="who 'nobody' is not known to the model"):
        learn.why("nobody", 500)
    with pytest.raises(
        ValueError, match="'film b' is not known to the model: it is the title of 501; give that"
    ):
        learn.why(13, "film b")
    with pytest.raises(ValueError, match="why needs a user, or the ratings"):
        learn.why(None, 500)
    with pytest.raises(ValueError, match="n is how many ratings are told"):
        learn.why(13, 500, 0)
    learn.export(tmp_path / "films.zoo")
    again = load_learner(tmp_path / "films.zoo", device="cpu")
    with pytest.raises(ValueError, match=r"why\(user, item, ratings=\{item: rating\}\)"):
        again.why(13, 504)
    mine = own_ratings(learn, 13)
    one, other = again.why(13, 504, ratings=mine), learn.why(13, 504)
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-4)
    assert one.rest == pytest.approx(other.rest, abs=1e-5)
    assert "film e (504) for 13: rating" in repr(other)
    assert [text.get_text() for text in other.plot().axes[0].get_yticklabels()][-2:] == [
        "generosity to all items", "not by ratings",
    ]  # fmt: skip


def test_similar_items_share_a_taste(learn) -> None:
    for measure in ("cosine", "centred", "dot", "distance"):
        near = learn.similar_items(505, 6, measure)
        assert list(near.columns) == [
            "rank",
            "item",
            "title",
            "n_ratings",
            "distance" if measure == "distance" else "similarity",
        ]
        assert 505 not in set(near["item"])
        assert (near["item"] % 2 == 1).mean() > 0.8
        assert near["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    vectors = learn.item_factors()
    nearest = learn.similar_items(505, 1, "distance").iloc[0]
    apart = np.linalg.norm(vectors.to_numpy() - vectors.loc[505].to_numpy(), axis=1)
    assert nearest["distance"] == pytest.approx(np.sort(apart)[1], rel=1e-5)
    many = learn.data.item_counts[1:].median()
    assert learn.similar_items(505, 20, min_ratings=int(many))["n_ratings"].min() >= many
    with pytest.raises(ValueError, match=r"measure='cosin' is not known \(did you mean 'cosine'\?\)"):
        learn.similar_items(505, measure="cosin")
    with pytest.raises(ValueError, match="film 999 is not known to the model; it knows 500"):
        learn.similar_items(999)
    with pytest.raises(ValueError, match="n is how many items"):
        learn.similar_items(505, 0)


def test_factors_and_biases_by_raw_id(learn) -> None:
    model, data = learn.model, learn.data
    factors = learn.item_factors([503, "501"])
    assert factors.index.tolist() == [503, 501]
    assert factors.index.name == "film"
    np.testing.assert_array_equal(
        factors.loc[501], model.item_factors.weight[data.items.encode([501])[0]].detach()
    )
    users = learn.user_factors()
    assert users.shape == (40, 5)
    assert users.index.tolist() == data.users.ids
    np.testing.assert_array_equal(
        users.loc[13], model.user_factors.weight[data.users.encode([13])[0]].detach()
    )
    kept = users.copy()
    users.iloc[0] = 99.0  # a copy
    pd.testing.assert_frame_equal(learn.user_factors(), kept)
    biases = learn.user_biases()
    assert biases["bias"].is_monotonic_decreasing
    first = biases.iloc[0]
    assert first["bias"] == model.user_bias.weight[data.users.encode([first["user"]])[0], 0].item()
    assert first["n_ratings"] == len(own_ratings(learn, first["user"]))
    assert learn.user_biases(min_ratings=13)["n_ratings"].min() >= 13
    with pytest.raises(ValueError, match="film 999 is not known"):
        learn.item_factors([503, 999])


def test_the_ends_of_a_direction(learn) -> None:
    ends = learn.item_extremes(3, components=2)
    placed = learn.item_components(2).set_index("item")
    assert ends.groupby(["component", "end"], sort=False).size().tolist() == [3] * 4
    first = ends[ends["component"] == 1]
    assert len({item % 2 for item in first.loc[first["end"] == "high", "item"]}) == 1
    assert len({item % 2 for item in first["item"]}) == 2
    for row in ends.itertuples():
        assert placed.loc[row.item, f"component_{row.component}"] == row.place
    assert placed["component_1"].abs().max() == placed["component_1"].max()
    high = ends[(ends["component"] == 2) & (ends["end"] == "high")]
    assert high["place"].tolist() == sorted(placed["component_2"], reverse=True)[:3]
    low = ends[(ends["component"] == 2) & (ends["end"] == "low")]
    assert low["place"].tolist() == sorted(placed["component_2"])[:3]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_shows_each_title_once_beside_its_point(learn, method) -> None:
    drawn = learn.plot_items(12, method=method)
    axes = drawn.axes[0]
    counts = learn.item_biases().sort_values("n_ratings", ascending=False, kind="stable")
    assert len(axes.texts) == 12
    assert {text.get_text() for text in axes.texts} <= set(counts["title"])
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    boxes = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
    shared = [_shared(boxes[i], boxes[j]) for i in range(12) for j in range(i)]
    assert max(shared) == 0
    if method == "pca":
        points = axes.collections[0].get_offsets()
        placed = learn.item_components(2)[["component_1", "component_2"]].to_numpy()
        assert all(np.isclose(placed, point).all(1).any() for point in points)


def test_a_map_of_named_items(learn) -> None:
    axes = learn.plot_items(items=[500, 501, 517], components=(2, 1)).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["film a", "film b", "film r"]
    with pytest.raises(ValueError, match="1 items make no map"):
        learn.plot_items(items=[500])
    with pytest.raises(ValueError, match=r"not 'tsme' \(did you mean 'tsne'\?\)"):
        learn.plot_items(method="tsme")


def test_models_without_tables_say_so(learn) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, users, items):
            return self.scale * (users + items).float()

    own = CollabLearner(learn.data, Own(), device="cpu", progress=False)
    for told in (own.item_factors, own.plot_items, lambda: own.similar_items(500), own.item_extremes):
        with pytest.raises(TypeError, match="Own has no table item_factors"):
            told()
    for told in (
        lambda: own.why(13, 500),
        lambda: own.recommend_for(ODD),
        lambda: own.update(pd.DataFrame()),
    ):
        with pytest.raises(TypeError, match="a Own has to be trained with their rows"):
            told()

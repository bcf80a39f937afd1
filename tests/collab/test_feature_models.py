"""Models and learners that know features: cold items, lists, files."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import RowAdamW, load_data, load_learner
from zoo.callbacks import EMA
from zoo.storage.registry import build_model, spec_of
from zoo_collab import CollabFilterDataset, EmbeddingDotBias, EmbeddingNet
from zoo_collab.model.choice import MANY_NUMBERS
from zoo_collab.model.features import FeaturedTable
from zoo_collab.pairs.features import FeatureRows

KINDS, PER_KIND = ("war", "love", "farce", "crime"), 12


def films() -> pd.DataFrame:
    """48 films of four kinds, the last two of each kind without ratings."""
    number = np.arange(len(KINDS) * PER_KIND)
    kind = np.array(KINDS)[number % len(KINDS)]
    return pd.DataFrame({"film": number + 500, "kind": kind, "year": 1980 + (number * 7) % 40})


def people() -> pd.DataFrame:
    return pd.DataFrame({"who": np.arange(60) * 10, "likes": np.array(KINDS)[np.arange(60) % len(KINDS)]})


def ratings(seed: int = 0) -> pd.DataFrame:
    """People like one kind of film; which one their features tell."""
    rng = np.random.default_rng(seed)
    who, film = (part.ravel() for part in np.meshgrid(np.arange(60), np.arange(40), indexing="ij"))
    kept = rng.random(len(who)) < 0.5
    who, film = who[kept], film[kept]
    stars = np.where(who % 4 == film % 4, 4.5, 2.0) + rng.normal(0, 0.2, len(who))
    return pd.DataFrame({"who": who * 10, "film": film + 500, "stars": stars.clip(1, 5)})


def table(**options) -> CollabFilterDataset:
    known = {"user_features": people(), "item_features": films(), **options}
    return CollabFilterDataset(".", ratings(), "who", "film", "stars", **known)


def fitted(kind: str, **options):
    more = {"hidden": [16]} if kind == "net" else {}
    learn = table(**options).get_learner(8, None, 64, seed=0, progress=False, device="cpu", **more)
    learn.fit_one_cycle(12, 2e-2)
    return learn


@pytest.fixture(scope="module", params=["dot", "net"])
def learn(request):
    return fitted(request.param)


def sized(kind: str, **options):
    """A small model with rows, ready."""
    torch.manual_seed(1)
    sizes = {"levels": 5, "longest": 3}
    both = {"user_features": sizes, "item_features": sizes, "y_range": (0, 5), **options}
    if kind == "net":
        model = EmbeddingNet(4, 7, (3, 2), [6], **both)
    else:
        model = EmbeddingDotBias(4, 7, 3, **both)
    rng = np.random.default_rng(0)
    for features, count in ((model.user_features, 4), (model.item_features, 7)):
        places = rng.integers(0, 5, (count, 3)).astype(np.int32)
        features.fill(FeatureRows(places, rng.random((count, 3)).astype(np.float32)))
    return model


def test_features_are_added_to_factors_and_biases_by_hand():
    model = EmbeddingDotBias(2, 2, 2, item_features={"levels": 3, "longest": 2})
    model.item_features.fill(FeatureRows(np.array([[0, 0], [1, 2]]), np.array([[0.0, 0.0], [0.5, 2.0]])))
    with torch.no_grad():
        model.user_factors.weight[1] = torch.tensor([1.0, 3.0])
        model.user_bias.weight[1] = 0.25
        model.item_factors.own.weight[1] = torch.tensor([1.0, 0.0])
        model.item_factors.by_level.weight[1:] = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        model.item_bias.own.weight[1] = 0.5
        model.item_bias.by_level.weight[1:] = torch.tensor([[4.0], [-1.0]])
    # factors (1 + 0.5 x 2, 2 x 1) by (1, 3), biases 0.25, 0.5 + 0.5 x 4 - 2 x 1
    assert model(torch.tensor([1]), torch.tensor([1])).item() == pytest.approx(2 + 6 + 0.25 + 0.5)
    assert model.all_scores(torch.tensor([1])).tolist() == [[0.25, 8.75]]
    assert model(torch.tensor([1]), torch.tensor([0])).item() == 0.25


@pytest.mark.parametrize("kind", ["dot", "net"])
@pytest.mark.parametrize("sparse", [False, True])
def test_every_item_at_once_and_negatives_equal_pair_by_pair(kind, sparse):
    model = sized(kind, sparse=sparse).eval()
    users = torch.tensor([3, 0, 1, 2])
    pairs = model(users.repeat_interleave(7), torch.arange(7).repeat(4)).reshape(4, 7)
    torch.testing.assert_close(model.squash(model.all_scores(users)), pairs)
    assert pairs.std() > 0.01
    if kind == "dot":
        found = model(users, torch.tensor([5, 5, 1, 1]), torch.tensor([2, 6]))
        torch.testing.assert_close(found[:, 1:], pairs[:, [2, 6]])
        torch.testing.assert_close(found[:, 0], pairs[torch.arange(4), torch.tensor([5, 5, 1, 1])])


@pytest.mark.parametrize("kind", ["dot", "net"])
def test_models_are_rebuilt_exported_and_freeze_by_groups(kind):
    model = sized(kind).eval()
    pair = torch.tensor([0, 1, 3, 3]), torch.tensor([6, 0, 2, 5])
    spec = spec_of(model)
    again = build_model(spec.name, spec.args).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(*pair), model(*pair))
    held = [name for name in model.state_dict() if name.endswith("places")]
    assert held == ["user_features.places", "item_features.places"], "rows are kept once"
    exported = torch.export.export(model, pair).module()
    torch.testing.assert_close(exported(*pair), model(*pair))
    other = copy.deepcopy(model)
    other.item_features.shares.zero_()
    assert not torch.equal(other(*pair), model(*pair)), "a copy reads its own rows"
    assert torch.equal(again(*pair), model(*pair))
    first = next(iter(model.layer_groups().values()))
    grouped = {id(p) for parts in model.layer_groups().values() for part in parts for p in part.parameters()}
    assert grouped == {id(p) for p in model.parameters()}
    assert any(isinstance(part, FeaturedTable) for part in first)


def test_films_without_ratings_are_liked_by_those_who_like_their_kind(learn):
    found = learn.recommend(people()["who"].tolist(), 2, only=lambda items: items["n_ratings"] == 0)
    assert len(found) == 120
    liked = found["user"] // 10 % 4 == found["item"] % 4
    assert liked.mean() > 0.95, "of chance a quarter"
    assert found["known_user"].all()
    new = pd.DataFrame({"film": [1, 2], "kind": ["war", "love"], "year": [1990, 1990]})
    stars = learn.recommend_new([0, 10], new).set_index(["user", "item"])["rating"]
    assert stars[0, 1] > 3.7 > 3 > stars[0, 2]
    assert stars[10, 2] > 3.7 > 3 > stars[10, 1]


def test_people_without_ratings_get_what_their_features_say(learn):
    new = pd.DataFrame({"likes": ["crime", "war"]}, index=["eve", "al"])
    found = learn.recommend_new(new, n=5)
    assert found["user"].tolist() == ["eve"] * 5 + ["al"] * 5
    assert found["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    for name, kind in (("eve", 3), ("al", 0)):
        assert (found.loc[found["user"] == name, "item"] % 4 == kind).mean() >= 0.8
    both = learn.recommend_new(new, films()[:4].drop(columns="film"), n=1)
    assert both["item"].tolist() == [3, 0]
    unknown = learn.recommend_new(pd.DataFrame({"likes": ["opera", None]}), films()[:4], n=4)
    scores = unknown.set_index(["user", "item"])["score"].unstack()
    np.testing.assert_allclose(scores.loc[0], scores.loc[1], rtol=1e-5)


def test_an_item_of_training_and_its_twin_differ_by_its_own_vector_alone(learn):
    """Of the same features, with what training has found of the item itself taken away."""
    other = copy.deepcopy(learn)
    with torch.no_grad():
        for name in ("item_factors", "item_bias"):
            if hasattr(other.model, name):
                getattr(other.model, name).own.weight[7] = 0
    twin = learn.recommend_new([0, 10, 20], films()[films()["film"] == learn.data.items.ids[6]])
    pairs = [(user, learn.data.items.ids[6]) for user in (0, 10, 20)]
    np.testing.assert_allclose(twin["rating"], other.predict_batch(pairs), rtol=1e-5)
    assert not np.allclose(twin["rating"], learn.predict_batch(pairs), rtol=1e-5)


def test_exports_score_new_items_alike(learn, tmp_path):
    loaded = load_learner(learn.export(tmp_path / "out.zip"), "cpu")
    new = films()[::5].assign(film=range(10), kind=["war", "opera"] * 5)
    pd.testing.assert_frame_equal(loaded.recommend_new([0, 10], new, 3), learn.recommend_new([0, 10], new, 3))
    pd.testing.assert_frame_equal(loaded.recommend([0, 30], 5), learn.recommend([0, 30], 5))
    assert loaded.data.features["item_features"].rows is None
    assert loaded.data.mapping() == learn.data.mapping()
    name = tmp_path / "weights"
    learn.save(name)
    loaded.load(name)
    state, tensors = learn.data.export_state()
    assert not any("features" in key for key in tensors)
    older = {key: value for key, value in state.items() if "features" not in key}
    assert type(learn.data).from_state(older, tensors).features == {}


def test_prepared_data_keep_their_rows(tmp_path):
    data = table().get_data(bs=64)
    again = load_data(data.save(tmp_path / "prepared"))
    for side, known in data.features.items():
        for one, two in zip(known.rows, again.features[side].rows, strict=True):
            np.testing.assert_array_equal(one, two)
        assert known.sizes == again.features[side].sizes


def test_weights_belong_to_the_features_they_were_trained_with(tmp_path):
    learn = table().get_learner(4, seed=0, progress=False, device="cpu")
    learn.save(tmp_path / "w")
    table().get_learner(4, seed=1, progress=False, device="cpu").load(tmp_path / "w")
    moved = films().assign(kind=np.roll(films()["kind"], 1))
    other = table(item_features=moved).get_learner(4, seed=0, progress=False, device="cpu")
    with pytest.raises(ValueError, match="different: item_features"):
        other.load(tmp_path / "w")
    called = films().assign(kind=["a " + kind for kind in films()["kind"]])  # in the same order
    other = table(item_features=called).get_learner(4, seed=0, progress=False, device="cpu")
    with pytest.raises(ValueError, match=r"kind: crime' there, 'kind: a crime' here"):
        other.load(tmp_path / "w")


def test_what_training_does_not_reach_says_nothing():
    learn = fitted("dot")
    cold = learn.data.item_counts == 0
    assert int(cold.sum()) == 9
    assert not learn.model.item_factors.own.weight[cold].any()
    told = ["(padding)", *learn.data.features["item_features"].coder.told()]
    for name in ("kind: (missing)", "kind: (rare)", "kind: (unknown)", "year: (missing)"):
        assert not learn.model.item_factors.by_level.weight[told.index(name)].any()
        assert not learn.model.item_bias.by_level.weight[told.index(name)].any()
    assert learn.model.item_factors.by_level.weight[told.index("kind: war")].abs().max() > 0.05
    assert learn.predict_one(("nobody", 500)) == pytest.approx(
        learn.predict_array((torch.tensor([0]), torch.tensor([1])))[0], abs=1e-5
    )


@pytest.mark.parametrize("kind", ["dot", "net"])
def test_rows_of_tables_train_by_rows_and_answers_are_alike(kind):
    more = {"hidden": [16]} if kind == "net" else {}
    found = []
    for sparse in (False, True):
        learn = table().get_learner(
            8, np.arange(0, 1200, 5), 64, seed=0, sparse=sparse, progress=False, **more
        )
        assert learn.model.item_factors.own.sparse is sparse
        learn.fit_one_cycle(6, 2e-2)
        found.append(learn.evaluate()["rmse"])
    assert isinstance(learn.opt.opt, RowAdamW)
    assert found[1] == pytest.approx(found[0], rel=0.1)
    assert max(found) < 0.6


@pytest.mark.parametrize("kind", ["dot", "net"])
def test_many_levels_of_features_train_by_rows_as_well(kind, monkeypatch, tmp_path):
    more = {"hidden": [16]} if kind == "net" else {}
    found = []
    for most in (1 << 40, 0):
        monkeypatch.setattr("zoo_collab.model.features.MANY_NUMBERS", most)
        learn = table().get_learner(
            8, np.arange(0, 1200, 5), 512, seed=0, sparse=True, progress=False, device="cpu", wd=0.1, **more
        )
        levels = [part.by_level for part in learn.model.modules() if isinstance(part, FeaturedTable)]
        assert all(one.sparse is (most == 0) for one in levels)
        assert learn.model.item_factors.own.sparse
        learn.fit_one_cycle(3, 2e-2)
        found.append({name: value.clone() for name, value in learn.model.state_dict().items()})
    # a batch reads every level of the kinds: rows one by one take the steps of AdamW
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-3, rtol=1e-3)
    assert not found[1]["item_factors.by_level.weight"][0].any()
    users = torch.arange(5)
    learn.model.eval()
    pairs = learn.model(users, users)
    torch.testing.assert_close(learn.model.squash(learn.model.all_scores(users)).diagonal(), pairs)
    learn.export(tmp_path / "levels.zoo")
    again = load_learner(tmp_path / "levels.zoo", device="cpu")
    pd.testing.assert_frame_equal(again.recommend([0, 10], 3), learn.recommend([0, 10], 3))


def test_many_levels_count_where_sparse_is_chosen_by_size(monkeypatch):
    plain = table().get_learner(8, None, 2, device="cpu", progress=False)
    assert not plain.model.item_factors.own.sparse
    rows = len(plain.data.users) + len(plain.data.items)
    monkeypatch.setitem(MANY_NUMBERS, "cpu", rows * 8 + 1)
    assert table().get_learner(8, None, 2, device="cpu", progress=False).model.item_factors.own.sparse
    assert not table().without_features().get_learner(8, None, 2, device="cpu").model.item_factors.sparse


def test_lists_without_ratings_put_new_films_where_they_belong():
    liked = table().implicit(4)
    learn = liked.get_learner(8, None, 64, seed=0, progress=False, device="cpu", wd=0.02)
    drawn = learn.data.train_dl.batch_transform
    assert drawn.n_items == 41, "films without pairs stand against nothing"
    learn.fit_one_cycle(20, 3e-2)
    found = learn.recommend(people()["who"].tolist(), 2, only=lambda items: items["n_ratings"] == 0)
    assert (found["user"] // 10 % 4 == found["item"] % 4).mean() > 0.9
    assert "rating" not in learn.recommend_new([0], films()[:3])


def test_closed_forms_and_what_is_not_new_are_refused(learn):
    expected = (
        "also has vectors of features" if isinstance(learn.model, EmbeddingDotBias) else "EmbeddingDotBias"
    )
    with pytest.raises(TypeError, match=expected):
        learn.fit_als()
    with pytest.raises(TypeError, match="nothing here is new"):
        learn.recommend_new([0])
    with pytest.raises(ValueError, match=r"item_features.*'kind'"):
        learn.recommend_new([0], films().drop(columns="kind"))
    with pytest.raises(TypeError, match="new items are a frame of features, a row each, not a list"):
        learn.recommend_new([0], [1, 2])
    with pytest.raises(ValueError, match="the frame of new users has no rows"):
        learn.recommend_new(people()[:0])
    plain = table().without_features().get_learner(4, progress=False)
    with pytest.raises(ValueError, match="features of items are not known to these data"):
        plain.recommend_new([0], films())
    with pytest.raises(ValueError, match=r"item_features are told as \{'levels'"):
        EmbeddingDotBias(3, 3, 2, item_features={"levels": 3})
    with pytest.raises(ValueError, match=r"shape \(2, 1\), and the model has room for \(7, 3\)"):
        sized("dot").item_features.fill(FeatureRows(np.zeros((2, 1)), np.zeros((2, 1))))
    with pytest.raises(TypeError, match="cold is True or False, got 'items'"):
        table().get_data(cold="items")


def test_without_the_flag_they_stay_unknown():
    learn = table().get_learner(4, cold=False, progress=False)
    assert len(learn.data.items) == 41
    assert learn.recommend([0], n=99, exclude_seen=False)["item"].max() < 540


def test_averages_of_weights_and_half_precision_know_the_rows():
    for kind in ({}, {"hidden": [16]}):
        learn = table().get_learner(
            8, np.arange(0, 1200, 5), 64, seed=0, progress=False, device="cpu", callbacks=[EMA(0.9)], **kind
        )
        before = learn.model.item_features.places.clone()
        learn.to_bf16()
        learn.fit_one_cycle(8, 2e-2)
        assert torch.equal(learn.model.item_features.places, before)
        assert learn.evaluate()["rmse"] < 0.6


def test_real_films_without_ratings_are_rated_better_by_genre_and_year(data_dir):
    folder = data_dir("ml-latest-small")
    df, about = pd.read_csv(folder / "ratings.csv"), pd.read_csv(folder / "movies.csv")
    about["year"] = about["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    chosen = np.random.default_rng(11).permutation(np.sort(df["movieId"].unique()))[:2000]
    held = np.flatnonzero(df["movieId"].isin(chosen))
    films_table = CollabFilterDataset(
        ".", df, "userId", "movieId", "rating", item_features=about[["movieId", "genres", "year"]]
    )
    errors = {}
    for name, one in (("with", films_table), ("without", films_table.without_features())):
        learn = one.get_learner(20, held, 512, seed=0, progress=False, device="cpu")
        learn.fit_one_cycle(3, 1e-2)
        errors[name] = learn.evaluate()["rmse"]
    assert errors["with"] < errors["without"] - 0.02
    assert 0.85 < errors["with"] < 0.94


def test_people_who_were_not_in_training_are_folded_in_and_items_are_told_apart(learn):
    somebody = {501: 4.5, 505: 4.5, 509: 4.5, 500: 2.0, 502: 2.0, 503: 2.0}
    best = learn.recommend_for(somebody, n=8, only=lambda items: items["n_ratings"] == 0)
    assert set(best["item"][:2] % 4) == {1}, "films without ratings of the kind that was liked"
    alike = learn.similar_items(540, n=2, measure="centred")
    assert (alike["item"] % 4 == 0).all(), "a film without ratings is like those of its kind"
    assert learn.item_factors([540]).shape[1] >= 8
    with pytest.raises(TypeError, match=r"update\(\) solves vectors of ids"):
        learn.update(ratings()[:3])


@pytest.mark.gpu
def test_new_items_are_scored_alike_on_a_gpu(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    learn = table().get_learner(8, np.arange(0, 1200, 5), 64, seed=0, progress=False, device="cuda")
    learn.fit_one_cycle(8, 2e-2)
    assert learn.evaluate()["rmse"] < 0.6
    loaded = load_learner(learn.export(tmp_path / "out.zip"), "cpu")
    on_gpu, on_cpu = learn.recommend_new([0, 10], films()), loaded.recommend_new([0, 10], films())
    assert on_gpu["item"].tolist() == on_cpu["item"].tolist()
    np.testing.assert_allclose(on_gpu["score"], on_cpu["score"], rtol=1e-3)

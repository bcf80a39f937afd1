"""Training, recommending, predicting, exporting."""

import pickle
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch

from tests.core.processes import fresh
from tests.seeds import check_seed_of_first_weights
from zoo import get_cv_idxs, load_learner
from zoo_collab import CollabFilterDataset, CollabLearner, EmbeddingNet

FILMS = [f"film {letter}" for letter in "abcdefghijklmnopqrst"]


def simulated(n_users: int = 40, seed: int = 0) -> pd.DataFrame:
    """Ratings of 20 films: two tastes, film qualities, a little noise."""
    rng = np.random.default_rng(seed)
    users, films = np.divmod(rng.permutation(n_users * len(FILMS))[: n_users * 12], len(FILMS))
    taste = np.where((users % 2) == (films % 2), 0.9, -0.9)
    quality = np.linspace(-0.7, 0.7, len(FILMS))[films]
    stars = np.clip(3 + taste + quality + rng.normal(0, 0.15, len(users)), 1, 5)
    return pd.DataFrame({"who": users * 10 + 3, "film": films + 500, "stars": stars.astype(np.float32)})


@pytest.fixture(scope="module")
def learn(tmp_path_factory) -> CollabLearner:
    titles = {500 + number: name for number, name in enumerate(FILMS)}
    table = CollabFilterDataset.from_data_frame(
        tmp_path_factory.mktemp("collab"), simulated(), "who", "film", "stars", item_titles=titles
    )
    learn = table.get_learner(
        5, get_cv_idxs(len(table)), bs=32, y_range=(0, 6), wd=0.02, seed=1, progress=False, device="cpu"
    )
    learn.fit_one_cycle(30, 2e-2)
    return learn


def test_it_learns_taste_and_quality(learn):
    row = learn.history[-1]
    targets = simulated()["stars"].to_numpy()
    assert row["valid_loss"] < 0.3 * targets.var()
    assert row["rmse"] == pytest.approx(row["valid_loss"] ** 0.5, rel=1e-4)
    assert row["mae"] < row["rmse"]
    assert "factors" in repr(learn.groups)
    assert "biases" in repr(learn.groups)
    bias = learn.item_biases()
    assert bias["bias"].is_monotonic_decreasing
    quality = bias["item"].to_numpy() - 500
    assert np.corrcoef(quality, bias["bias"])[0, 1] > 0.8


def test_recommend_excludes_seen_ranks_and_names(learn):
    df = simulated()
    best = learn.recommend([3, 13, 23], n=4)
    assert list(best.columns) == ["user", "rank", "item", "title", "score", "rating", "known_user"]
    assert best["rank"].tolist() == [1, 2, 3, 4] * 3
    assert best["known_user"].all()
    for user, rows in best.groupby("user"):
        assert not set(rows["item"]) & set(df.loc[df["who"] == user, "film"])
        assert rows["score"].is_monotonic_decreasing
        scores = learn.predict_batch([(user, item) for item in rows["item"]])
        np.testing.assert_allclose(scores, rows["rating"], rtol=1e-5)
    assert best["title"].tolist() == [FILMS[item - 500] for item in best["item"]]
    everything = learn.recommend(3, n=99, exclude_seen=False)
    assert set(everything["item"]) == set(range(500, 520))
    left = learn.recommend(3, n=99)
    assert len(left) == 20 - (df["who"] == 3).sum()


def test_recommend_in_one_pass_equals_user_by_user(learn):
    users = sorted(simulated()["who"].unique())
    together = learn.recommend(users, n=3)
    apart = pd.concat([learn.recommend(user, n=3) for user in users], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart)


def test_filters(learn):
    chosen = learn.recommend(3, n=9, exclude_seen=False, filter=[500, 501, 777])
    assert set(chosen["item"]) == {500, 501}
    some = learn.recommend(
        3, n=50, exclude_seen=False, filter=lambda items: items["title"].str.endswith(("a", "b"))
    )
    assert set(some["title"]) == {"film a", "film b"}
    nothing = learn.recommend(3, filter=lambda items: items["n_ratings"] > 10_000)
    assert list(nothing.columns) == ["user", "rank", "item", "title", "score", "rating", "known_user"]
    assert not len(nothing)
    with pytest.raises(ValueError, match="none of these items is known"):
        learn.recommend(3, filter=[1, 2])
    with pytest.raises(ValueError, match="one true or false for each of the 20 items"):
        learn.recommend(3, filter=lambda items: [True])
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        learn.recommend(3, n=0)
    with pytest.raises(ValueError, match=r"must be a whole number, got 2\.5"):
        learn.recommend(3, n=2.5)
    with pytest.raises(ValueError, match="a mask of true and false needs to know its items"):
        learn.recommend(3, filter=np.arange(20) % 2 == 0)
    with pytest.raises(ValueError, match="known to the model: the list is empty"):
        learn.recommend(3, only=[])
    with pytest.raises(ValueError, match="filter and only say the same"):
        learn.recommend(3, filter=[500], only=[500])
    without = learn.recommend(3, n=20, exclude_seen=False, only=[500, 501, 502], exclude=[501, 777])
    assert set(without["item"]) == {500, 502}
    rare = learn.recommend(3, n=20, exclude_seen=False, exclude=lambda items: items["title"] == "film a")
    assert set(rare["item"]) == set(range(501, 520))
    assert learn.recommend(3, only=[501], exclude=[501], exclude_seen=False).empty
    single = learn.recommend(3, n=np.int64(2), exclude_seen=False, filter=505)
    assert single["item"].tolist() == [505]


def test_users_come_as_lists_arrays_or_tensors_but_not_as_tables(learn):
    expected = learn.recommend([3, 13], n=2)
    for users in (torch.tensor([3, 13]), np.array([3, 13]), pd.Series([3, 13]), list(torch.tensor([3, 13]))):
        pd.testing.assert_frame_equal(learn.recommend(users, n=2), expected)
    pd.testing.assert_frame_equal(learn.recommend(torch.tensor(3), n=2), learn.recommend(3, n=2))
    with pytest.raises(TypeError, match="got a DataFrame; give its column"):
        learn.recommend(pd.DataFrame({"who": [3]}))
    with pytest.raises(TypeError, match="got a dict"):
        learn.recommend({"who": 3})
    with pytest.raises(ValueError, match=r"an array of shape \(1, 2\)"):
        learn.recommend(torch.tensor([[3, 13]]))


def test_indexes_out_of_range_are_named(learn):
    users, items = learn.data.users.encode([3, 13]), learn.data.items.encode([500, 501])
    assert learn.predict_array((users, items)).shape == (2,)
    with pytest.raises(ValueError, match=r"who: indexes lie between 0 .* and 40, got 99"):
        learn.predict_array((np.array([99, 1]), items))
    with pytest.raises(ValueError, match=r"film: indexes lie between 0 .* and 20, got -1"):
        learn.predict_array((users, torch.tensor([1, -1])))


def test_answers_stay_on_the_scale_and_the_loss_is_of_raw_outputs(tmp_path):
    df = simulated()
    table = CollabFilterDataset.from_data_frame(tmp_path, df, "who", "film", "stars", rating_range=(1, 5))
    learn = table.get_learner(np.int64(3), get_cv_idxs(len(df)), bs=64, seed=0, progress=False, device="cpu")
    assert learn.model.y_range == pytest.approx((0.6, 5.4))
    assert learn.wd == (0.5, 0.05)
    with torch.no_grad():
        learn.model.user_bias.weight[1] = 50.0
        learn.model.user_bias.weight[2] = -50.0
    learn.export(tmp_path / "films.zoo")
    for each in (learn, load_learner(tmp_path / "films.zoo", device="cpu")):
        first, second = each.data.users.ids[:2]
        assert each.predict_batch([(first, 500), (second, 500)]).tolist() == [5, 1]
        assert each.predict_one((first, 500)) == 5
        best = each.recommend(first)
        assert best["rating"].tolist() == [5] * len(best)
        assert best["score"].is_monotonic_decreasing
        assert best["score"].nunique() == len(best)
    preds, targets = learn.predict_with_targs()
    assert preds.max() > 5.3
    assert learn.evaluate()["valid_loss"] == pytest.approx(float(((preds - targets) ** 2).mean()), rel=1e-4)


def test_item_biases_leave_out_rarely_rated_items(learn):
    counts = learn.item_biases()["n_ratings"]
    few = int(counts.median())
    assert counts.min() < few
    chosen = learn.item_biases(min_ratings=few)
    assert len(chosen) == (counts >= few).sum()
    assert chosen["n_ratings"].min() >= few


def test_unknown_ids_are_flagged_and_ranked_by_bias(learn, caplog):
    new = learn.recommend(["nobody"], n=20)
    assert not new["known_user"].any()
    assert "who: 1 of 1 values were not seen in training" in caplog.text
    assert new["item"].tolist() == learn.item_biases()["item"].tolist()
    stars = learn.predict_batch([("nobody", 500), (3, "no such film"), ("nobody", None)])
    assert np.isfinite(stars).all()
    assert stars[2] == pytest.approx(learn.data.mean, abs=1e-3)
    assert isinstance(float(learn.predict_one(("nobody", 500))), float)


def test_raw_predictions_equal_validation_predictions(learn):
    df = simulated()
    rows = get_cv_idxs(len(df))
    preds, targets = learn.predict_with_targs()
    held_out = df.iloc[rows]
    np.testing.assert_allclose(targets, held_out["stars"], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(preds), np.ravel(learn.predict_batch(held_out)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"no column 'film' \(did you mean 'films'\?\)"):
        learn.predict_batch(held_out.rename(columns={"film": "films"}))
    with pytest.raises(ValueError, match=r"expected a \(who, film\) pair of raw ids, got 3"):
        learn.predict_batch([3, 500])


def test_plots_and_components(learn):
    assert learn.plot_predictions().axes
    parts = learn.item_components(2)
    assert list(parts.columns) == ["item", "title", "n_ratings", "component_1", "component_2"]
    taste = parts["item"].to_numpy() % 2
    assert abs(np.corrcoef(taste, parts["component_1"])[0, 1]) > 0.9


def test_export_loads_in_a_fresh_process_without_the_data(learn, tmp_path):
    file = tmp_path / "films.zoo"
    learn.export(file)
    users = [3, 13, "nobody"]
    expected = learn.recommend(users, n=5)
    code = f"""
        from zoo import load_learner
        learn = load_learner({str(file)!r}, device="cpu")
        learn.recommend([3, 13, "nobody"], n=5).to_json({str(tmp_path / "again.json")!r}, double_precision=15)
        print(repr(float(learn.predict_one((3, 501)))))
    """
    done = fresh(textwrap.dedent(code), tmp_path)
    assert done.returncode == 0, done.stderr
    again = pd.read_json(tmp_path / "again.json", dtype={"user": object})
    assert again["title"].tolist() == expected["title"].tolist()
    np.testing.assert_allclose(again["score"], expected["score"], rtol=1e-6)
    assert float(done.stdout) == pytest.approx(float(learn.predict_one((3, 501))), rel=1e-6)


def test_load_learner_keeps_id_types_and_equals_exactly(learn, tmp_path):
    learn.export(tmp_path / "films.zoo")
    again = load_learner(tmp_path / "films.zoo", device="cpu")
    assert isinstance(again, CollabLearner)
    assert again.data.users.ids == learn.data.users.ids
    pd.testing.assert_frame_equal(again.recommend([3, 13], n=7), learn.recommend([3, 13], n=7))


class Trap:
    """Runs code when unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def test_a_crafted_pickle_executes_nothing(tmp_path):
    trap = tmp_path / "sprung"
    hostile = tmp_path / "hostile.zoo"
    hostile.write_bytes(pickle.dumps(Trap(str(trap))))
    with pytest.raises(ValueError):
        load_learner(hostile)
    torch.save(Trap(str(trap)), hostile)
    with pytest.raises(ValueError):
        load_learner(hostile)
    assert not trap.exists()


def test_hidden_layers_make_an_embedding_net(tmp_path):
    table = CollabFilterDataset.from_data_frame(tmp_path, simulated(), "who", "film", "stars")
    learn = table.get_learner(
        (4, 6),
        get_cv_idxs(len(table)),
        bs=64,
        hidden=[16],
        dropouts=0.05,
        wd=0.02,
        seed=0,
        progress=False,
        device="cpu",
    )
    assert isinstance(learn.model, EmbeddingNet)
    learn.fit_one_cycle(40, 1e-2)
    assert learn.history[-1]["valid_loss"] < 0.5 * simulated()["stars"].var()
    learn.export(tmp_path / "net.zoo")
    again = load_learner(tmp_path / "net.zoo", device="cpu")
    pd.testing.assert_frame_equal(again.recommend(3), learn.recommend(3))
    with pytest.raises(TypeError, match="EmbeddingNet has no item biases"):
        learn.item_biases()


def test_real_ratings_beat_the_biases_alone(data_dir):
    """On a slice of MovieLens the factors must add to what user and item means (shrunk, Koren 2009) know."""
    df = pd.read_csv(data_dir("ml-latest-small") / "ratings.csv")
    popular = df["movieId"].value_counts().index[:600]
    df = df[df["movieId"].isin(popular)].reset_index(drop=True)
    rows = get_cv_idxs(len(df), seed=7)
    table = CollabFilterDataset.from_data_frame(".", df, "userId", "movieId", "rating", rating_range=(0.5, 5))
    learn = table.get_learner(50, rows, bs=512, seed=0, progress=False, device="cpu")
    learn.fit_one_cycle(5, 5e-3)
    held_out = np.zeros(len(df), dtype=bool)
    held_out[rows] = True
    train, valid = df[~held_out], df[held_out]
    mean = train["rating"].mean()
    rest = train["rating"] - mean
    item = rest.groupby(train["movieId"]).agg(lambda r: r.sum() / (len(r) + 5))
    left = rest - train["movieId"].map(item)
    user = left.groupby(train["userId"]).agg(lambda r: r.sum() / (len(r) + 5))
    baseline = mean + valid["movieId"].map(item).fillna(0) + valid["userId"].map(user).fillna(0)
    bias_only = float(((baseline - valid["rating"]) ** 2).mean())
    assert learn.history[-1]["valid_loss"] < bias_only - 0.02
    assert learn.history[-1]["valid_loss"] < 0.72


@pytest.mark.gpu
def test_trains_on_a_gpu_and_recommends_the_same_after_loading_on_cpu(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    table = CollabFilterDataset.from_data_frame(tmp_path, simulated(), "who", "film", "stars")
    learn = table.get_learner(5, get_cv_idxs(len(table)), bs=64, seed=0, progress=False, device="cuda")
    learn.fit_one_cycle(10, 2e-2)
    assert learn.history[-1]["valid_loss"] < learn.history[0]["valid_loss"]
    learn.export(tmp_path / "films.zoo")
    again = load_learner(tmp_path / "films.zoo", device="cpu")
    on_gpu, on_cpu = learn.recommend([3, 13]), again.recommend([3, 13])
    assert on_gpu["item"].tolist() == on_cpu["item"].tolist()
    np.testing.assert_allclose(on_gpu["score"], on_cpu["score"], rtol=1e-4)


@pytest.mark.parametrize("hidden", [None, [4]])
def test_the_seed_fixes_the_first_weights_and_no_other_draws(hidden, tmp_path):
    table = CollabFilterDataset.from_data_frame(tmp_path, simulated(), "who", "film", "stars")

    check_seed_of_first_weights(
        lambda seed: table.get_learner(3, bs=32, hidden=hidden, seed=seed, progress=False, device="cpu").model
    )


def test_a_gap_among_the_users_changes_no_id() -> None:
    big = 10**18
    rows = [(big + k, item, 5.0 if k == item % 8 else 1.0) for k in range(8) for item in range(12)]
    frame = pd.DataFrame(rows, columns=["who", "film", "stars"])
    learn = CollabFilterDataset(".", frame, "who", "film", "stars").get_learner(4, seed=0, progress=False)
    learn.fit(5e-2, 3)
    found = learn.recommend([big, None, big + 7], 2, exclude_seen=False)
    alone = learn.recommend([big, big + 7], 2, exclude_seen=False)
    known = found[found["known_user"]]
    assert known["user"].tolist() == alone["user"].tolist() == [big, big, big + 7, big + 7]
    assert known["item"].tolist() == alone["item"].tolist()
    assert found["user"].isna().sum() == 2


def test_lists_of_ratings_say_once_what_orders_them(learn, caplog) -> None:
    from zoo_collab.lists.recommend import tell_once

    tell_once.cache_clear()
    with caplog.at_level("INFO", logger="zoo.collab"):
        learn.recommend(["u1"], 2)
        learn.recommend(["u1"], 2)
    assert caplog.text.count("table.compare() tell how good they are") == 1

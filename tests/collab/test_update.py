"""New ratings, users and items in a trained learner; every id means afterwards what it meant before."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from tests.collab.test_newcomers import trained
from zoo import load_learner
from zoo_collab import CollabFilterDataset
from zoo_collab.model.fold_in import Pairs, Prior, fold_in
from zoo_collab.model.vector_scores import scores_of
from zoo_collab.pairs.ids import IdMap


def news() -> pd.DataFrame:
    """Two new users, one with odd taste; a new film, liked by those who like odd ones; more of user 3."""
    rows = [(1, 501, 5), (1, 503, 5), (1, 500, 1), (1, 502, 1), (2, 500, 5), (2, 502, 5), (2, 501, 1)]
    rows += [(who, 900, 4.8 if who % 20 == 13 else 1.2) for who in range(3, 400, 10)]
    return pd.DataFrame(rows, columns=["who", "film", "stars"]).astype({"stars": "float32"})


def answers(learn, pairs) -> dict:
    return dict(
        zip(map(tuple, pairs.itertuples(index=False)), np.ravel(learn.predict_batch(pairs)), strict=True)
    )


def everything(learn) -> pd.DataFrame:
    return pd.MultiIndex.from_product(
        [learn.data.users.ids, learn.data.items.ids], names=["who", "film"]
    ).to_frame(index=False)


@pytest.mark.parametrize("hidden", [None, [16]])
def test_ids_mean_the_same_before_and_after_save_load_and_export(tmp_path, hidden) -> None:
    learn = trained(tmp_path, hidden=hidden)
    old_data, old_users, old_items = learn.data, list(learn.data.users.ids), list(learn.data.items.ids)
    pairs = everything(learn)
    before = answers(learn, pairs)
    vectors = learn.user_factors()
    learn.save("before")
    done = learn.update(news(), {900: "the new one"})
    assert (done.new_users, done.new_items, done.ratings, done.again) == ([1, 2], [900], 47, 0)
    assert learn.data.users.ids == [*old_users, 1, 2]
    assert learn.data.items.ids == [*old_items, 900]
    assert (old_data.users.ids, old_data.items.ids) == (old_users, old_items)
    assert (len(old_data.seen.starts), len(old_data.item_counts)) == (42, 21)
    after = answers(learn, pairs)
    error = np.array([after[pair] - before[pair] for pair in before])
    assert np.sqrt(np.mean(error**2)) < 0.35
    assert np.corrcoef(list(before.values()), [after[pair] for pair in before])[0, 1] > 0.95
    if hidden is None:  # users without new ratings stay what they are, bit for bit
        still = [user for user in old_users if user not in set(done.solved_users)]
        assert learn.user_factors(still).equals(vectors.loc[still])
    assert learn.data.titles[-1] == "the new one"
    assert learn.data.titles[1] == "film a"
    # the new people have their tastes, the new film those who like it
    best = learn.recommend([1, 2], n=6)
    odd = best.assign(odd=best["item"] % 2 == 1)[best["item"] != 900].groupby("user")["odd"].mean()
    assert odd[1] > 0.75
    assert odd[2] < 0.25
    fans = learn.predict_batch([(who, 900) for who in range(13, 400, 20)])
    others = learn.predict_batch([(who, 900) for who in range(3, 400, 20)])
    assert np.mean(fans) > np.mean(others) + 1
    assert learn.predict_one((1, 900)) > learn.predict_one((2, 900))
    # what was rated is seen, counted, and in no list
    assert not set(best[best["user"] == 1]["item"]) & {501, 503, 500, 502}
    assert learn.item_biases().set_index("item")["n_ratings"][900] == 40 if hidden is None else True
    now = answers(learn, everything(learn))
    # weights of before are of other ids
    with pytest.raises(ValueError, match="numbers stand for something else"):
        learn.load("before")
    learn.save("after")
    with torch.no_grad():
        learn.model.user_factors.weight.zero_()
    learn.load("after")
    assert answers(learn, everything(learn)) == now
    learn.export(tmp_path / "grown.zoo")
    again = load_learner(tmp_path / "grown.zoo", device="cpu")
    assert again.data.users.ids == learn.data.users.ids
    assert again.data.titles == learn.data.titles
    for pair, answer in answers(again, everything(again)).items():
        assert answer == pytest.approx(now[pair], rel=1e-5)
    pd.testing.assert_frame_equal(again.recommend([1, 2, 3], 7), learn.recommend([1, 2, 3], 7))


def test_a_later_fit_trains_on_all_rows_with_frozen_groups_as_they_were(tmp_path) -> None:
    learn = trained(tmp_path)
    learn.groups.freeze_to(1)
    rows, kept = learn.data.train_dl.n_rows, learn.model
    learn.update(news())
    assert learn.model is kept
    assert learn.data.train_dl.n_rows == rows + 47
    assert [group.frozen for group in learn.groups] == [True, False]
    factors = learn.model.user_factors.weight.detach().clone()
    bias = learn.model.user_bias.weight.detach().clone()
    learn.fit_one_cycle(3, 1e-2)
    assert torch.equal(learn.model.user_factors.weight, factors)
    assert not torch.equal(learn.model.user_bias.weight, bias)
    learn.unfreeze()
    learn.fit_one_cycle(8, 1e-2)
    assert learn.history[-1]["train_loss"] < 0.3
    learn.update(pd.DataFrame({"who": [9999], "film": [500], "stars": [5.0]}))
    learn.fit(1e-3, 1)
    assert learn.model.user_factors.weight.shape == (44, 5)
    assert learn.model.user_factors.num_embeddings == len(learn.data.users) == 44


def test_a_pair_rated_again_has_the_new_rating_and_people_known_are_solved_with_all_of_theirs(
    tmp_path,
) -> None:
    learn = trained(tmp_path)
    data = learn.data
    first, second = data.seen.of(1)[:2].tolist()
    who, film, other = data.users.ids[0], data.items.ids[first - 1], data.items.ids[second - 1]
    new = pd.DataFrame({"who": [who, who, who], "film": [film, film, other], "stars": [5.0, 1.0, 1.0]})
    kept, counts = new.copy(), data.item_counts.clone()
    prior, folding = Prior.learned(scores_of(learn.model, "user")), learn._folding()
    done = learn.update(new)
    pd.testing.assert_frame_equal(new, kept)
    assert (done.ratings, done.again, done.new_users, done.solved_users) == (2, 2, [], [who])
    users, items, stars = learn.data.train_dl.tensors
    assert stars[(users == 1) & (items == first)].tolist() == [1.0]
    assert len(stars) == data.train_dl.n_rows
    assert torch.equal(learn.data.item_counts, counts)
    own = (users == 1).numpy()
    pairs = Pairs.of(np.zeros(own.sum(), dtype=int), items[own].numpy(), stars[own].numpy(), 1)
    expected = fold_in(learn.model, pairs, folding, prior=prior)[0, :-1]
    np.testing.assert_allclose(learn.user_factors([who]).to_numpy()[0], expected, atol=1e-4)
    assert "2 users" not in repr(done)
    assert "solved again: 1 users, 2 items" in repr(done)


def test_without_training_rows_those_who_are_known_stay_and_that_is_told(tmp_path, caplog) -> None:
    trained(tmp_path).export(tmp_path / "films.zoo")
    learn = load_learner(tmp_path / "films.zoo", device="cpu")
    before = learn.user_factors()
    done = learn.update(news())
    assert done.solved_users == done.solved_items == []
    assert (len(done.left_users), len(done.left_items)) == (40, 4)
    assert "the training rows are not at hand: 40 users and 4 items" in caplog.text
    assert learn.user_factors(before.index).equals(before)
    assert learn.data.seen.holds(
        *map(torch.from_numpy, (learn.data.users.encode([3]), learn.data.items.encode([900])))
    )
    assert learn.predict_one((13, 900)) > learn.predict_one((23, 900)) + 1
    assert len(learn.data.item_counts) == 22
    assert int(learn.data.item_counts[21]) == 40


def test_what_is_wrong_changes_nothing(tmp_path) -> None:
    learn = trained(tmp_path)
    data, before = learn.data, {name: value.clone() for name, value in learn.model.state_dict().items()}
    good = news()
    wrong = {
        "no column 'stars'": good.drop(columns="stars"),
        "column 'who' has no id in row 0": good.assign(who=[None, *good["who"][1:]]),
        "outside what the model can answer, 0 to 6": good.assign(stars=9.0),
        "no rows": good[:0],
        "which is not a finite number": good.assign(stars=np.nan),
    }
    for told, frame in wrong.items():
        with pytest.raises(ValueError, match=told):
            learn.update(frame)
    with pytest.raises(TypeError, match="who: the ids are of type int, and 'ann' is none"):
        learn.update(good.assign(who="ann"))
    with pytest.raises(TypeError, match="not a list"):
        learn.update([(1, 500, 5)])
    with pytest.raises(ValueError, match="give compare_refit= as well"):
        learn.update(good, held_out=good)
    with pytest.raises(TypeError, match="compare_refit is how a fresh learner is trained"):
        learn.update(good, compare_refit=True)
    assert learn.data is data
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())


def test_beside_a_refit(tmp_path) -> None:
    learn = trained(tmp_path)
    made = []
    learn.data.train_dl.set_epoch(17)

    def fit(fresh) -> None:
        made.append(fresh)
        fresh.fit_one_cycle(30, 2e-2, best_save_name="best")

    held = pd.DataFrame({"who": [1, 2, 1, 2], "film": [505, 505, 506, 506], "stars": [4.4, 2.6, 2.7, 4.5]})
    done = learn.update(news(), compare_refit=fit, held_out=held)
    found = done.refit
    assert found.learner is made[0]
    assert learn.data.train_dl.epoch == 17
    assert found.learner.data.train_dl.n_rows == learn.data.train_dl.n_rows
    assert not (tmp_path / "models" / "best.safetensors").exists()
    assert 0 < found.difference < 0.7
    assert 0.4 < found.overlap <= 1
    for rmse, one in ((found.rmse, learn), (found.rmse_refit, found.learner)):
        assert rmse == pytest.approx(
            np.sqrt(np.mean((np.ravel(one.predict_batch(held)) - held["stars"]) ** 2)), rel=1e-5
        )
    assert "beside a refit: answers differ by" in repr(done)


@pytest.mark.parametrize(
    ("ids", "new", "grown"),
    [
        ([3, 7], ["9", 7, 5.0], [3, 7, 5, 9]),
        (["a", "7"], [7, "b", 9], ["a", "7", "9", "b"]),
        ([1, "1"], [2, "2", "1"], [1, "1", 2, "2"]),
        (pd.to_datetime(["2020-01-01"]), pd.to_datetime(["2019-01-01"]), ["2020-01-01", "2019-01-01"]),
    ],
)  # fmt: skip
def test_ids_grow_behind_those_that_are_known(ids, new, grown) -> None:
    ids, new = list(ids), list(new)
    grown = [pd.Timestamp(one) for one in grown] if isinstance(ids[0], pd.Timestamp) else grown
    known = IdMap(ids, "film")
    larger = known.grown(pd.Series(new, dtype=object))
    assert larger.ids == grown
    assert known.ids == ids
    assert larger.encode(ids).tolist() == known.encode(ids).tolist()
    assert (larger.encode(new, warn=False) > 0).all()
    assert set(larger.kinds) == set(known.kinds)


def test_a_tenth_of_real_ratings_taken_in_is_as_good_as_training_with_them(
    data_dir, tmp_path, caplog
) -> None:
    caplog.set_level(logging.ERROR)
    df = pd.read_csv(data_dir("ml-latest-small") / "ratings.csv").sort_values("timestamp", ignore_index=True)
    one, two = int(0.85 * len(df)), int(0.93 * len(df))
    first, new, last = df[:one], df[one:two], df[two:]
    table = CollabFilterDataset(tmp_path, first, "userId", "movieId", "rating", rating_range=(0.5, 5))
    learn = table.get_learner(20, bs=256, seed=0, progress=False, device="cpu")
    learn.fit_one_cycle(4, 5e-3)
    truth = last["rating"].to_numpy()
    stale = np.sqrt(np.mean((np.ravel(learn.predict_batch(last)) - truth) ** 2))
    done = learn.update(new, compare_refit=lambda fresh: fresh.fit_one_cycle(4, 5e-3), held_out=last)
    assert done.refit.rmse < 1.02 * done.refit.rmse_refit
    assert done.refit.rmse < 0.97 * stale


def test_a_refit_beside_a_closed_form_starts_from_the_model_as_it_was_made(tmp_path) -> None:
    learn = trained(tmp_path)
    made = learn.model.y_range, learn.model.clip
    middle = float(learn.model.middle)
    learn.fit_als(draws=2)
    assert learn.model.clip
    seen = []

    def fit(fresh) -> None:
        seen.append((fresh.model.y_range, fresh.model.clip))
        assert float(fresh.model.middle) == pytest.approx(middle)
        fresh.fit(1e-2, 1)

    learn.update(news(), compare_refit=fit)
    assert seen == [made]
    assert learn.model.clip  # that of the learner stays

"""Lists and ratings for people who were not in training."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.collab.test_learner import FILMS, simulated
from zoo import load_learner
from zoo_collab import CollabFilterDataset, CollabLearner, Folding
from zoo_collab.data.rows import noise_of
from zoo_collab.pairs.given import Given
from zoo_collab.pairs.ids import IdMap

ODD = {501: 5, 503: 5, 505: 4.5, 500: 1, 502: 1.5}  # somebody who likes odd films


def trained(path, **options) -> CollabLearner:
    titles = {500 + number: name for number, name in enumerate(FILMS)}
    table = CollabFilterDataset(
        path, simulated(), "who", "film", "stars", item_titles=titles, rating_range=(1, 5)
    )
    learn = table.get_learner(
        5,
        np.arange(0, 480, 9),
        bs=32,
        y_range=(0, 6),
        wd=0.02,
        seed=1,
        progress=False,
        device="cpu",
        **options,
    )
    learn.fit_one_cycle(30, 2e-2)
    return learn


@pytest.fixture(scope="module")
def learn(tmp_path_factory) -> CollabLearner:
    return trained(tmp_path_factory.mktemp("people"))


@pytest.mark.parametrize("hidden", [None, [16]])
def test_a_taste_is_read_from_five_ratings_and_nothing_is_changed(tmp_path, hidden) -> None:
    learn = trained(tmp_path, hidden=hidden)
    learn.model.train()
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    draws = torch.get_rng_state()
    best = learn.recommend_for(ODD, n=5)
    assert list(best.columns) == ["user", "rank", "item", "title", "score", "rating", "known_user"]
    assert best["rank"].tolist() == [1, 2, 3, 4, 5]
    assert best["user"].tolist() == [None] * 5
    assert best["known_user"].all()
    assert (best["item"] % 2 == 1).sum() >= 4
    assert not set(best["item"]) & set(ODD)
    assert best["title"].tolist() == [FILMS[item - 500] for item in best["item"]]
    np.testing.assert_allclose(learn.predict_for(ODD, best["item"]), best["rating"], rtol=1e-5)
    even = learn.predict_for({500: 5, 502: 5, 501: 1}, [504, 505])
    odd = learn.predict_for(ODD, [504, 505])
    assert even[0] > odd[0] + 0.4
    assert odd[1] > even[1] + 0.4
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())
    assert all(module.training for module in learn.model.modules())
    assert torch.equal(draws, torch.get_rng_state())


def test_ratings_come_in_many_forms(learn) -> None:
    expected = learn.recommend_for(ODD)
    items, stars = list(ODD), list(ODD.values())
    frame = pd.DataFrame({"film": items, "stars": stars})
    forms = (pd.Series(stars, index=items), frame, list(ODD.items()), {str(key): r for key, r in ODD.items()},
             pd.DataFrame({"film": [500, *items], "stars": [5.0, *stars]}))  # fmt: skip
    for form in forms:
        pd.testing.assert_frame_equal(learn.recommend_for(form), expected)
    liked = learn.recommend_for([501, 503, 505])
    top = learn.data.rating_range[1]
    pd.testing.assert_frame_equal(liked, learn.recommend_for(dict.fromkeys([501, 503, 505], top)))
    pd.testing.assert_frame_equal(liked, learn.recommend_for(np.array([501, 503, 505])))
    pd.testing.assert_frame_equal(liked, learn.recommend_for(frame.iloc[:3][["film"]]))


def test_many_people_at_once_get_what_each_gets_alone(learn) -> None:
    frame = pd.DataFrame({
        "who": ["ann"] * 3 + ["bob"] * 2 + ["cid"], "film": [501, 503, 500, 500, 502, 777],
        "stars": [5, 5, 1, 5, 5, 3.0],
    })  # fmt: skip
    together = learn.recommend_for(frame, n=4)
    assert together["user"].unique().tolist() == ["ann", "bob", "cid"]
    for name in ("ann", "bob"):
        alone = learn.recommend_for(frame[frame["who"] == name].drop(columns="who"), n=4)
        own = together[together["user"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.drop(columns="user"), alone.drop(columns="user"))
    assert together.groupby("user")["known_user"].all().tolist() == [True, True, False]
    asked = pd.DataFrame({"who": ["bob", "ann", "bob"], "film": [501, 501, 504]})
    answers = learn.predict_for(frame, asked)
    assert answers[1] == pytest.approx(learn.predict_for({501: 5, 503: 5, 500: 1}, 501)[0], rel=1e-5)
    assert answers[0] < answers[1]
    with pytest.raises(ValueError, match="are of 3 people: give the items as a frame"):
        learn.predict_for(frame, [501])
    with pytest.raises(ValueError, match="who 'eve' has no ratings among those given"):
        learn.predict_for(frame, asked.replace("ann", "eve"))


def test_only_exclude_and_what_was_given(learn) -> None:
    assert set(learn.recommend_for(ODD, only=[507, 509, 501])["item"]) == {507, 509}
    assert set(learn.recommend_for(ODD, only=[507, 501], exclude_given=False)["item"]) == {507, 501}
    best = learn.recommend_for(ODD, 20, exclude=lambda items: items["title"] == "film h")
    assert 507 not in set(best["item"])
    assert len(best) == 20 - len(ODD) - 1
    short, long = learn.recommend_for(ODD, 3), learn.recommend_for(ODD, 9)
    pd.testing.assert_frame_equal(short, long[:3])


def test_what_makes_no_sense_is_told(learn, caplog) -> None:
    learn.recommend_for({**ODD, 777: 3, "x": 4})
    assert (
        caplog.text.count("2 of the 7 items given are not known to the model and do not count: 777, 'x'") == 1
    )
    with pytest.raises(
        ValueError, match=r"none of the items given is known to the model: 777; it knows 500, 501"
    ):
        learn.recommend_for({777: 4})
    with pytest.raises(
        ValueError,
        match=r"9 for the item 501 lies outside what the model can answer, 0 to 6 \(1 such ratings\)",
    ):
        learn.recommend_for({501: 9, 503: 4})
    with pytest.raises(ValueError, match="column 'stars' holds 'good'"):
        learn.recommend_for({501: "good"})
    with pytest.raises(ValueError, match="there are no ratings"):
        learn.recommend_for({})
    for wrong in (501, "501"):
        with pytest.raises(TypeError, match="or the items that are liked as a list, not"):
            learn.recommend_for(wrong)
    with pytest.raises(ValueError, match=r"no column 'film' \(did you mean 'films'\?\)"):
        learn.recommend_for(pd.DataFrame({"films": [501]}))
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        learn.recommend_for(ODD, 0)
    learn.predict_for(ODD, [501, 999])
    assert "film: 1 of 2 values were not seen in training" in caplog.text


def test_a_loaded_export_answers_the_same(learn, tmp_path) -> None:
    learn.export(tmp_path / "films.zoo")
    again = load_learner(tmp_path / "films.zoo", device="cpu")
    pd.testing.assert_frame_equal(again.recommend_for(ODD, 9), learn.recommend_for(ODD, 9))
    assert learn.data.folding is None  # what goes into the file is of the file
    other = trained(tmp_path)
    assert other._folding().noise == pytest.approx(learn._folding().noise, rel=1e-3)
    other.fit(1e-9, 1)
    assert other._noise is None


def test_factors_that_are_not_finite_are_an_error(tmp_path) -> None:
    learn = trained(tmp_path)
    for table in (learn.model.item_factors, learn.model.user_factors):
        with torch.no_grad():
            kept = table.weight[2].clone()
            table.weight[2] = torch.nan
        with pytest.raises(ValueError, match="the model's factors are not finite"):
            learn.recommend_for(ODD)
        with torch.no_grad():
            table.weight[2] = kept


def test_of_repeated_items_the_last_counts(caplog) -> None:
    columns = ("who", "film", "stars")
    given = Given.read([("a", 1), ("b", 2), ("a", 5)], IdMap(["a", "b"]), columns, (1, 5))
    assert dict(zip(given.items.tolist(), given.ratings, strict=True)) == {1: 5, 2: 2}
    assert "1 of the items given come again further down" in caplog.text


def of_pairs(path, weights: bool = False) -> CollabLearner:
    """A learner of which pairs exist: implicit ALS on films that people liked."""
    liked = simulated()
    liked = liked[liked["stars"] > 3.4].reset_index(drop=True)
    liked["often"] = np.random.default_rng(0).integers(1, 9, len(liked))
    table = CollabFilterDataset(path, liked, "who", "film", weight_col="often" if weights else None)
    learn = table.get_learner(4, np.arange(0, len(liked), 9), bs=32, seed=0, progress=False, device="cpu")
    learn.fit_als(40, unobserved=0.2, wd=0.05)
    return learn


@pytest.mark.parametrize("weights", [False, True])
def test_pairs_without_ratings_are_folded_in_taken_in_and_told(tmp_path, weights) -> None:
    learn = of_pairs(tmp_path, weights)
    known, part = learn.data.users.ids[4], slice(*learn.data.seen.starts[5:7].tolist())
    mine = [learn.data.items.ids[i - 1] for i in learn.data.seen.of(5).tolist()]
    often = dict(zip(mine, learn.data.weights[part].tolist(), strict=True))
    given = often if weights else mine
    expected, found = learn.recommend(known, 6, exclude_seen="train"), learn.recommend_for(given, 6)
    assert list(found.columns) == list(expected.columns)
    assert set(found["item"]) == set(expected["item"])
    np.testing.assert_allclose(found["score"], expected["score"], atol=0.01)
    if weights:  # how often each was taken counts
        assert not np.allclose(learn.recommend_for(mine, 6)["score"], expected["score"], atol=0.01)
    learn.export(tmp_path / "pairs.zoo")
    again = load_learner(tmp_path / "pairs.zoo", device="cpu")
    pd.testing.assert_frame_equal(again.recommend_for(given, 6), found)
    told = again.why(known, expected["item"].iloc[0], n=99)  # which pairs there are is in the file
    assert dict(zip(told.table["item"], told.table["weight"], strict=True)) == often
    assert told.table["contribution"].sum() + told.rest == pytest.approx(told.score, abs=1e-6)
    assert abs(told.rest) < 0.01
    assert (told.average, told.generosity, told.rating) == (pytest.approx(0, abs=1e-6), 0, None)
    assert "rating" not in repr(told)
    assert "by the items taken below" in repr(told)
    bars = [label.get_text() for label in told.plot().axes[0].get_yticklabels()]
    assert bars[-3:] == ["all other items taken", "generosity to all items", "not by items taken"]
    # the same pairs of somebody new, and half of somebody known once more
    new = pd.DataFrame({"who": 1, "film": mine, "often": list(often.values())})
    more = pd.DataFrame({"who": known, "film": mine[:3], "often": 5.0})
    before = learn.data.weights[part][:3].clone()
    done = learn.update(pd.concat([new, more]), weight_col="often" if weights else None)
    assert (done.new_users, done.ratings, done.again) == ([1], len(mine) + 3, 3)
    assert repr(done).startswith(f"{len(mine) + 3} pairs taken in, 3 of them had been there before")
    assert "rating" not in repr(done)
    assert set(learn.recommend(1, 6)["item"]) == set(expected["item"])
    assert torch.equal(learn.data.weights[part][:3], before + (5 if weights else 1))
    assert len(learn.data.weights) == len(learn.data.seen)
    # negatives know what has been taken; a later fit works
    draw = learn.data.train_dl.batch_transform
    assert draw.seen is learn.data.seen
    assert draw.n_items == len(learn.data.items)
    learn.fit(1e-3, 1)
    with pytest.raises(ValueError, match=r"not fitted in closed form, .* fit_als\(\)"):
        learn.recommend_for(given)
    learn.export(tmp_path / "by_gradients.zoo")
    with pytest.raises(ValueError, match="not fitted in closed form"):
        load_learner(tmp_path / "by_gradients.zoo", device="cpu").recommend_for(given)
    learn.data.folding = Folding(unobserved=0.2)
    assert len(learn.recommend_for(given, 3)) == 3


def test_factors_of_ratings_in_closed_form_are_folded_into(tmp_path) -> None:
    learn = trained(tmp_path)
    for draws in (0, 5):
        learn.fit_als(draws=draws)
        assert learn._noise is None
        odd, even = learn.predict_for(ODD, [507, 508])
        assert odd > even + 0.5
        found = learn.why(None, 507, ratings=ODD)
        assert found.rest == pytest.approx(0, abs=1e-6)
        error = np.ravel(learn.predict_for(ODD, list(ODD))) - list(ODD.values())
        assert np.sqrt(np.mean(error**2)) < 1
    learn.export(tmp_path / "als.zoo")
    again = load_learner(tmp_path / "als.zoo", device="cpu")
    pd.testing.assert_frame_equal(again.recommend_for(ODD), learn.recommend_for(ODD))


def test_how_much_ratings_vary_is_measured_without_dropout(tmp_path) -> None:
    learn = trained(tmp_path, hidden=[16], dropouts=0.4)
    learn.model.eval()
    expected = noise_of(learn.model, learn.data)
    learn.model.train()
    assert noise_of(learn.model, learn.data) == expected
    users, items, stars = learn.data.train_dl.tensors
    pairs = zip(learn.data.users.decode(users.tolist()), learn.data.items.decode(items.tolist()), strict=True)
    error = np.ravel(learn.predict_batch(list(pairs))) - stars.numpy()
    assert expected == pytest.approx(float(np.mean(error**2)), rel=0.02)  # but for what is clipped


@pytest.mark.gpu
def test_on_a_gpu_people_get_the_same(tmp_path) -> None:
    table = CollabFilterDataset(tmp_path, simulated(), "who", "film", "stars", rating_range=(1, 5))
    learn = table.get_learner(5, np.arange(0, 480, 9), seed=1, progress=False, device="cuda")
    learn.fit_one_cycle(5, 2e-2)
    learn.export(tmp_path / "films.zoo")
    again = load_learner(tmp_path / "films.zoo", device="cpu")
    on_gpu, on_cpu = learn.recommend_for(ODD), again.recommend_for(ODD)
    assert on_gpu["item"].tolist() == on_cpu["item"].tolist()
    np.testing.assert_allclose(learn.predict_for(ODD, [504]), again.predict_for(ODD, [504]), rtol=1e-3)
    new = pd.DataFrame({"who": 1, "film": list(ODD), "stars": list(ODD.values())})
    assert learn.update(new).new_users == [1]
    assert learn.model.user_factors.weight.device.type == "cuda"
    learn.fit(1e-3, 1)
    assert learn.why(1, 507).score == pytest.approx(learn.recommend(1, only=[507])["score"].iloc[0], rel=1e-3)


def test_messages_about_pairs_speak_of_items(tmp_path) -> None:
    learn = of_pairs(tmp_path)
    film = learn.data.items.ids[0]
    cases = [
        (lambda: learn.why(None, film), ValueError, "or what somebody has taken"),
        (lambda: learn.why(3, film, 0), ValueError, "n is how many items taken are told"),
        (lambda: learn.recommend_for([]), ValueError, "there are no items: give at least one, such as"),
        (lambda: learn.recommend_for(7), TypeError, "give the items that were taken as a list"),
        (lambda: learn.recommend_for({film: -1}), ValueError, "the items given: column 'how often'"),
        (lambda: learn.recommend_for(["x"]), ValueError, "none of the items given is known"),
        (lambda: learn.update(pd.DataFrame({"who": [1]})), ValueError, "the new rows.*no column 'film'"),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind, match=message) as told:
            call()
        assert "rating" not in str(told.value).replace("ratings=", "")

"""Factors in closed form, as a learner that trains on, answers, is saved and recommends like any other."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from zoo import load_learner
from zoo.callbacks import SaveBest
from zoo.storage.mapping import to_metadata
from zoo_collab import CollabFilterDataset, leave_one_out
from zoo_collab.data.closed_form import confidence
from zoo_collab.model.als import implicit_factors
from zoo_collab.model.rating_factors import drawn_rating_factors, rating_factors
from zoo_collab.pairs.seen import SeenPairs


def made(seed: int = 0, n: int = 6000, noise: float = 0.4) -> tuple[pd.DataFrame, np.ndarray]:
    """Ratings of two factors and biases with noise, and what they would be without it."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 150, n), rng.integers(0, 60, n)
    own, other = rng.normal(0, 0.6, (150, 2)), rng.normal(0, 0.9, (60, 2))
    clean = 3 + rng.normal(0, 0.4, 150)[users] + rng.normal(0, 0.5, 60)[items]
    clean += (own[users] * other[items]).sum(1)
    frame = pd.DataFrame({"who": users, "what": items, "stars": clean + rng.normal(0, noise, n)})
    kept = ~frame.duplicated(["who", "what"])
    return frame[kept].reset_index(drop=True), clean[kept]


def parts(frame: pd.DataFrame) -> tuple[SeenPairs, torch.Tensor]:
    users, items = frame["who"].to_numpy() + 1, frame["what"].to_numpy() + 1
    seen = SeenPairs.from_pairs(users, items, 151)
    return seen, seen.totals(users, items, frame["stars"].to_numpy())


def of_all(found, frame: pd.DataFrame) -> np.ndarray:
    users, items = (torch.from_numpy(frame[name].to_numpy() + 1) for name in ("who", "what"))
    dots = (found.user_factors[users] * found.item_factors[items]).sum(1)
    return (found.mean + dots + found.user_bias[users] + found.item_bias[items]).numpy()


def test_no_ratings_are_explained_better_by_other_factors_of_a_side() -> None:
    frame, _ = made()
    seen, ratings = parts(frame)
    found = rating_factors(seen, ratings, 61, 3, iterations=3, wd=0.7, exponent=0.5)

    def cost(items: torch.Tensor) -> torch.Tensor:
        """What the last step, of the items, made least."""
        rows = torch.repeat_interleave(torch.arange(151), seen.starts.diff())
        columns = seen.items.long()
        dots = (found.user_factors[rows].double() * items[columns, :-1]).sum(1) + items[columns, -1]
        errors = ratings.double() - found.mean - found.user_bias[rows] - dots
        counts = torch.bincount(columns, minlength=61)
        return errors.square().sum() + (0.7 * (1 + counts) ** 0.5 * items.square().sum(1)).sum()

    items = torch.cat([found.item_factors, found.item_bias[:, None]], 1).double().requires_grad_()
    cost(items).backward()
    assert items.grad.abs().max() < 1e-2


def test_draws_know_more_than_the_most_probable_factors() -> None:
    frame, clean = made()
    held = np.random.default_rng(1).random(len(frame)) < 0.25
    seen, ratings = parts(frame[~held])
    errors = {}
    for name, found in (
        ("one", rating_factors(seen, ratings, 61, 8)),
        ("draws", drawn_rating_factors(seen, ratings, 61, 8, draws=30, width=8)),
        ("again", drawn_rating_factors(seen, ratings, 61, 8, draws=30, width=8)),
        ("mean", drawn_rating_factors(seen, ratings, 61, 8, draws=30, width=100)),
    ):
        errors[name] = np.mean((of_all(found, frame[held]) - clean[held]) ** 2)
        assert not any(bool(part[0].any()) for part in found[:4])  # nobody has zeros
        assert found.user_factors.shape[1] == found.item_factors.shape[1]
    assert errors["draws"] < 0.8 * errors["one"]
    assert errors["draws"] == errors["again"]
    assert errors["draws"] == pytest.approx(errors["mean"], rel=0.02)  # a few directions hold the mean
    assert errors["draws"] < 0.4 * np.var(clean)


def test_biases_alone_are_shrunken_means() -> None:
    # no factors explain anything, and each user rates all items: what is left are means of rows
    values = np.add.outer([-1.0, 0.0, 1.0], [0.5, -0.5, 0.0, 0.0])
    users, items = np.divmod(np.arange(12), 4)
    seen = SeenPairs.from_pairs(users + 1, items + 1, 4)
    found = rating_factors(seen, torch.from_numpy(values.ravel() + 3), 5, 1, wd=1e-6, exponent=0.0)
    assert found.mean == pytest.approx(3)
    rows = torch.from_numpy(users) + 1, torch.from_numpy(items) + 1
    fitted = found.mean + found.user_bias[rows[0]] + found.item_bias[rows[1]]
    fitted = fitted + (found.user_factors[rows[0]] * found.item_factors[rows[1]]).sum(1)
    assert fitted.numpy() == pytest.approx(values.ravel() + 3, abs=1e-3)


@pytest.fixture(scope="module")
def table() -> CollabFilterDataset:
    frame, _ = made()
    return CollabFilterDataset(".", frame.assign(stars=frame["stars"].clip(0, 6)), "who", "what", "stars")


@pytest.mark.parametrize("draws", [0, 10])
def test_ratings(table, draws, tmp_path, caplog) -> None:
    held = leave_one_out(seed=3)
    learn = table.get_learner(10, held, seed=0, progress=False)
    before = learn.evaluate()["rmse"]
    found = learn.fit_als(draws=draws)
    assert found["rmse"] < 0.7 * before
    assert found == learn.evaluate()
    outputs = np.asarray(learn.predict())
    low, high = learn.data.rating_range
    assert outputs.min() >= low
    assert outputs.max() <= high  # a sum that is cut off, not squeezed
    assert learn.fit_als(draws=draws) == found  # the seed decides, and nothing is left of before
    learn.export(tmp_path / "als.zoo")
    again = load_learner(tmp_path / "als.zoo")
    assert np.array_equal(again.predict_batch(table_rows(table)), learn.predict_batch(table_rows(table)))
    pd.testing.assert_frame_equal(again.recommend([1, 2], 3), learn.recommend([1, 2], 3))
    unknown = again.predict_one((-5, -5))
    assert unknown == pytest.approx(float(learn.model.middle), abs=1e-6)
    learn.fit_one_cycle(1, 1e-3)  # gradients may go on from there
    assert learn.evaluate()["rmse"] < 1.2 * found["rmse"]


def table_rows(table: CollabFilterDataset) -> pd.DataFrame:
    return pd.DataFrame({"who": table.users[:20], "what": table.items[:20]})


def test_pairs_without_ratings() -> None:
    rng = np.random.default_rng(2)
    who, what = rng.integers(0, 60, 3000), (rng.random(3000) ** 2 * 80).astype(int)
    alike = (who + what) % 2 == 0
    frame = pd.DataFrame({"who": who[alike], "what": what[alike], "often": 1.0}).drop_duplicates()
    table = CollabFilterDataset(".", frame, "who", "what", weight_col="often")
    learn = table.get_learner(6, leave_one_out(seed=3), seed=0, progress=False)
    found = learn.fit_als(iterations=5, unobserved=0.2)
    assert found == learn.evaluate_ranking(users=2000)
    assert found["ndcg@10"] > 0.15
    users, items = implicit_factors(
        learn.data.seen, len(learn.data.items), 6, iterations=5, unobserved=0.2, seed=0
    )
    assert torch.equal(learn.model.user_factors.weight[1:], users[1:])
    assert torch.equal(learn.model.item_factors.weight, items)
    assert torch.allclose(learn.model.user_factors.weight[0], users[1:].mean(0))
    # somebody unknown gets what most take
    top = learn.recommend(-1, n=5)
    counts = learn.data.item_counts[1:].float()
    popular = counts[torch.from_numpy(learn.data.items.encode(top["item"].tolist()) - 1)]
    assert popular.mean() > 1.5 * counts.mean()
    # counts make a pair surer
    frame["often"] = np.where(frame["what"] < 5, 100.0, 1.0)
    heavy = CollabFilterDataset(".", frame, "who", "what", weight_col="often").get_learner(6, seed=0)
    light = CollabFilterDataset(".", frame, "who", "what").get_learner(6, seed=0)
    taken = {}
    for name, other in (("heavy", heavy), ("light", light)):
        assert other.fit_als() == {}  # nothing is held out
        rows, columns = other.data.seen.places(torch.arange(len(other.data.users)))
        scores = other.model.all_scores(torch.arange(len(other.data.users)))[rows, columns]
        first = other.data.items.encode(list(range(5)))
        taken[name] = scores[torch.isin(columns, torch.from_numpy(first))].mean().item()
    assert taken["heavy"] > taken["light"] + 0.05
    assert confidence(torch.tensor([1.0, 3.0])).tolist() == [1.0, 2.0]


def test_what_does_not_go_is_told(table) -> None:
    learn = table.get_learner(4, seed=0)
    with pytest.raises(
        ValueError, match="unobserved: not for ratings, where there are draws, rank, wd, expo"
    ):
        learn.fit_als(unobserved=0.1)
    with pytest.raises(ValueError, match="draws: not for pairs without ratings, where there are unobserved"):
        table.implicit().get_learner(4, seed=0).fit_als(draws=3)
    with pytest.raises(ValueError, match="wd: with draws it is drawn too; draws=0 takes what is given"):
        learn.fit_als(draws=3, wd=1.0)
    with pytest.raises(ValueError, match="rank=5 factors do not fit into a model of 4"):
        learn.fit_als(draws=0, rank=5)
    with pytest.raises(ValueError, match="iterations must be a whole number of 1 or more, not 0"):
        learn.fit_als(0)
    with pytest.raises(TypeError, match="fits the factors of EmbeddingDotBias, and this is EmbeddingNet"):
        table.get_learner(4, hidden=[5]).fit_als()
    learn.freeze()
    with pytest.raises(ValueError, match=r"is frozen, and alternating least squares fits all: unfreeze\(\)"):
        learn.fit_als()


def test_saved_weights_keep_how_scores_become_ratings(table, tmp_path) -> None:
    def learner():
        return table.get_learner(6, leave_one_out(seed=3), seed=0, progress=False)

    learn = learner()
    learn.fit(1e-2, 1)
    squeezed = learn.predict()
    learn.save(tmp_path / "squeezed")
    learn.fit_als(draws=2)
    cut = learn.predict()
    learn.save(tmp_path / "cut")
    fresh = learner()
    fresh.load(tmp_path / "cut")  # the model of a new learner squeezes
    assert np.array_equal(fresh.predict(), cut)
    fresh.export(tmp_path / "cut.zip")
    asked = table_rows(table)
    opened = load_learner(tmp_path / "cut.zip")
    assert np.array_equal(opened.predict_batch(asked), learn.predict_batch(asked))
    for one in (fresh, learn):
        one.load(tmp_path / "squeezed")
        assert np.array_equal(one.predict(), squeezed)
    older = {name: value for name, value in learn.model.state_dict().items() if name != "ends"}
    fresh.load(tmp_path / "cut")
    save_file(older, tmp_path / "older.safetensors", {"zoo.kind": "weights", **to_metadata(learn.data)})
    fresh.load(tmp_path / "older")  # of before it was kept: as the model was made
    assert np.array_equal(fresh.predict(), squeezed)


def test_the_best_epoch_after_a_closed_form_loads_as_it_was(table, tmp_path) -> None:
    learn = table.get_learner(6, leave_one_out(seed=3), seed=0, progress=False)
    learn.fit_als(draws=2)
    learn.fit(1e-4, 1, callbacks=[SaveBest(tmp_path / "best")])
    fresh = table.get_learner(6, leave_one_out(seed=3), seed=0, progress=False)
    fresh.load(tmp_path / "best")
    assert np.array_equal(fresh.predict(), learn.predict())


@pytest.mark.parametrize(
    ("kind", "option", "value", "told"),
    [
        ("ratings", "iterations", 2.5, "a whole number of 1 or more, not 2.5"),
        ("ratings", "iterations", "3", "a whole number of 1 or more, not '3'"),
        ("ratings", "draws", -1, "a whole number of 0 or more, not -1"),
        ("ratings", "draws", 1.5, "a whole number of 0 or more, not 1.5"),
        ("ratings", "rank", 0, "a whole number of 1 or more, not 0"),
        ("ratings", "wd", -1.0, "a number above 0, not -1.0"),
        ("ratings", "wd", 0.0, "a number above 0, not 0.0"),
        ("ratings", "exponent", "half", "a number of 0 or more, not 'half'"),
        ("pairs", "unobserved", -0.3, "a number of 0 or more, not -0.3"),
        ("pairs", "unobserved", float("nan"), "a number of 0 or more, not nan"),
        ("pairs", "wd", float("inf"), "a number above 0, not inf"),
    ],
)
def test_options_that_make_no_sense_change_nothing(table, kind, option, value, told) -> None:
    learn = (table if kind == "ratings" else table.implicit()).get_learner(4, seed=0, progress=False)
    before = learn.model.item_factors.weight.clone()
    with pytest.raises(ValueError, match=rf"^{option} must be {told}"):
        learn.fit_als(**{option: value})
    assert torch.equal(learn.model.item_factors.weight, before)


def test_pairs_that_hardly_count_count_a_little() -> None:
    assert confidence(torch.tensor([1e-9])).item() == pytest.approx(1e-9 / np.log(2), rel=1e-5)


def test_saved_weights_keep_how_pairs_were_fitted(table, tmp_path) -> None:
    def learner():
        return table.implicit().get_learner(4, seed=0, progress=False)

    learn = learner()
    learn.fit_als(unobserved=0.2, exponent=0.5)
    learn.save(tmp_path / "als")
    answers = learn.recommend_for([1, 3], n=3)
    fresh = learner()
    with pytest.raises(ValueError, match="not fitted in closed form"):
        fresh.recommend_for([1, 3])
    fresh.load(tmp_path / "als")
    pd.testing.assert_frame_equal(fresh.recommend_for([1, 3], n=3), answers)
    fresh.fit(1e-3, 1)  # gradients
    fresh.save(tmp_path / "fit")
    learn.load(tmp_path / "fit")
    for one in (fresh, learn):
        with pytest.raises(ValueError, match="not fitted in closed form"):
            one.recommend_for([1, 3])


def test_a_closed_form_is_no_epoch() -> None:
    frame, _ = made(n=1500)
    learn = CollabFilterDataset(".", frame, "who", "what", "stars").get_learner(
        4, list(range(200)), seed=0, progress=False, device="cpu"
    )
    found = learn.fit_als(2, draws=0)
    assert learn.history == []
    rows = learn.fit(1e-3, 2)
    assert [row["epoch"] for row in rows] == [0, 1]  # the orders of a fit are those of a fresh learner
    before = [dict(row) for row in learn.history]
    again = learn.fit_als(2, draws=0)
    assert learn.history == before
    assert again == pytest.approx(found)
    assert again.keys() == learn.evaluate().keys()

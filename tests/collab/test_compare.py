"""Several models judged by one split."""

import numpy as np
import pandas as pd
import pytest

from zoo import get_cv_idxs
from zoo_collab import CollabFilterDataset, by_time
from zoo_collab.compare import MODELS, WITH_FEATURES


@pytest.fixture(scope="module")
def table() -> CollabFilterDataset:
    """Users of two tastes, films of two kinds, some of them popular."""
    rng = np.random.default_rng(0)
    who, film = rng.integers(0, 60, 4000), (rng.random(4000) ** 2 * 80).astype(int)
    alike = ((who + film) % 2 == 0) | (rng.random(4000) < 0.1)
    frame = pd.DataFrame({"who": who[alike], "film": film[alike], "when": np.arange(alike.sum())})
    frame = frame.drop_duplicates(["who", "film"]).assign(stars=lambda rows: 3.0 + rows["film"] % 3)
    return CollabFilterDataset(".", frame, "who", "film", "stars", time_col="when")


def test_models_that_know_tastes_stand_above_those_that_do_not(table) -> None:
    found = table.compare(k=(5, 10))
    assert set(found.table.index) == set(MODELS) - set(WITH_FEATURES)
    ndcg = found.table["ndcg@5"]
    assert ndcg.is_monotonic_decreasing
    for better in ("EASE", "implicit ALS", "item neighbours"):
        assert ndcg[better] > ndcg["popularity"] + 0.03
        assert ndcg[better] > ndcg["dot product on ratings"] + 0.03
    assert (found.table["recall@10"] >= found.table["recall@5"]).all()
    assert (found.table["seconds"] >= 0).all()
    assert f"{found.held_out:,} held-out pairs of {found.users:,} users" in repr(found)
    drawn = found.plot()
    assert drawn.axes[0].get_xlabel() == "ndcg@5"
    assert [tick.get_text() for tick in drawn.axes[0].get_yticklabels()] == ndcg.index[::-1].tolist()
    with pytest.raises(ValueError, match=r"no column 'ndgc': recall@5"):
        found.plot("ndgc")


def test_figures_are_those_of_the_learner_on_the_same_split(table) -> None:
    split = by_time(0.3)
    found = table.compare(split, k=10, models="dot product on ratings", metrics=["ndcg"], seed=4)
    learn = table.get_learner(val_idxs=split, seed=4, progress=False)
    learn.fit_one_cycle(5, 5e-3)
    alone = learn.evaluate_ranking(10, metrics=["ndcg"])
    assert found.table["ndcg@10"].tolist() == pytest.approx([alone["ndcg@10"]])
    assert found.users == alone["users"]


def test_models_are_left_out_or_refused(table, monkeypatch, caplog) -> None:
    with pytest.raises(ValueError, match=r"'ease' is not known \(did you mean 'EASE'\?\)"):
        table.compare(models=["ease"])
    monkeypatch.setattr("zoo_collab.model.scorers.MOST_ITEMS", 10)
    found = table.compare(k=5, models=["popularity", "EASE"])
    assert found.table.index.tolist() == ["popularity"]
    assert "EASE is left out: 61 users by 81 items are a table" in caplog.text
    found = table.compare(k=5, models=["popularity", "network with features"])
    assert found.table.index.tolist() == ["popularity"]
    assert "network with features is left out: nothing but pairs is known" in caplog.text


def test_features_that_tell_tastes_make_better_lists() -> None:
    """Of few pairs a user, and films of two kinds, which features name."""
    rng = np.random.default_rng(0)
    who, film = rng.integers(0, 150, 6000), rng.integers(0, 300, 6000)
    alike = (who % 2 == film % 2) & (rng.random(6000) < 0.4)
    frame = pd.DataFrame({"who": who[alike], "film": film[alike]}).drop_duplicates()
    films = pd.DataFrame({"film": range(320), "kind": np.arange(320) % 2})
    known = CollabFilterDataset(".", frame, "who", "film", item_features=films.astype({"kind": str}))
    models = ["popularity", "dot product by pairs (BPR)", *WITH_FEATURES]
    found = known.compare(k=(10, 50), models=models)
    for name in WITH_FEATURES:
        assert found.table["ndcg@50"][name] > found.table["ndcg@50"]["popularity"] + 0.03
    ndcg = found.table["ndcg@10"]
    assert ndcg["network with features"] > ndcg["dot product by pairs (BPR)"]
    learn = known.get_learner(64, get_cv_idxs(len(known), seed=0), seed=0, cold=False, progress=False)
    learn.fit_one_cycle(10, 2e-2)
    alone = learn.evaluate_ranking(10, metrics=["ndcg"])["ndcg@10"]
    assert ndcg["dot product with features (BPR)"] == pytest.approx(alone), "films without pairs do not count"
    again = known.without_features().compare(k=10, models=models[:2])
    assert ndcg[models[:2]].to_dict() == again.table["ndcg@10"].to_dict(), "the same films"


def test_nothing_to_compare_is_told(table) -> None:
    with pytest.raises(ValueError, match="models is empty: name some of popularity, item neighbours"):
        table.compare(models=[])
    with pytest.raises(
        ValueError,
        match="no model is left to compare: dot product on ratings: these pairs have no ratings",
    ):
        table.implicit().compare(models=["dot product on ratings"])


@pytest.mark.parametrize("users", [-1, 0, 1.5, True])
def test_a_number_of_users_that_is_none(table, users) -> None:
    with pytest.raises(ValueError, match="users is how many users are judged, a whole number of 1 or more"):
        table.compare(models="popularity", users=users)

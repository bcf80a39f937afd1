"""Lists judged by held-out pairs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from zoo import Learner, ModelData, TensorLoader
from zoo.callbacks import EMA, EarlyStopping, SaveBest
from zoo_collab import CollabFilterDataset, RankingMetrics


def ratings(seed: int = 0) -> pd.DataFrame:
    """Users of two tastes, films of two kinds."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"who": rng.integers(0, 40, 1500), "film": rng.integers(0, 60, 1500)})
    frame = frame.drop_duplicates(ignore_index=True)
    alike = (frame["who"] + frame["film"]) % 2 == 0
    frame["stars"] = np.where(alike, 4.5, 2.0) + rng.random(len(frame)) / 2
    return frame


def learner(tmp_path, frame=None, held=None, **options):
    frame = ratings() if frame is None else frame
    held = range(0, len(frame), 5) if held is None else held
    options = {"progress": False, "device": "cpu", "seed": 0, **options}
    return CollabFilterDataset(tmp_path, frame, "who", "film", "stars").get_learner(4, held, **options)


def test_figures_are_those_of_the_lists_that_a_user_gets(tmp_path) -> None:
    learn, frame = learner(tmp_path), ratings()
    learn.fit(1e-2, 3)
    held = frame.iloc[::5]
    held = held[held["who"].isin(learn.data.users.ids) & held["film"].isin(learn.data.items.ids)]
    best, shares, hits = held[held["stars"] >= 4], [], []
    lists = learn.recommend(sorted(best["who"].unique()), 7, exclude_seen="train")
    for who, films in best.groupby("who")["film"]:
        found = lists.loc[lists["user"] == who, "item"].isin(films)
        shares.append(found.sum() / len(films))
        hits.append(found.sum() / 7)
    found = learn.evaluate_ranking(7, metrics=["recall", "precision"], relevant=4)
    assert found["recall@7"] == pytest.approx(np.mean(shares))
    assert found["precision@7"] == pytest.approx(np.mean(hits))
    assert found["coverage@7"] == lists["item"].nunique() / 60
    assert found["users"] == best["who"].nunique()
    every = learn.evaluate_ranking([5, 7])
    assert {"recall@5", "ndcg@7", "map@5", "mrr@7", "coverage@5", "users"} <= set(every)
    assert every["recall@7"] > every["recall@5"] > 0
    assert learn.evaluate_ranking(7, users=9)["users"] == 9


def test_ratings_as_gains(tmp_path) -> None:
    learn = learner(tmp_path)
    plain, graded = (learn.evaluate_ranking(5, metrics=["ndcg"], graded=graded) for graded in (False, True))
    assert plain["ndcg@5"] != graded["ndcg@5"]
    low = ratings().assign(stars=lambda frame: frame["stars"] - 3)  # below 0: no gains
    learn = learner(tmp_path, low)
    plain, graded = (learn.evaluate_ranking(5, metrics=["ndcg"], graded=graded) for graded in (False, True))
    assert plain == graded


def test_numbers_of_each_epoch_enter_the_history_and_can_be_watched(tmp_path) -> None:
    learn = learner(tmp_path)
    watch = RankingMetrics(5, relevant=4, metrics=["ndcg", "recall"])
    rows = learn.fit(1e-2, 3, callbacks=[SaveBest("best", "ndcg@5", mode="max"), watch])
    assert all({"ndcg@5", "recall@5", "valid_loss"} <= set(row) for row in rows)
    last = learn.evaluate_ranking(5, metrics=["ndcg", "recall"], relevant=4)
    assert max(row["ndcg@5"] for row in rows) == pytest.approx(
        learn.load("best").evaluate_ranking(5, relevant=4)["ndcg@5"]
    )
    assert rows[-1]["recall@5"] == pytest.approx(last["recall@5"])
    stopped = learn.fit(0.0, 5, callbacks=[watch, EarlyStopping("recall@5", mode="max", patience=1)])
    assert len(stopped) == 2


def test_averaged_weights_are_judged_as_they_are_kept(tmp_path) -> None:
    learn = learner(tmp_path)
    rows = learn.fit(1e-2, 2, callbacks=[EMA(0.9), RankingMetrics((3, 5))])
    found = learn.evaluate_ranking((3, 5))
    assert rows[-1]["ndcg@5"] == pytest.approx(found["ndcg@5"])
    assert rows[-1]["recall@3"] == pytest.approx(found["recall@3"])


def test_not_every_epoch(tmp_path) -> None:
    rows = learner(tmp_path).fit(1e-2, 5, callbacks=[RankingMetrics(5, every=2, users=10)])
    assert [math.isnan(row["recall@5"]) for row in rows] == [True, False, True, False, False]


def test_what_cannot_be_judged_is_told(tmp_path, caplog) -> None:
    frame = ratings()
    learn = learner(tmp_path, held=[])
    with pytest.raises(ValueError, match="these data have none: give val_idxs"):
        learn.evaluate_ranking()
    with pytest.raises(ValueError, match="these data have none: give val_idxs"):
        learn.fit(1e-3, 1, callbacks=[RankingMetrics()])
    learn = learner(tmp_path)
    for given, told in (({"k": 0}, "1 or more, not 0"), ({"k": []}, "k is empty")):
        with pytest.raises(ValueError, match=told):
            learn.evaluate_ranking(**given)
    with pytest.raises(ValueError, match=r"'ndgc' is not known \(did you mean 'ndcg'\?\)"):
        RankingMetrics(metrics=["ndgc"])
    with pytest.raises(ValueError, match="none has a rating of 9 or more"):
        learn.evaluate_ranking(relevant=9)
    twice = pd.concat([frame, frame.iloc[:50]], ignore_index=True)
    again = learner(tmp_path, twice, range(len(frame) - 20, len(twice)))
    again.fit(1e-3, 1, callbacks=[RankingMetrics()])
    told = "of the held-out pairs 50 stand among the training rows too, and 0 have a user"
    assert told in caplog.text
    caplog.clear()
    again.evaluate_ranking()
    assert told in caplog.text
    only = learner(tmp_path, twice, range(len(frame), len(twice)))
    with pytest.raises(ValueError, match=r"0 have a user or an item .* 50 stand among the training rows"):
        only.evaluate_ranking()
    loader = TensorLoader(torch.randn(8, 2), torch.randn(8, 1), bs=4)
    plain = Learner(
        ModelData(loader, loader), torch.nn.Linear(2, 1), loss_fn=torch.nn.MSELoss(), progress=False
    )
    with pytest.raises(TypeError, match="these data are ModelData"):
        plain.fit(1e-3, 1, callbacks=[RankingMetrics()])

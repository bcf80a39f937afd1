"""What is looked at before a fit, and the models that a fit has to beat."""

import numpy as np
import pandas as pd
import pytest

from zoo import check_data
from zoo_collab import CollabFilterDataset, by_user_time

FRAME = pd.DataFrame(
    {
        "who": ["a"] * 6 + ["b"] * 6 + ["c"] * 3 + ["d"],
        "film": [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 5, 1, 2, 9, 8],
        "stars": [4.0] * 6 + [1.0, 2, 3, 4, 5, 4, 2, 5, 3, 1],
        "when": [*range(6), *range(6), 0, 1, 2, 9],
    }
)


def found(report) -> dict[tuple[str, str], tuple[str, int]]:
    return {(one.what, one.where): (one.severity, one.count) for one in report.findings}


def test_what_makes_figures_false_and_what_cannot_be_learned(caplog) -> None:
    table = CollabFilterDataset(".", FRAME, "who", "film", "stars", time_col="when")
    data = table.get_data([0, 11, 13, 15])  # of a the first, of b a repeat, of c one between, all of d
    report = check_data(data)
    assert found(report) == {
        ("training pairs in validation", "valid"): ("warning", 1),
        ("held-out rows of the past", "valid, by time"): ("warning", 2),
        ("ids that training has not seen", "'who', valid"): ("warning", 1),
        ("ids that training has not seen", "'film', valid"): ("warning", 1),
        ("users who rate everything alike", "'who', train"): ("note", 1),
        ("items seen once", "'film', train"): ("note", 2),
    }
    assert not report.ok
    assert report.rows == {"train": 12, "valid": 4}
    examples = {one.what: one.examples for one in report.findings}
    assert examples["training pairs in validation"] == ("('b', 5)",)
    assert examples["users who rate everything alike"] == ("'a'",)
    assert examples["items seen once"] == ("6", "9")
    repeated = found(check_data(table.get_data([0])))
    assert repeated["pairs that repeat", "train"] == ("warning", 1)
    assert repeated["users seen once", "'who', train"] == ("note", 1)
    clean = CollabFilterDataset(".", FRAME, "who", "film", "stars", time_col="when", duplicates="last")
    assert {one.what for one in check_data(clean.get_data([5])).findings} <= {
        "ids that training has not seen", "items seen once", "users seen once",
        "users who rate everything alike",
    }  # fmt: skip


def test_a_few_items_with_most_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"who": range(300), "film": np.r_[np.zeros(180, int), rng.permutation(120) + 1]})
    report = found(check_data(CollabFilterDataset(".", frame, "who", "film").get_data()))
    assert report["a few items have most rows", "'film', train"] == ("note", 1)
    assert "users who rate everything alike" not in {what for what, _ in report}  # there are no ratings


def test_quick_models_beside_the_learner(data_dir) -> None:
    ratings = pd.read_csv(data_dir("ml-latest-small") / "ratings.csv")
    ratings = ratings[ratings["userId"] <= 100]
    table = CollabFilterDataset(".", ratings, "userId", "movieId", "rating", time_col="timestamp")
    learn = table.get_learner(5, by_user_time(share=0.2), seed=0, progress=False)
    base = learn.baseline()
    assert base.name == "16 factors by least squares"
    assert base.reference.name == "mean"
    assert [other.name for other in base.others] == ["biases of users and items"]
    held = learn.data.valid_dl.tensors[2].numpy()
    assert base.reference.metrics["rmse"] == pytest.approx(
        np.sqrt(np.mean((held - learn.data.mean) ** 2)), rel=1e-5
    )
    assert base.others[0].metrics["rmse"] < 0.95 * base.reference.metrics["rmse"]
    assert base.metrics["rmse"] < 1.02 * base.others[0].metrics["rmse"]
    assert len(base.predictions) == len(held)
    low, high = learn.data.rating_range
    assert low <= base.predictions.min() <= base.predictions.max() <= high
    with pytest.raises(ValueError, match=r"judged by their lists: table.compare\(\) stands popularity"):
        table.implicit().get_learner(5, by_user_time(), seed=0).baseline()
    with pytest.raises(ValueError, match="a quick model needs validation rows"):
        table.get_learner(5, seed=0).baseline()

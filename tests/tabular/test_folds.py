"""Folds of a table: nothing is learned of a fold's validation rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, TimeSeriesSplit

from zoo.data.loaders.seeding import mix_seeds, set_seed
from zoo_tabular import ColumnarModelData, cross_validate_table

LEARNER = {"szs": [8], "device": "cpu", "progress": False}


def rows(n: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"Shop": rng.choice(list("abc"), n), "Size": rng.normal(size=n)}, index=[f"r{i}" for i in range(n)]
    )
    df["Sales"] = np.exp(df["Size"] / 3 + df["Shop"].map({"a": 1, "b": 2, "c": 0}))
    return df


def fit(learn) -> None:
    learn.fit(0.01, 1)


def test_out_of_fold_predictions_are_those_of_folds_made_by_hand() -> None:
    df = rows()
    before = df.copy()
    found = cross_validate_table(
        df, "Sales", ["Shop"], KFold(3), fit=fit, learner=LEARNER, target_transform="log", bs=32
    )
    pd.testing.assert_frame_equal(df, before)
    for fold, (train, valid) in enumerate(KFold(3).split(df)):
        set_seed(mix_seeds(0, fold) % 2**32)
        md = ColumnarModelData.from_data_frames(
            ".", df.iloc[train], df.iloc[valid], "Sales", "Sales", ["Shop"], 32, target_transform="log"
        )
        learn = md.get_learner(**LEARNER)
        fit(learn)
        assert (found.predictions[valid] == learn.predict()).all()
    assert list(found.scores.columns) == ["valid_loss", "exp_rmspe"]
    new = found.ensemble().predict_batch(df.head(7))
    assert new.shape == (7,)


def test_nothing_is_learned_of_validation_rows() -> None:
    df = rows()
    df["Shop"] = [f"s{i // 60}" for i in range(240)]  # each fold has a shop of its own
    df["Size"] = np.repeat([0.0, 10.0, 20.0, 1000.0], 60)
    df.loc[df.index[:60], "Size"] = np.nan
    seen = []

    def look(learn) -> None:
        seen.append(learn.data.processor)
        fit(learn)

    parts = [np.arange(i, i + 60) for i in range(0, 240, 60)]
    cross_validate_table(
        df, "Sales", ["Shop"], parts, fit=look, learner=LEARNER, target_transform="standardize", bs=32
    )
    for valid, processor in zip(parts, seen, strict=True):
        train = df.drop(df.index[valid])
        assert processor.categories_[0].levels == sorted(set(train["Shop"]))
        assert processor.numbers_[0].median == train["Size"].median()


def test_changed_validation_rows_change_no_learner() -> None:
    df = rows()
    other = df.copy()
    other.iloc[:80, other.columns.get_loc("Size")] *= 50
    other.iloc[:80, other.columns.get_loc("Sales")] *= 50
    parts = [np.arange(80)]
    found = [
        cross_validate_table(
            one, "Sales", ["Shop"], parts, fit=fit, learner=LEARNER, target_transform="standardize", bs=32
        ).learners[0]
        for one in (df, other)
    ]
    for a, b in zip(*(learn.model.state_dict().values() for learn in found), strict=True):
        assert (a == b).all()


def test_classes_groups_and_time() -> None:
    df = rows()
    df["High"] = np.where(df["Sales"] > 3, "yes", "no")
    found = cross_validate_table(
        df, "High", ["Shop"], 3, fit=fit, learner=LEARNER, is_reg=False, cont_flds=["Size"], bs=32
    )
    assert np.exp(found.predictions).sum(1) == pytest.approx(np.ones(240), abs=1e-5)
    df["Week"] = np.arange(240) // 10
    found = cross_validate_table(
        df, "Sales", ["Shop"], 4, fit=fit, learner=LEARNER, groups="Week", cont_flds=["Size"], bs=32
    )
    assert df.groupby("Week")["Sales"].count().eq(10).all()
    assert all(len(set(found.fold[df["Week"] == week])) == 1 for week in range(24))
    found = cross_validate_table(
        df, "Sales", ["Shop"], TimeSeriesSplit(3), fit=fit, learner=LEARNER, cont_flds=["Size"], bs=32
    )
    assert found.missing.tolist() == list(range(60))


def test_wrong_names_are_told_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="did you mean 'Sales'"):
        cross_validate_table(rows(), "Sale", ["Shop"], fit=fit)
    with pytest.raises(ValueError, match="groups: the data frame has no column 'Weak'"):
        cross_validate_table(rows(), "Sales", ["Shop"], fit=fit, groups="Weak")


def test_folds_of_corrected_targets_other_columns_or_options_are_not_taken_for_done(tmp_path) -> None:
    df = rows()
    df["Price"] = df["Size"].to_numpy()[::-1]

    def run(frame: pd.DataFrame, column: str = "Size", **options):
        return cross_validate_table(
            frame, "Sales", ["Shop"], 3, fit=fit, path=tmp_path, bs=32, cont_flds=[column],
            learner={**LEARNER, **options},
        )  # fmt: skip

    first = run(df)
    assert (run(df).predictions == first.predictions).all()
    with pytest.raises(ValueError, match="other targets of the same rows"):
        run(df.assign(Sales=df["Sales"] * 100))
    with pytest.raises(ValueError, match="answers otherwise now"):
        run(df, "Price")
    with pytest.warns(UserWarning, match="data or options are others"):
        run(df, wd=0.5)


@pytest.mark.parametrize("name", [int, str], ids=["numbers", "texts"])
def test_the_column_of_groups_is_no_feature(name: type) -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"pat": [name(row // 10) for row in range(60)], "x": rng.normal(size=60), "c": ["a", "b"] * 30}
    )
    df["y"] = rng.normal(size=60)
    found = cross_validate_table(
        df, "y", ["c"], 3, fit=lambda learn: learn.fit(1e-2, 1), groups="pat", bs=16,
        learner={"szs": [4], "device": "cpu", "progress": False},
    )  # fmt: skip
    processor = found.learners[0].data.processor
    assert processor.feature_names_in_ == ["c", "x"]
    named = cross_validate_table(
        df, "y", ["c", "pat"], 3, fit=lambda learn: learn.fit(1e-2, 1), groups="pat", bs=16,
        learner={"szs": [4], "device": "cpu", "progress": False},
    )  # fmt: skip
    assert named.learners[0].data.processor.feature_names_in_ == ["c", "pat", "x"]

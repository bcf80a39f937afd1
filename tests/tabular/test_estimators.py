"""The estimators keep scikit-learn's rules, work inside its tools, and are good on real tables."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, get_scorer, make_scorer, recall_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from examples.rossmann_features import CATEGORIES, NUMBERS, load_rossmann
from zoo import load_learner
from zoo_tabular import TabularClassifier, TabularRegressor
from zoo_tabular.data.fit_length import auto_batch_size, auto_epochs

QUICK: dict[str, Any] = {"epochs": 4, "random_state": 0, "device": "cpu"}


def expected_failures(estimator: Any) -> dict[str, str]:
    """The same exception as scikit-learn makes for its own estimators that train by mini-batches."""
    return {
        "check_sample_weight_equivalence_on_dense_data": "a repeated row meets other batches, dropout and "
        "column means than one row of weight 2: equal only in expectation"
    }


@parametrize_with_checks(
    [TabularRegressor(epochs=4, device="cpu"), TabularClassifier(epochs=4, device="cpu")],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def mixed(n: int = 240) -> tuple[pd.DataFrame, pd.Series]:
    """Text, categories, whole numbers, floats with gaps, flags; y depends on all but the last."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {
            "city": rng.choice(["bern", "köln", "ulm"], n),
            "kind": pd.Categorical(rng.choice(list("ab"), n)),
            "rooms": rng.integers(1, 6, n),
            "area": rng.normal(50, 10, n),
            "new": rng.random(n) < 0.5,
        }
    )
    y = 20 * df["city"].map({"bern": 3, "köln": 1, "ulm": 2}) + 10 * (df["kind"] == "b") + df["area"]
    df.loc[::17, "area"] = np.nan
    df.loc[::29, "city"] = None
    return df, y


def test_frames_with_text_categories_gaps_and_flags() -> None:
    df, y = mixed()
    before = df.copy(deep=True)
    model = TabularRegressor(random_state=0, device="cpu").fit(df[:180], y[:180])
    pd.testing.assert_frame_equal(df, before)
    assert model.score(df[180:], y[180:]) > 0.6
    assert model.feature_names_in_.tolist() == df.columns.tolist()
    assert model.n_features_in_ == 5
    assert [c.name for c in model.learner_.data.processor.categories_] == ["city", "kind"]
    strange = df[180:182].assign(city="oslo")
    assert np.isfinite(model.predict(strange)).all()
    classes = TabularClassifier(random_state=0, device="cpu").fit(df[:180], y[:180] > y.median())
    assert classes.classes_.tolist() == [False, True]
    assert classes.score(df[180:], y[180:] > y.median()) > 0.8


def test_arrow_tables_are_read_as_frames() -> None:
    df, y = mixed(60)
    model = TabularRegressor(**QUICK).fit(df[["city", "rooms"]], y)
    table = pa.Table.from_pandas(df[["city", "rooms"]], preserve_index=False)
    assert np.array_equal(model.predict(table), model.predict(df[["city", "rooms"]]))
    assert TabularRegressor(**QUICK).fit(table, y).feature_names_in_.tolist() == ["city", "rooms"]


def test_categories_can_be_named_also_whole_numbers_and_positions() -> None:
    df, y = mixed(60)
    model = TabularRegressor(["rooms", "city", "kind"], **QUICK).fit(df, y)
    assert [c.name for c in model.learner_.data.processor.categories_] == ["rooms", "city", "kind"]
    array = df[["rooms", "new"]].to_numpy(dtype=float)
    by_place = TabularRegressor([0], **QUICK).fit(array, y)
    assert [c.name for c in by_place.learner_.data.processor.categories_] == ["x0"]
    words = TabularRegressor(**QUICK).fit(df[["city", "area"]].to_numpy(dtype=object), y)
    assert [c.name for c in words.learner_.data.processor.categories_] == ["x0"]
    unnamed = TabularRegressor(**QUICK).fit(pd.DataFrame(array), y)
    assert unnamed.predict(pd.DataFrame(array)).shape == (60,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cat_flds": "city"}, r"did you mean cat_flds=\['city'\]"),
        ({"cat_flds": ["citty"]}, r"no column 'citty' \(did you mean 'city'\?\)"),
        ({"cat_flds": ["kind"]}, "column 'city' is .* and not among cat_flds: add it there"),
        ({"patience": 3}, "validate on: valid_pct=0.1"),
        ({"target_transform": "lgo"}, "target_transform must be one of"),
        ({"drops": [0.1]}, "drops: 1 values for 2 hidden layers"),
    ],
)
def test_wrong_options_are_named_when_fitted(change: dict, message: str) -> None:
    df, y = mixed(40)
    with pytest.raises(ValueError, match=message):
        TabularRegressor(**{**QUICK, **change}).fit(df, y)


def test_dates_are_refused_with_advice() -> None:
    df, y = mixed(40)
    for dates in (pd.Timestamp("2020-01-01"), pd.Timedelta("1D"), pd.Timestamp("2020-01-01").date()):
        with pytest.raises(ValueError, match=r"column 'day' holds dates: .*add_datepart\(df, 'day'\)"):
            TabularRegressor(**QUICK).fit(df.assign(day=dates), y)


def test_wrong_rows_and_targets_are_refused() -> None:
    df, y = mixed(40)
    model = TabularRegressor(**QUICK).fit(df, y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(df.drop(columns="area"))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit(df, y.mask(y > 90))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(df, y[:-1])
    with pytest.raises(NotFittedError):
        TabularRegressor().predict(df)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        TabularClassifier(**QUICK).fit(df, y)
    with pytest.raises(ValueError, match="only one class, 'a'"):
        TabularClassifier(**QUICK).fit(df, ["a"] * 40)


def test_the_same_random_state_gives_the_same_model_and_leaves_other_draws_alone() -> None:
    df, y = mixed(60)
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    one = TabularRegressor(**QUICK).fit(df, y).predict(df)
    assert (torch.rand(1), np.random.rand()) == expected
    assert np.array_equal(one, TabularRegressor(**QUICK).fit(df, y).predict(df))
    other = clone(TabularRegressor(**QUICK)).set_params(random_state=1).fit(df, y)
    assert not np.array_equal(one, other.predict(df))


def test_pickles_and_copies_answer_the_same_and_hold_no_training_rows() -> None:
    df, y = mixed()
    model = TabularClassifier(**QUICK).fit(df, y > 80)
    expected = model.predict_proba(df)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for twin in (pickle.loads(pickle.dumps(model)), joblib.load(file), copy.deepcopy(model)):
        assert np.array_equal(twin.predict_proba(df), expected)
        assert twin.learner_.data.train_dl is None
        assert twin.learner_.history == model.learner_.history
        assert np.array_equal(pickle.loads(pickle.dumps(twin)).predict_proba(df), expected)
    assert model.learner_.data.train_dl is not None, "the original keeps its rows"
    assert len(pickle.dumps(model)) < 200_000 + 8 * sum(p.numel() for p in model.learner_.model.parameters())


def test_the_learner_inside_exports_as_any_other(tmp_path) -> None:
    df, y = mixed(60)
    names = np.where(y > 80, "dear", "cheap")
    model = TabularClassifier(**QUICK).fit(df, names)
    learn = load_learner(model.learner_.export(tmp_path / "flats.zip"), device="cpu")
    answers = learn.predict_batch(df)
    assert [answer.label for answer in answers] == model.predict(df).tolist()
    assert answers[0].probabilities["dear"] == pytest.approx(model.predict_proba(df)[0, 1], rel=1e-5)


def test_grid_search_in_processes_pipelines_and_cross_validation() -> None:
    df, y = mixed(120)
    search = GridSearchCV(TabularRegressor(**QUICK), {"szs": [(4,), (32, 16)], "lr": [0.01]}, cv=2, n_jobs=2)
    search.fit(df, y)
    assert search.best_params_["szs"] in [(4,), (32, 16)]
    alone = cross_val_score(TabularRegressor(szs=(4,), lr=0.01, **QUICK), df, y, cv=KFold(2))
    # workers have fewer threads, which changes roundings where training is in bfloat16
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(alone.mean(), rel=1e-2)
    X, kinds = load_wine(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), TabularClassifier(**{**QUICK, "epochs": 15}))
    assert cross_val_predict(pipe, X, kinds, cv=3, method="predict_proba").shape == (178, 3)
    assert cross_val_score(pipe, X, kinds, cv=3).mean() > 0.9
    columns = make_column_transformer((StandardScaler(), ["area", "rooms"]), remainder="passthrough")
    columns.set_output(transform="pandas")
    assert make_pipeline(columns, TabularRegressor(**QUICK)).fit(df, y).predict(df).shape == (120,)


def test_several_targets_each_on_its_own_scale() -> None:
    df, y = mixed()
    both = np.column_stack([y, -1000 * y])
    model = TabularRegressor(random_state=0, device="cpu").fit(df[:180], both[:180])
    assert model.predict(df).shape == (240, 2)
    assert model.score(df[180:], both[180:]) > 0.6


def test_labels_of_which_several_may_hold() -> None:
    df, y = mixed()
    labels = pd.DataFrame({"dear": y > 80, "bern": df["city"] == "bern"}).astype(int)
    model = TabularClassifier(random_state=0, device="cpu").fit(df[:180], labels[:180])
    assert model.predict(df).shape == (240, 2)
    assert ((model.predict(df[180:]) == labels[180:].to_numpy()).mean(axis=0) > [0.8, 0.85]).all()
    assert model.learner_.data.classes == ["dear", "bern"]
    with pytest.raises(ValueError, match=r"[Mm]ultioutput|labels of 0 or 1"):
        TabularClassifier(**QUICK).fit(df, np.column_stack([df["rooms"], df["rooms"]]))


def test_two_labels_are_scored_as_three_are() -> None:
    df, y = mixed()
    labels = np.column_stack([y > 80, y > 100, df["city"] == "bern"]).astype(int)
    for several in (labels[:, :2], labels):
        model = TabularClassifier(**QUICK).fit(df[:180], several[:180])
        assert model.classes_.tolist() == [[0, 1]] * several.shape[1]
        proba = model.predict_proba(df[180:])
        for scoring, metric in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
            found = get_scorer(scoring)(model, df[180:], several[180:])
            assert found == pytest.approx(metric(several[180:], proba))
        folds = cross_val_score(TabularClassifier(**QUICK), df, several, cv=KFold(2), scoring="roc_auc")
        assert np.isfinite(folds).all()
        out = cross_val_predict(TabularClassifier(**QUICK), df, several, cv=KFold(2), method="predict_proba")
        assert out.shape == several.shape


def test_weights_of_rows_decide_between_rows_that_disagree() -> None:
    """Every row occurs twice with different targets: the weighted mean is what squared error wants."""
    x = np.tile(np.linspace(-1, 1, 40), 2)[:, None]
    y = np.repeat([0.0, 10.0], 40)
    share = 0.9
    weights = np.repeat([1 - share, share], 40)
    model = TabularRegressor(random_state=0, device="cpu", drops=0.0).fit(x, y, sample_weight=weights)
    assert model.predict(x).mean() == pytest.approx(10 * share, abs=1.0)
    two = TabularClassifier(random_state=0, device="cpu", drops=0.0).fit(x, y > 5, sample_weight=weights)
    assert two.predict_proba(x)[:, 1].mean() == pytest.approx(share, abs=0.1)
    model = TabularRegressor(**QUICK).fit(x, y, sample_weight=np.repeat([0, 3], 40))
    assert np.allclose(model.predict(x), 10, atol=0.5)
    with pytest.raises(ValueError, match="one weight a row"):
        model.fit(x, y, sample_weight=[1.0])


def test_class_weights_find_more_of_the_rare_class() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    rare = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]]
    X, y = X[rare, 2:4], y[rare]
    recall = make_scorer(recall_score, pos_label=0)
    found = {}
    for weight in (None, "balanced"):
        model = TabularClassifier(random_state=0, device="cpu", class_weight=weight)
        found[str(weight)] = cross_val_score(model, X, y, cv=StratifiedKFold(2), scoring=recall).mean()
    assert found["balanced"] >= found["None"] + 0.1


def test_one_absurd_value_does_not_drive_the_answer() -> None:
    df, y = mixed()
    row = df[200:201]
    for far, bound in ((1e6, 3.0), (-1e6, 3.0)):
        model = TabularRegressor(random_state=0, device="cpu", clip_cont=bound, epochs=10).fit(
            df[:200], y[:200]
        )
        assert y.min() - 40 < model.predict(row.assign(area=far))[0] < y.max() + 40
    unbounded = TabularRegressor(random_state=0, device="cpu", clip_cont=None, epochs=10).fit(
        df[:200], y[:200]
    )
    assert abs(unbounded.predict(row.assign(area=1e6))[0]) > 1000
    with pytest.raises(
        ValueError, match="clip_cont is a bound of the scaled numbers, above 0, or None; got 0"
    ):
        TabularRegressor(clip_cont=0, **QUICK).fit(df, y)


def test_early_stopping_keeps_the_best_epoch() -> None:
    df, _ = mixed(120)
    noise = np.random.default_rng(0).normal(size=120)
    model = TabularRegressor(epochs=60, valid_pct=0.25, patience=3, random_state=0, device="cpu", drops=0.0)
    model.fit(df, noise)
    losses = [row["valid_loss"] for row in model.learner_.history]
    assert len(losses) < 60
    assert model.learner_.evaluate()["valid_loss"] == pytest.approx(min(losses), rel=1e-5)
    classes = TabularClassifier(valid_pct=0.1, **QUICK).fit(df, np.r_[np.zeros(118), 1, 2])
    assert classes.predict_proba(df).shape == (120, 3)


def test_tables_of_any_length_get_sizes_that_train() -> None:
    for n in (2, 3, 10, 17):
        X = np.arange(n, dtype=float)[:, None]
        assert TabularRegressor(**QUICK).fit(X, X[:, 0]).predict(X).shape == (n,)
        assert TabularClassifier(**QUICK).fit(X, X[:, 0] > 0).predict(X).shape == (n,)
    assert [auto_batch_size(n) for n in (5, 353, 4800, 40_000, 10**6)] == [5, 16, 64, 512, 512]
    assert [auto_epochs(n, -(-n // auto_batch_size(n))) for n in (5, 353, 4800, 10**6)] == [100, 15, 27, 3]


def test_ten_rows_are_learned() -> None:
    df, y = mixed(10)
    model = TabularRegressor(random_state=0, device="cpu").fit(df, y)
    assert model.score(df, y) > 0.7


@pytest.mark.parametrize(
    ("load", "least"), [(load_diabetes, 0.42), (load_breast_cancer, 0.95), (load_wine, 0.94)]
)
def test_as_good_as_gradient_boosting_on_small_tables(load: Any, least: float) -> None:
    X, y = load(return_X_y=True)
    numbers = load is load_diabetes
    ours: Any = (TabularRegressor if numbers else TabularClassifier)(random_state=0, device="cpu")
    boosted = HistGradientBoostingRegressor() if numbers else HistGradientBoostingClassifier(max_iter=50)
    folds = (KFold if numbers else StratifiedKFold)(3, shuffle=True, random_state=0)
    score = cross_val_score(ours, X, y, cv=folds).mean()
    assert score > least
    assert score > cross_val_score(boosted, X, y, cv=folds).mean() - 0.02


def test_digits_beat_a_linear_model() -> None:
    X, y = load_digits(return_X_y=True)
    train, valid, y_train, y_valid = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(train, y_train)
    ours = TabularClassifier(random_state=0, device="cpu").fit(train, y_train)
    assert ours.score(valid, y_valid) > linear.score(valid, y_valid)
    assert roc_auc_score(y_valid, ours.predict_proba(valid), multi_class="ovr") > 0.995


def test_store_sales_with_many_categories_match_gradient_boosting(data_dir) -> None:
    sales, _ = load_rossmann(data_dir("rossmann"), 40_000)
    sales = sales.sample(4000, random_state=0)
    X = sales[[*CATEGORIES, *NUMBERS]].astype(dict.fromkeys(CATEGORIES, "category"))
    train, valid, y_train, y_valid = train_test_split(X, sales["Sales"], test_size=0.3, random_state=0)
    boosted = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    ours = TabularRegressor(target_transform="log", random_state=0, device="cpu").fit(train, y_train)
    score = ours.score(valid, y_valid)
    assert score > 0.82
    assert score > boosted.fit(train, y_train).score(valid, y_valid) - 0.02


def test_places_and_shares_out_of_range_are_named() -> None:
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40.0)
    with pytest.raises(ValueError, match=r"cat_flds: there is no column number 7, the data have 2"):
        TabularRegressor(cat_flds=[7], epochs=1).fit(X, y)
    for share in (2, -0.1, 1.0, "much"):
        with pytest.raises(ValueError, match="valid_pct is a share of the rows"):
            TabularRegressor(valid_pct=share, epochs=1).fit(X, y)


def test_labels_may_be_called_as_features_are() -> None:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    model = TabularClassifier(epochs=2, random_state=0).fit(X, (X > 0).astype(int)[["b", "a"]])
    assert model.predict(X).shape == (60, 2)
    assert model.learner_.data.classes == ["b (label)", "a (label)"]


def test_rows_in_any_order_keep_their_answers() -> None:
    df = pd.DataFrame({"kind": ["a", "b"] * 20, "size": range(40)}).sample(frac=1, random_state=0)
    options: dict = {"random_state": 0, "device": "cpu", "epochs": 60}
    by_class = TabularClassifier(**options).fit(df, df["kind"] == "b")
    assert by_class.score(df, df["kind"] == "b") > 0.9
    labels = pd.DataFrame({"b": df["kind"] == "b", "a": df["kind"] == "a"}).astype(int)
    by_label = TabularClassifier(**options).fit(df, labels)
    assert by_label.score(df, labels) > 0.9

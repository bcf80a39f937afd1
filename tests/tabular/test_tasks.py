"""Every kind of target on real store sales, each next to a simple model of scikit-learn on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, average_precision_score, r2_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.rossmann_features import NUMBERS, load_rossmann
from zoo import Prediction, load_learner
from zoo.losses import CrossEntropyFlat
from zoo.metrics import accuracy, auc, mae, r2, rmse, sklearn_metric
from zoo_tabular import ColumnarModelData, average_precision, class_weights, in_units
from zoo_tabular.frames.target.transforms import TargetTransform

N, HELD = 6000, 2000
KINDS = ["StoreType", "Assortment", "DayOfWeek", "Month", "State", "Promo_fw", "Promo_bw", "Events"]


@pytest.fixture(scope="module")
def sales(data_dir) -> pd.DataFrame:
    frame, _ = load_rossmann(data_dir("rossmann"), 40_000)
    rows = frame.sample(N + HELD, random_state=0).reset_index(drop=True)
    return rows.drop(
        columns=["Date", "Monday", "Promo2Since", "Elapsed"]
    )  # days in between are asked for here


def learner(
    df: pd.DataFrame,
    y: Any,
    cats: list,
    conts: list,
    epochs: int = 6,
    *,
    loss_of: Any = None,
    metrics_of: Any = None,
    **options: Any,
) -> Any:
    """A trained learner; the last rows are held out."""
    md = ColumnarModelData.from_data_frame(
        ".", np.arange(N, N + HELD), df, y, cats, 64, cont_flds=conts, seed=0, **options
    )
    learn = md.get_learner(
        szs=[100, 50], drops=0.1, emb_drop=0.02, seed=0, device="cpu", progress=False,
        loss_fn=None if loss_of is None else loss_of(md),
        metrics=None if metrics_of is None else metrics_of(md),
    )  # fmt: skip
    learn.fit_one_cycle(epochs, 5e-3)
    return learn


def linear(df: pd.DataFrame, y: Any, cats: list, conts: list, model: Any) -> Any:
    """A fitted linear model on one-hot categories and scaled numbers, and the rows held out."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), cats), (numbers, conts))
    X = df.astype(dict.fromkeys(cats, str))
    return make_pipeline(encode, model).fit(X[:N], y[:N]), X[N:]


def test_two_classes_with_names(sales: pd.DataFrame, tmp_path) -> None:
    cats, conts = ["Store", *KINDS], ["CompetitionDistance"]
    busy = pd.Series(np.where(sales["Sales"] > 6000, "busy", "calm"))
    learn = learner(sales, busy, cats, conts, is_reg=False, metrics_of=lambda md: [accuracy, auc])
    simple, rows = linear(sales, busy, cats, conts, LogisticRegression(max_iter=300))
    probabilities = learn.predict_proba()
    assert learn.data.classes == ["busy", "calm"]
    ours = roc_auc_score(busy[N:] == "calm", probabilities[:, 1])
    assert learn.history[-1]["auc"] == pytest.approx(ours, abs=1e-4)
    assert ours > roc_auc_score(busy[N:] == "calm", simple.predict_proba(rows)[:, 1]) - 0.003
    one = load_learner(learn.export(tmp_path / "busy"), device="cpu").predict_one(sales.iloc[N].to_dict())
    assert isinstance(one, Prediction)
    assert one.label == learn.data.classes[probabilities[0].argmax()]
    assert one.probabilities["calm"] == pytest.approx(probabilities[0, 1], abs=1e-5)


def test_many_classes(sales: pd.DataFrame) -> None:
    """Which of 39 stores was it, by the day's sales, customers, and what stood in the calendar?"""
    cats, conts = (
        ["DayOfWeek", "Promo_fw", "Month"],
        ["Sales", "Customers", "Promo", "Max_TemperatureC", "trend"],
    )
    stores = "store " + sales["Store"].astype(str)
    learn = learner(sales, stores, cats, conts, 10, is_reg=False)
    simple, rows = linear(sales, stores, cats, conts, LogisticRegression(max_iter=200))
    classes = learn.data.classes
    assert len(classes) == stores.nunique() >= 12
    assert classes == sorted(stores.unique())
    probabilities = learn.predict_proba()
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    ours = accuracy_score(stores[N:], np.array(classes)[probabilities.argmax(1)])
    assert learn.history[-1]["accuracy"] == pytest.approx(ours, abs=1e-6)
    assert ours > accuracy_score(stores[N:], simple.predict(rows)) + 0.1
    assert [one.label for one in learn.predict_batch(sales[N : N + 50])] == [
        classes[i] for i in probabilities[:50].argmax(1)
    ]
    table = sklearn_metric(roc_auc_score, on="probs", multi_class="ovr")
    assert learn.evaluate(metrics=[table])["roc_auc_score"] > 0.9


def test_a_rare_class_is_ranked_and_weighted(sales: pd.DataFrame) -> None:
    """Days on which a store sells at least 1.8 times its median: 2% of all."""
    cats, conts = ["Store", *KINDS, "Week", "Day"], ["Promo", "AfterStateHoliday", "BeforeStateHoliday"]
    rare = pd.Series(sales["Sales"] > 1.8 * sales.groupby("Store")["Sales"].transform("median"))
    assert 0.01 < rare.mean() < 0.03
    simple, rows = linear(sales, rare, cats, conts, LogisticRegression(max_iter=300))
    theirs = roc_auc_score(rare[N:], simple.predict_proba(rows)[:, 1])
    found = {}
    for weight in (None, "balanced"):
        learn = learner(
            sales, rare, cats, conts, 4, is_reg=False,
            metrics_of=lambda md: [auc, average_precision],
            loss_of=None if weight is None else lambda md: CrossEntropyFlat(weight=class_weights(md)),
        )  # fmt: skip
        scores = learn.predict_proba()[:, 1]
        assert learn.history[-1]["auc"] == pytest.approx(roc_auc_score(rare[N:], scores), abs=1e-4)
        assert learn.history[-1]["average_precision"] == pytest.approx(
            average_precision_score(rare[N:], scores), abs=1e-3
        )
        # seeds differ by up to 0.03 here, from 0.907 to 0.942, where the linear model has 0.928
        assert learn.history[-1]["auc"] > theirs - 0.03
        found[weight] = (scores[rare[N:]] > 0.5).mean()
    assert found["balanced"] > found[None] + 0.1, "weights find more of the rare days"


def test_several_labels(sales: pd.DataFrame) -> None:
    cats, conts = ["Store", "State", "DayOfWeek", "Month", "Week", "Day"], ["Max_TemperatureC", "trend"]
    labels = pd.DataFrame(
        {
            "promo": sales["Promo"] == 1,
            "school": sales["SchoolHoliday"] == 1,
            "busy": sales["Sales"] > sales.groupby("Store")["Sales"].transform("median"),
        }
    )
    learn = learner(sales, labels, cats, conts, is_reg=False, is_multi=True)
    model = OneVsRestClassifier(LogisticRegression(max_iter=200))
    simple, rows = linear(sales, labels.to_numpy().astype(int), cats, conts, model)
    ours = roc_auc_score(labels[N:], learn.predict_proba(), average=None)
    theirs = roc_auc_score(labels[N:], simple.predict_proba(rows), average=None)
    assert (ours > theirs).all(), f"{ours} {theirs}"
    mean = sklearn_metric(roc_auc_score, on="values", average="macro")
    assert learn.evaluate(metrics=[mean])["roc_auc_score"] == pytest.approx(ours.mean(), abs=1e-4)
    one = learn.predict_one(sales.iloc[N].to_dict())
    assert set(one.probabilities) == {"promo", "school", "busy"}
    assert one.label == tuple(name for name, p in one.probabilities.items() if p >= 0.5)


def test_several_numbers_each_with_its_own_transform(sales: pd.DataFrame, tmp_path) -> None:
    cats, conts = ["Store", *KINDS], ["CompetitionDistance", "Promo"]
    names = ["Sales", "Customers", "Max_TemperatureC"]
    learn = learner(
        sales, names, cats, conts, 8, target_transform=["log", "log1p", "standardize"],
        metrics_of=lambda md: [in_units(r2, md)],
    )  # fmt: skip
    ours, actual = learn.predict_with_targs()
    assert np.allclose(actual, sales[names][N:], rtol=1e-4, atol=1e-3)
    simple, rows = linear(sales, sales[names].to_numpy(dtype=float), cats, conts, Ridge())
    scores = [r2_score(actual[:, i], ours[:, i]) for i in range(3)]
    theirs = r2_score(actual, simple.predict(rows), multioutput="raw_values")
    assert scores[0] > theirs[0] - 0.01
    assert scores[1] > theirs[1] - 0.01
    assert scores[2] > theirs[2] - 0.01
    assert learn.history[-1]["r2"] == pytest.approx(r2_score(actual.ravel(), ours.ravel()), abs=1e-4)
    loaded = load_learner(learn.export(tmp_path / "several"), device="cpu")
    assert np.allclose(loaded.predict_batch(sales[N:][:20]), ours[:20], rtol=1e-4, atol=1e-3)
    assert loaded.predict_one(sales.iloc[N].to_dict()).shape == (3,)


def test_whole_numbers_are_numbers_or_classes_as_is_asked(sales: pd.DataFrame) -> None:
    cats, conts = ["Store", "DayOfWeek", "Month"], ["Promo"]
    customers = sales["Customers"].astype("int32")
    learn = learner(
        sales, customers, cats, conts, target_transform="log", metrics_of=lambda md: [in_units(mae, md), rmse]
    )
    values, actual = learn.predict_with_targs()
    assert values.dtype == np.float32
    assert learn.history[-1]["mae"] == pytest.approx(np.abs(values - actual).mean(), rel=1e-3)
    simple, rows = linear(sales, customers, cats, conts, Ridge())
    assert r2_score(actual, values) > r2_score(actual, simple.predict(rows))
    days = learner(sales, sales["DayOfWeek"], [], ["Sales", "Customers", "Promo"], 1, is_reg=False)
    assert days.data.classes == ["1", "2", "3", "4", "5", "6"], "these shops close on Sundays"


def test_categories_only_and_numbers_only(sales: pd.DataFrame) -> None:
    for cats, conts, gain in (
        ([*KINDS, "Store", "Week", "Day", "Year"], [], 0.03),
        ([], [*NUMBERS, "Customers"], 0.02),
    ):
        learn = learner(sales, "Sales", cats, conts, target_transform="standardize")
        simple, rows = linear(sales, sales["Sales"], cats, conts, Ridge() if cats else LinearRegression())
        values, actual = learn.predict_with_targs()
        assert r2_score(actual, values) > r2_score(actual, simple.predict(rows)) + gain


@pytest.fixture
def small() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=200), "kind": rng.choice(list("abc"), 200)})


def data(df: pd.DataFrame, y: Any, **options: Any) -> ColumnarModelData:
    return ColumnarModelData.from_data_frame(".", np.arange(150, 200), df, y, ["kind"], **options)


def test_classes_of_every_type_keep_their_names(small: pd.DataFrame) -> None:
    positive = small["x"] > 0
    words = pd.Series(np.where(positive, "up", "down"))
    ordered = pd.Categorical(words, categories=["up", "never", "down"], ordered=True)
    for target, names in (
        (words, ["down", "up"]),
        (words.to_numpy(dtype=object), ["down", "up"]),
        (words.astype("string"), ["down", "up"]),
        (pd.Series(ordered), ["up", "down"]),
        (positive, ["False", "True"]),
        (positive.astype("boolean"), ["False", "True"]),
        (positive.astype(float), ["0", "1"]),
        (positive.astype("Int64") * 5, ["0", "5"]),
        ((positive / 2 + 1).round(1), ["1", "1.5"]),
    ):
        md = data(small, target, is_reg=False)
        assert md.classes == names
        first = names.index(str(ordered[0])) if "up" in names else int(positive[0])
        assert md.train_dl.tensors[-1][0] == first


def test_targets_that_fit_no_task_are_refused(small: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="200 different numbers with fractions in 200 rows, which look like"):
        data(small, small["x"], is_reg=False)
    with pytest.raises(ValueError, match=r"the target holds dates \(datetime64"):
        data(small, pd.Series(pd.date_range("2020", periods=200)), is_reg=False)
    with pytest.raises(ValueError, match="only one class, 'a'"):
        data(small, ["a"] * 200, is_reg=False)
    strange = np.where(small["x"] > 0, "up", "down").astype(object)
    strange[170] = "sideways"
    with pytest.raises(ValueError, match="class 'sideways' occurs only in validation rows"):
        data(small, strange, is_reg=False)
    with pytest.raises(ValueError, match="not numbers: pass is_reg=False"):
        data(small, strange)
    with pytest.raises(ValueError, match="multi-label targets must be 0 or 1"):
        data(small, pd.DataFrame({"p": small["x"], "q": 1}), is_reg=False, is_multi=True)
    with pytest.raises(ValueError, match=r"\['log', 'none'\]: 2 transforms for 1 target columns"):
        data(small, small["x"].abs(), target_transform=["log", "none"])
    with pytest.raises(
        ValueError, match="target_transform must be one of none, log, log1p, standardize, got 'lg'"
    ):
        data(small, np.ones((200, 2)), target_transform=["log", "lg"])
    with pytest.raises(ValueError, match="target_transform='log': targets must be above 0"):
        data(small, small[["x", "x"]].set_axis(["p", "q"], axis=1), target_transform=["none", "log"])


def test_transforms_of_columns_are_undone_and_travel_as_json() -> None:
    y = np.array([[1.0, -3.0, 5.0], [10.0, 0.0, 5.0], [100.0, 3.0, 5.0]])
    transform = TargetTransform(["log", "standardize", "none"]).fit(y)
    scaled = transform.forward(y)
    assert np.allclose(scaled, np.stack([np.log(y[:, 0]), y[:, 1] / np.sqrt(6), y[:, 2]], 1))
    twin = TargetTransform.from_dict(transform.to_dict())
    assert np.allclose(twin.inverse(scaled), y)
    assert twin.inverse(scaled.astype("float32")).dtype == np.float32


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ([0, 1], {0: 1, 1: 3}),
        ([0, 1], {"1": 3}),
        ([0.5, 5.0], {5.0: 3}),
        ([0.5, 5.0], {np.int64(5): 3}),
        ([False, True], {True: 3}),
        ([False, True], {0: 1, 1: 3}),
    ],
)
def test_weights_of_classes_by_their_value(values, given) -> None:
    df = pd.DataFrame({"x": range(20), "kind": values * 10})
    md = ColumnarModelData.from_data_frame(".", None, df, "kind", [], is_reg=False)
    assert class_weights(md, given).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="no class 7"):
        class_weights(md, {7: 1.0})
    with pytest.raises(ValueError, match="more than one weight"):
        class_weights(md, {values[1]: 1.0, md.classes[1]: 3.0})


def test_class_weights_by_name(small: pd.DataFrame) -> None:
    md = data(small, np.where(np.arange(200) % 5 == 0, "rare", "usual"), is_reg=False)
    assert np.allclose(class_weights(md), [150 / (2 * 30), 150 / (2 * 120)])
    assert class_weights(md, {"rare": 3}).tolist() == [3.0, 1.0]
    for weights, message in (
        ({"rar": 2}, "no class 'rar'.*did you mean 'rare'"),
        ("even", "expected 'balanced' or weights by class name"),
        ({"rare": -1}, "weights must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            class_weights(md, weights)
    with pytest.raises(ValueError, match="the target must be classes, this is regression"):
        class_weights(data(small, small["x"].abs()))

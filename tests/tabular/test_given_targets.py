"""Targets that come with raw rows: by name, by index, by class."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from tests.tabular.known import known_frame, known_learner
from zoo_tabular import ColumnarModelData, TabularRegressor
from zoo_tabular.reasons.true_targets import model_targets, true_values

ROWS = range(30, 60)


def data(target: object, df: pd.DataFrame, path: object, **options: object) -> ColumnarModelData:
    return ColumnarModelData.from_data_frame(
        path, ROWS, df, target, ["Kind"], 16, cont_flds=["Noise"], **{"is_reg": False, **options}
    )


@pytest.fixture
def df() -> pd.DataFrame:
    return known_frame(60).drop(columns=["Date", "Sales"])


@pytest.fixture
def labels(df) -> pd.DataFrame:
    return pd.DataFrame({"p": df["Noise"] > 0, "q": df["Idle"] > 1.0, "r": df["Size"] > 9})


def learner(md: ColumnarModelData):
    return md.get_learner(szs=[4], progress=False, device="cpu")


def test_several_numbers_are_brought_into_the_order_of_the_model(tmp_path) -> None:
    learn, df = known_learner(tmp_path, n_out=2), known_frame()[400:]
    given = pd.DataFrame({"one": df["Sales"], "two": -df["Sales"]})
    backward = given[["two", "one"]]
    assert np.array_equal(true_values(learn, df, backward), given)
    arrow = pa.Table.from_pandas(backward, preserve_index=False)
    assert np.array_equal(true_values(learn, df, arrow), given)
    assert learn.importance(df, backward).baseline == learn.importance(df, given).baseline
    both = pd.concat([df, given], axis=1)
    assert np.array_equal(true_values(learn, both, ["two", "one"]), given)
    assert np.array_equal(true_values(learn, df, backward.to_numpy()), backward)
    for wrong, message in (
        (given.rename(columns={"two": "tow"}), r"lacks 'two' \(did you mean 'tow'\?\); it has besides 'tow'"),
        (given.assign(three=1.0), "has besides 'three'; the model predicts 'one', 'two'"),
        (given[["one", "one"]], "lacks 'two'; it repeats 'one'"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.importance(df, wrong)
    with pytest.raises(ValueError, match="lacks 'one', 'two'"):
        learn.importance(df, given.set_axis(["a", "b"], axis=1))
    with pytest.raises(ValueError, match="lacks 'two'; it has besides 'other'"):
        learn.importance(both.assign(other=1.0), ["other", "one"])
    renamed = both.rename(columns={"one": "first", "two": "second"})
    assert np.array_equal(true_values(learn, renamed, ["first", "second"]), given)
    with pytest.raises(ValueError, match="in another order"):
        learn.importance(df, given[::-1])
    day = df.assign(day=pd.Timestamp("2024-01-01"))
    found = learn.residuals(day, backward, "day", output="one").frame
    assert np.allclose(found["actual"], df["Sales"])


def test_several_labels_are_brought_into_the_order_of_the_model(tmp_path, df, labels) -> None:
    learn = learner(data(labels, df, tmp_path, is_multi=True))
    backward = labels[["r", "q", "p"]]
    assert np.array_equal(true_values(learn, df, backward), labels)
    both = pd.concat([df, labels], axis=1)
    assert np.array_equal(true_values(learn, both, ["q", "r", "p"]), labels)
    with pytest.raises(ValueError, match="the target lacks 'q'; it has besides 'z'"):
        true_values(learn, df, labels.rename(columns={"q": "z"}))


def test_a_model_of_an_array_takes_targets_by_place(tmp_path, df, labels) -> None:
    learn = learner(data(labels.to_numpy(), df, tmp_path, is_multi=True))
    assert np.array_equal(true_values(learn, df, labels), labels)


def test_true_and_false_labels_draw_no_warning(tmp_path, df, labels) -> None:
    learn = learner(data(labels, df, tmp_path, is_multi=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (labels, labels.astype("float32"), labels["p"].to_frame().assign(q=True, r=False)):
            assert torch.equal(model_targets(learn, df, given), torch.tensor(given.to_numpy("float32")))


def test_classes_in_another_order_of_the_rows_are_refused(tmp_path, df) -> None:
    kind = pd.Series(np.where(df["Noise"] > 0, "up", "down"), name="c")
    learn = learner(data(kind, df, tmp_path))
    expected = (kind == "up").astype(int)
    shifted = kind.set_axis(np.arange(60) + 1000)
    for given in (kind, kind.to_numpy(), kind.to_frame(), kind.astype("category"), list(kind), shifted):
        assert np.array_equal(true_values(learn, df, given), expected)
    assert np.array_equal(true_values(learn, df.assign(c=kind), ["c"]), expected)
    with pytest.raises(ValueError, match=r"another order: row 0 is 0 in the frame and 59 in the target"):
        learn.importance(df, kind[::-1])
    with pytest.raises(ValueError, match="'c'"):
        learn.importance(df, "c")
    with pytest.raises(ValueError, match="the target has 2 columns, the classes need one"):
        learn.importance(df, pd.concat([kind, kind], axis=1))
    with pytest.raises(ValueError, match="holds 'nan', which is none of the classes"):
        learn.importance(df, kind.where(kind == "up"))


def test_classes_that_are_numbers_are_known_by_value(tmp_path, df) -> None:
    stars = pd.Series(np.arange(60) % 10 / 2 + 0.5)
    learn = learner(data(stars, df, tmp_path))
    for given in (stars, stars.astype("float32"), stars.astype(object), stars.map("{:g}".format)):
        assert np.array_equal(true_values(learn, df, given), np.arange(60) % 10)


def test_named_targets_of_an_estimator_keep_their_names(df) -> None:
    y = pd.DataFrame({"one": df["Noise"], "two": df["Noise"] * 100})
    model = TabularRegressor(epochs=1, random_state=0, szs=[4]).fit(df[["Kind", "Size"]], y)
    learn = model.learner_
    assert np.allclose(true_values(learn, df, y[["two", "one"]]), y)
    again = TabularRegressor(epochs=1, random_state=0, szs=[4]).fit(df[["Kind", "Size"]], y.to_numpy())
    assert np.array_equal(model.predict(df[["Kind", "Size"]]), again.predict(df[["Kind", "Size"]]))

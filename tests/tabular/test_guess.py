"""Kinds of columns, guessed; dates whose parts travel with the model; one call from a frame to data."""

import numpy as np
import pandas as pd
import pytest

from zoo import load_learner
from zoo_tabular import ColumnarModelData, TableProcessor
from zoo_tabular.frames.guess import guess_table

N = 900


@pytest.fixture(scope="module")
def sales() -> pd.DataFrame:
    """Shops that differ without order, a trend of size, two years of days, and columns of no use."""
    rng = np.random.default_rng(0)
    shop = rng.integers(1, 31, N)
    size = rng.integers(1, 200, N)
    dates = pd.Series(pd.date_range("2022-01-01", periods=N)).dt.strftime("%Y-%m-%d")
    weekday = np.arange(N) % 7  # 5 are Thursdays
    level = rng.permutation(30)[shop - 1]
    return pd.DataFrame(
        {
            "Date": dates,
            "shop": shop,
            "far": 10.0 * (level * 7 % 15),
            "size": size,
            "open": rng.random(N) < 0.9,
            "kind": rng.choice(["a", "b"], N),
            "row": np.arange(N),
            "name": [f"bill {number}" for number in range(N)],
            "note": [" ".join(rng.choice(list("abcdefgh"), 9)) for _ in range(N)],
            "same": 1,
            "sold": 50.0 + 3 * level + 0.2 * size + 9 * (weekday == 5) + rng.normal(0, 2, N),
        }
    )


def test_kinds_of_columns(sales) -> None:
    found = guess_table(sales, "sold")
    assert found.task == "regression"
    assert found.target_transform == "standardize"
    assert found.of("category") == ["shop", "open", "kind"]
    assert found.of("number") == ["far", "size"]
    assert found.date_flds == ["Date"]
    assert found.of("left out") == ["row", "name", "note", "same"]
    assert {"Month", "Dayofweek"} <= set(found.cat_flds)
    assert "Year" in found.cont_flds
    assert "known from 'shop'" in repr(found)
    assert "free text, 9 words" in repr(found)


def test_what_is_named_is_not_guessed(sales) -> None:
    found = guess_table(sales, "sold", cat_flds=["size"], cont_flds=["shop"], drop=["Date"])
    assert "size" in found.of("category")
    assert "shop" in found.of("number")
    assert not found.date_flds
    with pytest.raises(ValueError, match="'shop' is named as category and as number"):
        guess_table(sales, "sold", cat_flds=["shop"], cont_flds=["shop"])
    with pytest.raises(ValueError, match="'shops'"):
        guess_table(sales, "sold", cat_flds=["shops"])
    with pytest.raises(ValueError, match="no column tells anything of 'same'"):
        guess_table(sales[["same", "row", "name"]], "same")


def test_dates_of_less_than_two_years_tell_no_month(sales) -> None:
    found = guess_table(sales[:300], "sold")
    assert not {"Month", "Week", "Year", "Dayofyear"} & {*found.cat_flds, *found.cont_flds}
    assert {"Day", "Dayofweek"} <= set(found.cat_flds)


@pytest.mark.parametrize(
    ("values", "task", "scale"),
    [
        ([0, 1], "classification", None),
        (["no", "yes"], "classification", None),
        ([True, False], "classification", None),
        (np.exp(np.linspace(0, 8, 60)), "regression", "log"),
        ([0.0, *np.exp(np.linspace(0, 8, 59))], "regression", "log1p"),
        (np.linspace(-1, 1, 60), "regression", "standardize"),
        (np.arange(60), "regression", "standardize"),
    ],
)
def test_what_is_predicted(values, task, scale) -> None:
    rows = [values[i % len(values)] for i in range(60)]
    found = guess_table(pd.DataFrame({"x": np.linspace(0, 1, 60), "y": rows}), "y")
    assert (found.task, found.target_transform) == (task, scale)


def test_one_call_trains_and_answers_on_raw_rows(sales, tmp_path, capsys) -> None:
    data = ColumnarModelData.from_frame(sales, "sold", path=tmp_path, seed=0)
    told = capsys.readouterr().out
    assert "those from" in told
    assert "by 'Date'" in told
    assert data.row_labels["valid"][0].min() == data.row_labels["train"][0].max() + 1
    learn = data.get_learner(drops=0.1, seed=0, progress=False)
    learn.fit_one_cycle(15, 1e-2)
    preds, truth = learn.predict_with_targs()
    assert np.corrcoef(preds, truth)[0, 1] > 0.9
    raw = sales.iloc[-len(preds) :].drop(columns="sold")
    np.testing.assert_allclose(learn.predict_batch(raw), preds, rtol=1e-4)
    opened = load_learner(learn.export(tmp_path / "sales.zip"), device="cpu")
    assert opened.predict_one(raw.iloc[3].to_dict()) == pytest.approx(preds[3], rel=1e-4)
    rows = raw.iloc[:4].to_dict("records")
    np.testing.assert_allclose(opened.predict_batch(rows), preds[:4], rtol=1e-4)
    learn.data.set_test(raw)
    np.testing.assert_allclose(learn.predict(True), preds, rtol=1e-4)
    thursday, friday = ({**rows[0], "Date": day} for day in ("2024-05-09", "2024-05-10"))
    assert opened.predict_one(thursday) - opened.predict_one(friday) == pytest.approx(9, abs=6)


def test_classes_are_held_out_alike() -> None:
    df = pd.DataFrame({"x": np.linspace(0, 1, 200), "y": ["a"] * 150 + ["b"] * 49 + ["c"]})
    data = ColumnarModelData.from_frame(df, "y", seed=0, show=False)
    held = df["y"].iloc[data.row_labels["valid"][0]]
    assert held.value_counts().to_dict() == pytest.approx({"a": 30, "b": 10}, abs=4)
    both = ColumnarModelData.from_frame(df[:199], "y", seed=0, show=False)
    assert df["y"].iloc[both.row_labels["valid"][0]].value_counts().to_dict() == {"a": 30, "b": 9}


def test_what_one_call_refuses(sales) -> None:
    with pytest.raises(ValueError, match="'sold' is missing in 1 of 900 rows"):
        ColumnarModelData.from_frame(sales.assign(sold=sales["sold"].where(sales["row"] > 0)), "sold")
    with pytest.raises(ValueError, match="val_idxs and valid_pct both say"):
        ColumnarModelData.from_frame(sales, "sold", val_idxs=[1], valid_pct=0.3)
    with pytest.raises(ValueError, match="valid_pct is a share"):
        ColumnarModelData.from_frame(sales, "sold", valid_pct=5)
    with pytest.raises(TypeError, match="name of the target column, got Series"):
        ColumnarModelData.from_frame(sales, sales["sold"])


def test_dates_of_a_processor_are_made_of_every_frame(sales) -> None:
    processor = TableProcessor(["Month"], ["Year"], date_names=["Date"]).fit(sales)
    assert processor.feature_names_in_ == ["Month", "Year"]
    again = TableProcessor.from_json(processor.to_json())
    frame = again.transform(sales[["Date"]].iloc[[0, 40]])
    assert frame["Month"].tolist() == [1, 2]
    assert frame["Year"].tolist() == [2022, 2022]
    assert again.transform_row({"Date": "2022-02-10"}) == ([2], [2022.0, 0.0])
    with pytest.raises(ValueError, match="cannot read 'soon' as a date"):
        again.transform(pd.DataFrame({"Date": ["soon"]}))
    with pytest.raises(ValueError, match="date_names is for frames in memory"):
        TableProcessor(["Month"], date_names=["Date"]).fit_stream([sales])

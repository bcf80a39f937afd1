"""TableProcessor inside scikit-learn's tools, and without them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from zoo_tabular import TableProcessor


def sales(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "Distance": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "Store": rng.choice(["a", "b", "c"], n),
            "Day": pd.date_range("2015", periods=n),
        }
    )


def test_clones_are_unfitted_and_have_the_same_options() -> None:
    fitted = TableProcessor(["Store"], min_count=2, scale=True, unknown="error").fit(sales())
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert twin.get_params() == {
        "cat_names": ["Store"], "cont_names": None, "min_count": 2, "max_levels": None, "na_columns": "all",
        "scale": True, "unknown": "error", "extra": "ignore", "date_names": (),
    }  # fmt: skip
    assert not hasattr(twin, "categories_")
    again = clone(TableProcessor.from_json(fitted.to_json())).fit(sales())
    assert again.to_dict() == fitted.to_dict()
    assert pickle.loads(pickle.dumps(fitted)).to_dict() == fitted.to_dict()


def test_options_are_set_by_name() -> None:
    processor = TableProcessor()
    assert processor.set_params(min_count=3, scale=True) is processor
    assert (processor.min_count, processor.scale) == (3, True)
    with pytest.raises(ValueError, match=r"no option 'min_cout' \(did you mean 'min_count'\?\)"):
        processor.set_params(min_cout=3)


def test_pipelines_searches_and_cross_validation() -> None:
    df = sales()
    y = (df["Store"] == "a") + df["Distance"].fillna(0)
    forest = RandomForestRegressor(5, random_state=0)
    pipe = make_pipeline(TableProcessor(), forest)
    search = GridSearchCV(pipe, {"tableprocessor__min_count": [1, 100]}, cv=3).fit(df, y)
    assert search.best_params_ == {"tableprocessor__min_count": 1}
    assert np.isfinite(cross_val_score(pipe, df, y, cv=2)).all()
    check_is_fitted(search.best_estimator_[0])
    assert pipe.fit(df, y)[:-1].get_feature_names_out().tolist() == ["Store", "Distance", "Distance_na"]


def test_column_transformers_give_frames_with_names() -> None:
    df = sales().assign(Size=1.0)
    columns = ColumnTransformer(
        [("table", TableProcessor(), ["Distance", "Store", "Day"]), ("size", StandardScaler(), ["Size"])]
    )
    out = columns.set_output(transform="pandas").fit_transform(df)
    names = ["table__Store", "table__Distance", "table__Distance_na", "size__Size"]
    assert list(out.columns) == list(columns.get_feature_names_out()) == names
    assert out.index.equals(df.index)
    plain = make_column_transformer((TableProcessor(), ["Distance", "Store"])).fit_transform(df)
    assert np.array_equal(np.asarray(plain), out.iloc[:, :3].to_numpy())
    with pytest.raises(ValueError, match="frames of pandas come out, not 'polars'"):
        columns.set_output(transform="polars")


def test_names_that_come_out_need_the_names_that_are_read() -> None:
    processor = TableProcessor().fit(sales())
    with pytest.raises(ValueError, match="call fit first"):
        TableProcessor().get_feature_names_out()
    with pytest.raises(ValueError, match=r"lack 'Store' \(did you mean 'Stores'\?\)"):
        processor.get_feature_names_out(["Distance", "Stores"])
    assert processor.get_feature_names_out(["Distance", "Day", "Store"]).dtype == object


SCRIPT = """
import sys
import pandas as pd
from zoo_tabular import TableProcessor
processor = TableProcessor().set_params(min_count=1).set_output(transform="pandas")
processor.fit(pd.DataFrame({"a": ["x", "y"]})).get_feature_names_out()
processor.get_params()
assert "torch" not in sys.modules and "sklearn" not in sys.modules
"""


def test_neither_torch_nor_scikit_learn_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Calibrated answers for one row, many rows and validation rows agree, also after opening the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo import load_learner
from zoo_tabular import ColumnarModelData


def rows(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"Kind": rng.choice(list("abc"), n), "Size": rng.normal(size=n)})
    df["High"] = (df["Size"] + (df["Kind"] == "a") + rng.normal(size=n) > 0.5).map({True: "yes", False: "no"})
    df["Low"] = (df["Size"] + rng.normal(size=n) < -1).astype(int)
    return df


@pytest.mark.parametrize("several", [False, True])
def test_one_row_many_rows_and_validation_rows_agree(several: bool, tmp_path) -> None:
    df = rows()
    df["High"] = df["High"] if not several else (df["High"] == "yes").astype(int)
    target = ["High", "Low"] if several else "High"
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(600, 900), df, target, ["Kind"], 64, cont_flds=["Size"], seed=0, is_reg=False,
        is_multi=several,
    )  # fmt: skip
    learn = md.get_learner(progress=False, device="cpu", seed=0)
    learn.fit(0.02, 3)
    found = learn.calibrate()
    assert found.temperature != 1
    assert (found.thresholds is not None) is several
    expected = learn.predict_proba()[:20]
    valid = df.iloc[600:620]
    opened = load_learner(learn.export(tmp_path / "model.zip"), device="cpu")
    for one in (learn, opened):
        answers = one.predict_batch(valid)
        assert [list(a.probabilities.values()) for a in answers] == pytest.approx(expected, abs=1e-5)
        singles = [one.predict_one(row) for row in valid.to_dict("records")]
        assert [a.label for a in singles] == [a.label for a in answers]
        assert [a.probability for a in singles] == pytest.approx([a.probability for a in answers], abs=1e-5)

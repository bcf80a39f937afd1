"""Weights of other levels, columns or classes are refused by name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from zoo import load_data, load_learner
from zoo_tabular import ColumnarModelData


def learner(path: Path, kinds: str = "abab", number: str = "x"):
    df = pd.DataFrame({"kind": list(kinds) * 4, number: range(16), "y": ["no", "yes"] * 8})
    data = ColumnarModelData.from_data_frame(path, [0, 1], df, "y", ["kind"], bs=4, is_reg=False)
    return data.get_learner(szs=[4], device="cpu", progress=False, seed=0)


def test_mappings_are_digests_of_columns_levels_and_classes(tmp_path: Path) -> None:
    mapping = learner(tmp_path).data.mapping()
    assert set(mapping) == {
        "task", "columns", "levels of 'kind'", "classes", "scaled columns", "statistics of number columns",
    }  # fmt: skip
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in mapping.values())
    assert mapping == learner(tmp_path).data.mapping()


def test_other_levels_and_columns_are_refused(tmp_path: Path) -> None:
    learner(tmp_path).save("m")
    learner(tmp_path).load("m")
    with pytest.raises(ValueError, match=r"levels of 'kind' \(number 1 is 'b' there, 'c' here\)"):
        learner(tmp_path, kinds="acac").load("m")
    with pytest.raises(ValueError, match=r"columns \(number 1 is 'x' there, 'z' here\)"):
        learner(tmp_path, number="z").load("m")


def sales_learner(
    path: Path, y: str = "sales", transform: str | None = "log", x: float = 0.0, unit: float = 1.0
):
    rows = range(16)
    targets = {"sales": [unit * (row % 5 + 1) for row in rows], "visits": [row % 3 + 1.0 for row in rows]}
    df = pd.DataFrame({"kind": list("abab") * 4, "x": [row + x for row in rows], y: targets[y]})
    data = ColumnarModelData.from_data_frame(path, [0, 1], df, y, ["kind"], bs=4, target_transform=transform)
    return data.get_learner(szs=[4], device="cpu", progress=False, seed=0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"transform": None}, r"transform of the target \(number 0 is 'log' there, 'none' here\)"),
        ({"transform": "standardize"}, "transform of the target"),
        ({"y": "visits"}, r"target \(number 0 is 'sales' there, 'visits' here\)"),
    ],
    ids=["plain", "standardized", "column"],
)
def test_another_target_or_transform_is_refused(tmp_path: Path, other, said: str) -> None:
    sales_learner(tmp_path).save("m")
    sales_learner(tmp_path).load("m")
    with pytest.raises(ValueError, match=said):
        sales_learner(tmp_path, **other).load("m")


def test_other_statistics_of_columns_and_targets_are_told_and_loaded(tmp_path: Path) -> None:
    saved = sales_learner(tmp_path, transform="standardize")
    saved.save("m")
    moved = sales_learner(tmp_path, transform="standardize", x=100.0)
    with pytest.warns(UserWarning, match=r"statistics of number columns \(number 0 is 'x: 8.5, 8.5,.*there"):
        moved.load("m")
    other = moved.model.state_dict()
    assert all(bool((value == other[name]).all()) for name, value in saved.model.state_dict().items())
    moved = sales_learner(tmp_path, transform="standardize", unit=20.0)
    with pytest.warns(UserWarning, match=r"mean and deviation of the target \(number 0"):
        moved.load("m")


@pytest.mark.parametrize("way", ["export", "prepared"])
def test_halves_of_surrogate_pairs_in_categories_are_kept(tmp_path: Path, way: str) -> None:
    kinds = pd.Series([f"a{chr(0xD83D)}", "b"] * 8, dtype=object)
    df = pd.DataFrame({"kind": kinds, "x": range(16), "y": ["no", "yes"] * 8})
    data = ColumnarModelData.from_data_frame(tmp_path, [0, 1], df, "y", ["kind"], bs=4, is_reg=False)
    learn = data.get_learner(szs=[4], device="cpu", progress=False, seed=0)
    learn.fit(0.01, 1)
    row = {"kind": f"a{chr(0xD83D)}", "x": 1}
    if way == "export":
        again = load_learner(learn.export(tmp_path / "a.zip"), device="cpu")
        assert again.predict_one(row).probabilities == learn.predict_one(row).probabilities
    else:
        data.save(tmp_path / "p")
        again = load_data(tmp_path / "p").get_learner(szs=[4], device="cpu", progress=False, seed=0)
        assert again.predict_one(row).label in ("no", "yes")

"""Embeddings and reasons of real store sales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from tests.tabular.test_rossmann import EXAMPLES, load_example
from zoo import load_learner, set_seed
from zoo_tabular import ColumnarModelData, TableProcessor, TabularLearner, exp_rmspe, last_days_split

Trained = tuple[TabularLearner, pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def features() -> ModuleType:
    return load_example("rossmann_features")


@pytest.fixture(scope="module")
def trained(
    features: ModuleType, data_dir: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """A small network of the first stores' sales, the days it learned from, and the six weeks held out."""
    days, _ = features.load_rossmann(data_dir("rossmann", "store.csv"), 12_000)
    held_out = last_days_split(days, "Date", 42)
    set_seed(0)
    md = ColumnarModelData.from_data_frame(
        tmp_path_factory.mktemp("reasons"), held_out, days, "Sales", features.CATEGORIES, 128,
        cont_flds=features.NUMBERS, target_transform="log",
    )  # fmt: skip
    learn = md.get_learner(szs=[64], metrics=[exp_rmspe], progress=False, device="cpu", seed=0)
    learn.fit_one_cycle(6, 5e-3)
    return learn, days.drop(held_out), days.iloc[held_out]


def test_sales_depend_on_the_promotion_and_little_on_the_weather(
    trained: Trained, features: ModuleType
) -> None:
    learn, _, days = trained
    groups = {"promotion": ["Promo", "Promo_fw", "Promo_bw"], "weather": [*features.WEATHER, "Events"]}
    found = learn.importance(groups=groups, columns=["promotion", "weather", "Store"], blocks=days["Date"])
    frame = found.frame
    assert found.baseline == pytest.approx(learn.evaluate()["exp_rmspe"], rel=1e-5)
    assert frame.loc["promotion", "low"] > max(0, frame.loc["weather", "mean"])
    day = days[days["Promo"] == 1].iloc[0]
    changes = learn.what_if(day, "Promo", [0, 1])["change"]
    assert changes[0] < -100
    assert changes[1] == pytest.approx(0, abs=1)


def test_an_exported_network_gives_the_same_reasons(trained: Trained, tmp_path: Path) -> None:
    learn, _, days = trained
    learn.export(tmp_path / "sales.zip")
    loaded = load_learner(tmp_path / "sales.zip", device="cpu")
    ours = learn.partial_dependence("CompetitionDistance", n_rows=100).frame
    theirs = loaded.partial_dependence("CompetitionDistance", days, n_rows=100).frame
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-3)
    assert set(ours.index) <= set(days["CompetitionDistance"])  # values of the user, not rounded ones
    errors = loaded.residuals(days, "Sales", "Date")
    assert np.allclose(errors.frame["forecast"], learn.predict(), rtol=1e-4)
    assert errors.by_time("week")["rows"].sum() == len(days)
    assert loaded.residuals(days, "Sales", "Date").by_group("Store")["percent"].abs().max() < 30


def test_embeddings_help_neighbours_most_as_the_network_reads_them(
    trained: Trained, features: ModuleType
) -> None:
    learn, before, days = trained
    codes = TableProcessor(features.CATEGORIES, features.NUMBERS, scale=True)
    found = []
    for kind in (codes, learn.embedding_transformer(), learn.embedding_transformer(as_read=True)):
        fitted = make_pipeline(kind, KNeighborsRegressor(10)).fit(before, np.log(before["Sales"]))
        found.append(exp_rmspe(fitted.predict(days), np.log(days["Sales"])))
    assert found[2] < 0.95 * found[1] < 0.9 * found[0], found


def test_groups_of_the_example_are_columns_of_its_features(
    features: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    groups = load_example("rossmann_reasons").GROUPS
    members = [name for group in groups.values() for name in group]
    assert set(members) <= {*features.CATEGORIES, *features.NUMBERS}
    assert len(set(members)) == len(members)

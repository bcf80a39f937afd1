"""An ensemble gives the reasons of its own answers, whatever way its members code rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tabular.known import assert_same, known_frame, known_learner, state
from tests.tabular.test_dependence import classifier
from zoo import Ensemble
from zoo_tabular import (
    ColumnarModelData,
    TabularLearner,
    alternatives,
    partial_dependence,
    permutation_importance,
    residuals,
    what_if,
)

VALID = range(400, 600)


def member(path, rows=slice(0, 600), conts=("Size", "Noise"), transform="log", seed=0) -> TabularLearner:
    """A trained network of some rows of the frame, the last 200 of them for validation."""
    df = known_frame()[rows].reset_index(drop=True)
    torch.manual_seed(seed)
    md = ColumnarModelData.from_data_frame(
        path, range(len(df) - 200, len(df)), df, "Sales", ["Kind", "Shade"], 64,
        cont_flds=list(conts), target_transform=transform, seed=seed,
    )  # fmt: skip
    learn = md.get_learner(szs=[8], progress=False, device="cpu", seed=seed)
    learn.fit(0.01, 1)
    return learn


@pytest.fixture
def both(tmp_path) -> Ensemble:
    """Members of other training rows and another order of the columns, so of other codes and scales."""
    second = member(tmp_path, slice(130, 600), ("Noise", "Size"), seed=1)
    return Ensemble([member(tmp_path), second])


def valid() -> pd.DataFrame:
    return known_frame()[400:]


def test_residuals_are_those_of_its_predictions(both) -> None:
    before = [state(learn) for learn in both.learners]
    found = residuals(both, valid(), "Sales", "Date")
    for one, learn in zip(before, both.learners, strict=True):
        assert_same(one, state(learn))
    assert found.frame["forecast"].tolist() == pytest.approx(both.predict_batch(valid()), rel=1e-6)
    assert found.answer == "Sales"


def test_members_of_other_units_answer_in_that_of_the_user(tmp_path) -> None:
    mixed = Ensemble([member(tmp_path), member(tmp_path, transform="standardize", seed=1)])
    found = residuals(mixed, valid(), "Sales", "Date").frame["forecast"]
    assert found.tolist() == pytest.approx(mixed.predict_batch(valid()), rel=1e-6)
    row = valid().iloc[1].to_dict()
    assert what_if(mixed, row, "Size", [row["Size"]])["prediction"].item() == pytest.approx(
        mixed.predict_one(row), rel=1e-5
    )
    with pytest.raises(ValueError, match="trained in different units"):
        permutation_importance(mixed)


def test_dependence_is_the_mean_of_its_predictions(both) -> None:
    for df in (valid(), None):
        found = partial_dependence(both, "Kind", df, n_rows=None).frame["mean"]
        for value in ("a", "b", "c"):
            expected = both.predict_batch(valid().assign(Kind=value)).mean()
            assert found[value] == pytest.approx(expected, rel=1e-5)
    sizes = partial_dependence(both, "Size", n_rows=None, values=[5, 15]).frame["mean"]
    for value in (5.0, 15.0):
        assert sizes[value] == pytest.approx(both.predict_batch(valid().assign(Size=value)).mean(), rel=1e-5)


def test_one_row_is_answered_as_by_predict_one(both) -> None:
    row = valid().iloc[1].to_dict()
    table = what_if(both, row, {"Kind": ["a", None], "Size": [5.0, 15.0]})
    for kind, size, prediction in table[["Kind", "Size", "prediction"]].itertuples(index=False):
        expected = both.predict_one(row | {"Kind": kind, "Size": size})
        assert prediction == pytest.approx(expected, rel=1e-5)
    others = alternatives(both, row)
    assert others.prediction == pytest.approx(both.predict_one(row), rel=1e-5)
    for name, one in others.frame.iterrows():
        for end in ("lowest", "highest"):
            expected = both.predict_one(row | {name: one[f"{end}_at"]})
            assert one[end] == pytest.approx(expected, rel=1e-5)


def test_importance_is_that_of_shuffled_frames(both) -> None:
    found = permutation_importance(both, n_rows=None, n_repeats=2, n_bootstrap=5)
    assert found.metric == "exp_rmspe"
    assert found.baseline == pytest.approx(both.evaluate()["exp_rmspe"], rel=1e-5)
    df, actual = valid(), valid()["Sales"].to_numpy()
    for name in ("Kind", "Size", "Noise"):
        rises = []
        for repeat in range(2):
            order = np.random.default_rng([0, repeat]).permutation(len(df))
            answers = both.predict_batch(df.assign(**{name: df[name].to_numpy()[order]}))
            rises.append(np.sqrt(np.mean((answers / actual - 1) ** 2)) - found.baseline)
        assert found.frame["mean"][name] == pytest.approx(np.mean(rises), abs=1e-5)
    given = permutation_importance(both, df, "Sales", n_rows=None, n_repeats=2, n_bootstrap=5)
    pd.testing.assert_frame_equal(given.frame, found.frame, rtol=1e-4)


def test_classifiers_and_snapshots(tmp_path) -> None:
    pair = Ensemble([classifier(tmp_path), classifier(tmp_path)])
    row = known_frame().iloc[1].to_dict()
    found = what_if(pair, row, "Size", [2.0, 18.0], output="large")["prediction"]
    for size, probability in zip((2.0, 18.0), found, strict=True):
        expected = pair.predict_one(row | {"Size": size}).probabilities["large"]
        assert probability == pytest.approx(expected, abs=1e-6)
    learn = known_learner(tmp_path)
    learn.fit(0.01, 2, cycle_len=1, cycle_save_name="snap")
    snaps = Ensemble.from_snapshots(learn, "snap")
    forecast = residuals(snaps, valid(), "Sales", "Date").frame["forecast"]
    assert forecast.tolist() == pytest.approx(snaps.predict_batch(valid()), rel=1e-6)


def test_members_that_have_no_common_reasons(tmp_path, both) -> None:
    first = both.learners[0]
    fewer = member(tmp_path, conts=("Size",), seed=2)
    pair = Ensemble([first, fewer])
    forecast = residuals(pair, valid(), "Sales", "Date").frame["forecast"]
    assert forecast.tolist() == pytest.approx(pair.predict_batch(valid()), rel=1e-6)
    with pytest.raises(ValueError, match="learner 1 has other columns than learner 0: 'Noise'"):
        partial_dependence(pair, "Size")
    other = Ensemble([first, member(tmp_path, slice(0, 500), seed=3)])
    with pytest.raises(ValueError, match=r"other validation rows.*give a frame of raw rows"):
        partial_dependence(other, "Size")
    assert len(partial_dependence(other, "Size", valid()).frame)
    with pytest.raises(TypeError, match="expected a learner of a table or an ensemble of such, got list"):
        residuals([first], valid(), "Sales", "Date")

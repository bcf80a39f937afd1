"""Permutation importance against models whose use of the columns is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import brier_score_loss, matthews_corrcoef, mean_absolute_error, r2_score

from tests.tabular.known import PER_SIZE, assert_same, known_answer, known_frame, known_learner, state
from zoo import load_learner
from zoo.metrics import auc, mse, r2, sklearn_metric
from zoo_tabular import ColumnarModelData, permutation_importance


def test_only_columns_that_the_model_uses_matter(tmp_path) -> None:
    learn = known_learner(tmp_path)
    learn.model.train()
    before = state(learn)
    found = learn.importance(n_rows=None)
    assert_same(before, state(learn))
    frame = found.frame
    assert list(frame.columns) == ["mean", "std", "low", "high"]
    assert sorted(frame.index[:2]) == ["Kind", "Size"]
    assert (frame.loc[["Kind", "Size"], "low"] > 0).all()
    assert (frame.loc[["Shade", "Noise", "Idle"]] == 0).all().all()
    assert found.metric == "rmse"
    assert found.baseline == pytest.approx(learn.evaluate()["rmse"], rel=1e-5)
    assert found.n_rows == 200
    assert not found.higher_is_better


def test_the_increase_is_the_one_that_shuffling_gives(tmp_path) -> None:
    """Of two independent draws, squared errors rise by twice the variance of what the column adds."""
    learn = known_learner(tmp_path)
    valid = known_frame()[400:]
    found = learn.importance(valid.dropna(), "Sales", metric=mse, n_repeats=50, columns=["Size"])
    expected = 2 * PER_SIZE**2 * valid["Size"].dropna()[valid["Kind"].notna()].var(ddof=0)
    assert found.frame.loc["Size", "mean"] == pytest.approx(expected, rel=0.06)
    assert found.frame.loc["Size", "low"] < expected < found.frame.loc["Size", "high"]


def test_intervals_of_noise_that_the_model_uses_cover_zero(tmp_path) -> None:
    learn = known_learner(tmp_path, noise=0.3)
    found = learn.importance(n_rows=None, metric=mse)
    row = found.frame.loc["Noise"]
    assert row["low"] < 0 < row["high"]  # one noise is as bad as another
    learn = known_learner(tmp_path)
    fair = known_frame()[400:].assign(Sales=lambda df: np.random.default_rng(1).permutation(df["Sales"]))
    for name, row in learn.importance(fair, "Sales", n_rows=None, metric=mse).frame.iterrows():
        assert row["low"] <= 0 <= row["high"], name


def test_the_gaps_of_a_number_are_shuffled_with_it(tmp_path) -> None:
    """Values and gaps apart would give rows that can't be; the values of gaps are the median throughout."""
    learn = known_learner(tmp_path)
    rows: list[np.ndarray] = []
    learn.model.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[1].numpy().copy()))
    learn.importance(columns=["Size"], n_repeats=3)
    numbers = np.concatenate(rows[1:])
    median = learn.data.processor.numbers_[0].encode_one(None)[0]
    assert 0 < numbers[:, 3].mean() < 0.5
    assert np.allclose(numbers[numbers[:, 3] == 1, 0], median)


def test_groups_are_shuffled_together(tmp_path) -> None:
    learn = known_learner(tmp_path)
    apart = learn.importance(metric=mse, n_repeats=20).frame["mean"]
    found = learn.importance(metric=mse, n_repeats=20, groups={"both": ["Kind", "Size"]}).frame["mean"]
    assert set(found.index) == {"both", "Shade", "Noise", "Idle"}
    assert found["both"] == pytest.approx(apart["Kind"] + apart["Size"], rel=0.15)
    for groups, message in (
        ({"g": ["Kin"]}, r"no column 'Kin' \(did you mean 'Kind'"),
        ({"g": ["Kind"], "h": ["Kind"]}, "in the groups 'g' and 'h'"),
        ({"g": []}, "'g' has no columns"),
        ({"Size": ["Kind"]}, "'Size' has the name of a column"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.importance(groups=groups)
    with pytest.raises(ValueError, match="it is in the group 'g'"):
        learn.importance(groups={"g": ["Kind"]}, columns=["Kind"])


def test_equal_seeds_give_equal_numbers_and_an_archive_too(tmp_path) -> None:
    learn = known_learner(tmp_path)
    valid = known_frame()[400:]
    one = learn.importance(n_rows=50).frame
    pd.testing.assert_frame_equal(one, learn.importance(valid, "Sales", n_rows=50).frame, rtol=1e-4)
    learn.export(tmp_path / "known.zip")
    loaded = load_learner(tmp_path / "known.zip", device="cpu")
    pd.testing.assert_frame_equal(one, loaded.importance(valid, "Sales", n_rows=50).frame, rtol=1e-4)
    with pytest.raises(ValueError, match="no validation rows: give a frame"):
        loaded.importance()


def test_blocks_make_wider_intervals_where_rows_err_together(tmp_path) -> None:
    learn = known_learner(tmp_path)
    day = np.repeat(np.arange(10), 20)
    shift = np.random.default_rng(0).normal(0, 2, 10)[day]
    valid = known_frame()[400:].sort_values("Size")
    valid["Sales"] += shift
    narrow, wide = (
        learn.importance(valid, "Sales", columns=["Size"], metric=mse, blocks=blocks).frame.iloc[0]
        for blocks in (None, day)
    )
    assert wide["mean"] == narrow["mean"]
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


@pytest.mark.parametrize("per_day", [1, 5])
def test_intervals_are_as_wide_as_other_rows_spread(tmp_path, per_day) -> None:
    """What a shuffled row gets depends on the row its value comes from as much as on itself."""
    learn = known_learner(tmp_path)
    rng = np.random.default_rng(3)
    means, widths = [], []
    for seed in range(40):
        day = np.repeat(np.arange(300 // per_day), per_day)
        rows = known_frame()[: len(day)].assign(Kind="b", Size=10 + 4 * rng.normal(size=len(day))[day])
        rows["Sales"] = known_answer(rows) + rng.normal(0, 0.5, len(rows))
        found = learn.importance(
            rows, "Sales", columns=["Size"], metric=mse, blocks=day, seed=seed, n_bootstrap=60
        ).frame.loc["Size"]
        means.append(found["mean"])
        widths.append(found["high"] - found["low"])
    assert 0.75 < np.mean(widths) / (2 * 1.96 * np.std(means)) < 1.35


def test_metrics_of_all_kinds_and_their_direction(tmp_path) -> None:
    learn = known_learner(tmp_path)
    for metric, higher in ((r2, True), (sklearn_metric(mean_absolute_error, on="values"), False)):
        found = learn.importance(metric=metric, columns=["Kind", "Idle"])
        assert found.higher_is_better is higher
        assert found.frame.loc["Kind", "low"] > 0
    turned = learn.importance(metric=mse, higher_is_better=True, columns=["Kind"])
    assert turned.frame.loc["Kind", "mean"] < 0


@pytest.mark.parametrize("metric", [matthews_corrcoef, sklearn_metric(brier_score_loss, on="probs")])
def test_the_only_column_that_tells_comes_first_by_any_metric(tmp_path, metric) -> None:
    df = known_frame(400).assign(Answer=lambda df: np.where(df["Size"] > 10, "large", "small"))
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(300, 400), df, "Answer", ["Shade"], 50, cont_flds=["Size", "Noise"], is_reg=False
    )
    learn = md.get_learner(szs=[16], progress=False, device="cpu")
    learn.fit_one_cycle(8, 0.02)
    found = learn.importance(metric=metric, n_bootstrap=20)
    assert found.frame.index[0] == "Size"
    assert found.frame.loc["Size", "low"] > 0


def test_functions_of_scikit_learn_see_values_and_targets_in_their_order(tmp_path) -> None:
    learn = known_learner(tmp_path, n_out=2)
    rng = np.random.default_rng(0)
    df = known_frame()[400:].assign(
        one=lambda df: df["Sales"] + rng.normal(0, 3, 200), two=lambda df: -df["one"]
    )
    truth, preds = df[["one", "two"]], np.asarray(learn.predict_batch(df))
    for metric in (r2_score, sklearn_metric(r2_score)):
        found = learn.importance(df, ["one", "two"], metric=metric, n_bootstrap=5, columns=["Size"])
        assert found.baseline == pytest.approx(r2_score(truth, preds), rel=1e-4)
        assert found.higher_is_better


def test_a_metric_whose_direction_is_unknown_asks_for_it(tmp_path) -> None:
    learn = known_learner(tmp_path)

    def profit(preds: torch.Tensor, targets: torch.Tensor) -> float:
        return -mse(preds, targets)

    with pytest.raises(ValueError, match=r"metric 'profit' are good is not clear .* higher_is_better=True"):
        learn.importance(metric=profit)
    found = learn.importance(metric=profit, higher_is_better=True, n_bootstrap=5)
    assert found.frame.loc["Kind", "mean"] > 0


def test_classes_on_their_own(tmp_path) -> None:
    df = known_frame(400).assign(Answer=lambda df: np.where(df["Size"] > 10, "large", "small"))
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(300, 400), df, "Answer", ["Shade"], 50, cont_flds=["Size", "Noise"], is_reg=False
    )
    learn = md.get_learner(szs=[16], progress=False, device="cpu")
    learn.fit_one_cycle(8, 0.02)
    found = permutation_importance(learn)
    assert found.metric == "accuracy"
    assert found.higher_is_better
    assert found.frame.index[0] == "Size"
    again = permutation_importance(learn, df[300:], "Answer")
    pd.testing.assert_frame_equal(found.frame, again.frame)
    with pytest.raises(ValueError, match="'huge', which is none of the classes"):
        permutation_importance(learn, df[300:], np.array(["huge"] * 100))


def test_bad_arguments_are_named(tmp_path) -> None:
    learn = known_learner(tmp_path)
    df = known_frame()[:20]
    for options, message in (
        ({"n_repeats": 0}, "n_repeats must be at least 1"),
        ({"n_rows": 0}, "n_rows is a number of rows"),
        ({"blocks": [1, 2]}, "blocks has 2 values for 200 rows"),
        ({"blocks": ["Mon"] * 200}, "all 200 rows are in one block, Mon"),
        ({"columns": ["Knd"]}, r"no column or group 'Knd' \(did you mean 'Kind'"),
        ({"df": df}, "the target of df is needed"),
        ({"target": "Sales"}, "a target was given without the frame"),
        ({"df": df[:1], "target": "Sales"}, "at least two rows"),
        ({"df": df, "target": [1.0]}, "the target has 1 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.importance(**options)
    with pytest.raises(TypeError, match="expected a learner of a table or an ensemble of such, got int"):
        permutation_importance(3)


def test_one_output_of_bars(tmp_path) -> None:
    found = known_learner(tmp_path).importance(n_repeats=2, n_rows=50)
    axes = found.plot(top=3)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(found.frame.index[:3])[::-1]
    assert "rmse rises by ... when this column is shuffled" in axes.get_xlabel()
    assert "2 more not shown" in axes.get_xlabel()
    assert "increase of rmse" in repr(found)
    axes.get_figure().canvas.draw()
    assert found.plot(axes) is axes


def test_bfloat16_learners_are_explained_as_they_predict(tmp_path) -> None:
    learn = known_learner(tmp_path)
    exact = learn.importance(n_repeats=2).frame["mean"]
    learn.to_bf16()
    assert torch.is_tensor(learn.model.output.weight)
    assert np.allclose(learn.importance(n_repeats=2).frame["mean"].reindex(exact.index), exact, atol=0.05)


def test_draws_without_the_rare_class_are_left_out_silently(tmp_path) -> None:
    """Warnings are errors here."""
    df = known_frame(200).drop(columns="Date")
    df = df.assign(Answer=lambda df: np.where(df["Size"] > df["Size"].quantile(0.99), "a", "b"))
    md = ColumnarModelData.from_data_frame(
        tmp_path, range(0, 200, 2), df, "Answer", ["Shade"], 50, cont_flds=["Size"], is_reg=False
    )
    learn = md.get_learner(szs=[4], progress=False, device="cpu")
    found = learn.importance(df, "Answer", metric=auc, n_repeats=2, n_bootstrap=100).frame
    assert found[["low", "high"]].notna().all().all()

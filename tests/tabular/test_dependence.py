"""Partial dependence and what-if against a model that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tabular.known import (
    KIND,
    MISSING_KIND,
    MISSING_SIZE,
    PER_SIZE,
    UNKNOWN_KIND,
    assert_same,
    known_frame,
    known_learner,
    state,
)
from zoo import load_learner
from zoo_tabular import ColumnarModelData, TableProcessor, alternatives, partial_dependence, what_if
from zoo_tabular.reasons.encoded_rows import raw_numbers


def classifier(path):
    df = known_frame(400).assign(Answer=lambda df: np.where(df["Size"] > 10, "large", "small"))
    md = ColumnarModelData.from_data_frame(
        path, range(300, 400), df, "Answer", ["Shade"], 50, cont_flds=["Size"], is_reg=False
    )
    learn = md.get_learner(szs=[16], progress=False, device="cpu")
    learn.fit_one_cycle(8, 0.02)
    return learn


def test_the_dependence_of_a_linear_model_is_its_slope(tmp_path) -> None:
    learn = known_learner(tmp_path)
    learn.model.train()
    before = state(learn)
    found = learn.partial_dependence("Size", n_rows=None)
    assert_same(before, state(learn))
    frame = found.frame
    slopes = np.diff(frame["mean"]) / np.diff(frame.index)
    assert np.allclose(slopes, PER_SIZE, rtol=1e-2)
    valid = known_frame()[400:]
    kind = valid["Kind"].map(KIND).fillna(MISSING_KIND).mean()
    assert frame["mean"].iloc[0] == pytest.approx(20 + kind + PER_SIZE * frame.index[0], abs=1e-3)
    assert frame["share"].sum() == pytest.approx(1)
    assert found.curves.shape == (200, len(frame))
    assert valid["Size"].quantile(0.01) == pytest.approx(frame.index[0], abs=0.01)
    given = learn.partial_dependence("Size", values=[30, 20, 20.0]).frame
    assert given.index.tolist() == [20.0, 30.0]
    assert given["mean"].diff().iloc[1] == pytest.approx(10 * PER_SIZE, rel=1e-3)


def test_the_dependence_on_categories_is_their_effect(tmp_path) -> None:
    learn = known_learner(tmp_path)
    frame = learn.partial_dependence("Kind").frame
    assert frame.index.tolist() == ["a", "b", "c", "(missing)"]
    effect = frame["mean"] - frame["mean"]["b"]
    assert np.allclose(effect, [*KIND.values(), MISSING_KIND], atol=1e-4)
    given = learn.partial_dependence("Kind", values=["b", "never seen"]).frame
    assert given["mean"].diff().iloc[1] == pytest.approx(UNKNOWN_KIND, abs=1e-4)
    assert given["share"].iloc[1] == 0
    assert len(learn.partial_dependence("Kind", n_values=2).frame) == 2


def test_a_log_target_answers_in_the_unit_of_the_user(tmp_path) -> None:
    learn = known_learner(tmp_path, transform="log")
    learn.model.output.bias.data[:] = 2.0
    learn.model.output.weight.data[:] = 0.0
    frame = learn.partial_dependence("Size").frame
    assert np.allclose(frame[["mean", "low", "high"]], np.exp(2.0))


def test_one_of_several_outputs(tmp_path) -> None:
    learn = known_learner(tmp_path, n_out=2)
    first, second = (learn.partial_dependence("Kind", output=i).frame["mean"] for i in (0, 1))
    assert np.allclose(first, -second)
    with pytest.raises(ValueError, match="the model predicts 2 targets: say which"):
        learn.partial_dependence("Kind")
    with pytest.raises(ValueError, match="there is no output 2"):
        learn.partial_dependence("Kind", output=2)


def test_probabilities_of_a_class(tmp_path) -> None:
    learn = classifier(tmp_path)
    large = partial_dependence(learn, "Size", output="large", values=[2, 18])
    small = partial_dependence(learn, "Size", values=[2, 18])
    assert small.answer == "probability of small"
    assert np.allclose(large.frame["mean"] + small.frame["mean"], 1, atol=1e-6)
    assert large.frame["mean"].tolist()[0] < 0.2 < 0.8 < large.frame["mean"].tolist()[1]
    with pytest.raises(ValueError, match=r"no output 'larg' \(did you mean 'large'"):
        partial_dependence(learn, "Size", output="larg")
    row = known_frame().iloc[1].to_dict()
    changed = what_if(learn, row, "Size", [2.0, 18.0], output="large")
    assert changed["prediction"].between(0, 1).all()
    assert changed["prediction"].is_monotonic_increasing


def test_an_archive_needs_rows(tmp_path) -> None:
    learn = known_learner(tmp_path)
    learn.export(tmp_path / "known.zip")
    loaded = load_learner(tmp_path / "known.zip", device="cpu")
    valid = known_frame()[400:].drop(columns="Sales")
    there = loaded.partial_dependence("Size", valid).frame
    pd.testing.assert_frame_equal(there, learn.partial_dependence("Size").frame, rtol=1e-4)
    with pytest.raises(ValueError, match="no validation rows: give a frame"):
        loaded.partial_dependence("Size")
    row = valid.iloc[3].to_dict()
    assert loaded.what_if(row, "Kind", ["a", "c"])["prediction"].diff().iloc[1] == pytest.approx(3, abs=1e-4)
    assert len(loaded.alternatives(row, valid).frame) == 5


def test_bad_arguments_of_a_dependence(tmp_path) -> None:
    learn = known_learner(tmp_path)
    empty = known_frame()[:30].assign(Size=np.nan)
    for options, message in (
        ({"column": "Sise"}, r"no column 'Sise' \(did you mean 'Size'"),
        ({"column": "Size", "values": [np.nan]}, "must be finite"),
        ({"column": "Size", "values": []}, "no value to set 'Size'"),
        ({"column": "Size", "values": ["big"]}, "column 'Size' holds numbers, got 'big'"),
        ({"column": "Size", "df": empty}, "no value to set 'Size'"),
        ({"column": "Size", "n_values": 0}, "n_values must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.partial_dependence(**options)


def test_dependence_is_drawn_for_numbers_and_categories(tmp_path) -> None:
    learn = known_learner(tmp_path)
    axes = learn.partial_dependence("Kind", unit="sales").plot(rows=0, names={"a": "first"})
    assert [label.get_text() for label in axes.get_xticklabels()] == ["first", "b", "c", "(missing)"]
    assert axes.get_ylabel() == "sales"
    assert axes.get_title() == "Sales, when Kind alone is changed (200 rows)"
    axes.get_figure().canvas.draw()
    one = learn.partial_dependence("Size", known_frame()[1:2], values=[1, 2]).plot()
    one.get_figure().canvas.draw()
    learn.partial_dependence("Size", values=[5]).plot().get_figure().canvas.draw()


def test_what_if_answers_all_combinations(tmp_path) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    before = dict(row)
    found = learn.what_if(row, {"Kind": ["a", None, "new"], "Size": [8, np.nan]})
    assert row == before
    assert list(found.columns) == ["Kind", "Size", "prediction", "change"]
    kind = np.repeat([KIND["a"], MISSING_KIND, UNKNOWN_KIND], 2)
    median = learn.data.processor.numbers_[0].median
    size = np.tile([8 * PER_SIZE, median * PER_SIZE + MISSING_SIZE], 3)
    assert np.allclose(found["prediction"], 20 + kind + size, atol=1e-4)
    assert np.allclose(found["change"], found["prediction"] - learn.predict_one(row), atol=1e-4)
    single = what_if(learn, pd.Series(row), "Kind", ["a"])
    changed = learn.predict_one(row | {"Kind": "a"})
    assert single["prediction"].item() == pytest.approx(changed, abs=1e-5)


def test_bad_arguments_of_what_if(tmp_path) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    for arguments, message in (
        (("Kind",), "give the values to try for 'Kind'"),
        (("Knd", ["a"]), "no column 'Knd'"),
        (("Kind", "abc"), "must be a list"),
        (("Kind", []), "no values to try"),
        (({},), "at least one column"),
        (({"Kind": ["a"]}, ["b"]), "values go with one column"),
        (({"Size": range(1000), "Noise": range(1000)},), "1,000,000 combinations"),
        (("Size", ["big"]), "holds numbers, got 'big'"),
    ):
        with pytest.raises(ValueError, match=message):
            learn.what_if(row, *arguments)
    with pytest.raises(ValueError, match="no value for 'Size'"):
        learn.what_if({"Kind": "a", "Shade": "dark"}, "Kind", ["b"])
    with pytest.raises(TypeError, match="one row as a dict or series"):
        learn.what_if([1, 2], "Kind", ["b"])


def test_alternatives_are_the_extremes_of_what_if(tmp_path) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    found = alternatives(learn, row, unit="sales")
    frame = found.frame
    assert sorted(frame.index[:2]) == ["Kind", "Size"]
    assert frame["swing"].is_monotonic_decreasing
    kind = frame.loc["Kind"]
    assert (kind["lowest_at"], kind["highest_at"]) == ("a", "c")
    assert kind["swing"] == pytest.approx(3, abs=1e-4)
    assert (frame.loc[["Shade", "Noise", "Idle"], "swing"] == 0).all()
    again = learn.what_if(row, "Size", [frame.loc["Size", "highest_at"]])["prediction"].item()
    assert again == pytest.approx(frame.loc["Size", "highest"], abs=1e-5)
    assert found.prediction == pytest.approx(learn.predict_one(row), abs=1e-5)
    some = alternatives(learn, row, columns=["Kind", "Noise"])
    assert some.frame.index.tolist() == ["Kind", "Noise"]
    axes = found.plot()
    axes.get_figure().canvas.draw()
    assert axes.get_yticklabels()[-1].get_text().startswith(frame.index[0])
    assert "as it is" in repr(found)
    with pytest.raises(ValueError, match="no column 'Knd'"):
        alternatives(learn, row, columns=["Knd"])


def test_any_loader_gives_its_rows(tmp_path) -> None:
    """Validation rows that come in batches of a plain loader are explained as those of a table in memory."""
    learn = known_learner(tmp_path)
    expected = learn.partial_dependence("Size").frame
    importance = learn.importance(n_repeats=2).frame
    rows = torch.utils.data.TensorDataset(*learn.data.valid_dl.tensors)
    learn.data.valid_dl = torch.utils.data.DataLoader(rows, batch_size=64)
    pd.testing.assert_frame_equal(learn.partial_dependence("Size").frame, expected)
    pd.testing.assert_frame_equal(learn.importance(n_repeats=2).frame, importance)


def test_values_of_numbers_come_back_as_the_user_knows_them() -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {
            "distance": rng.choice([40.0, 260.0, 75_860.0], 90),
            "price": rng.normal(10, 2, 90).round(2),
            "year": rng.choice([2013, 2014], 90),
            "constant": 3.7,
            "flag": rng.integers(0, 2, 90),
        }
    )
    processor = TableProcessor([], list(df), scale=True).fit(df)
    _, numbers = processor.transform_arrays(df)
    for name in df:
        assert raw_numbers(processor, name, numbers).tolist() == pytest.approx(df[name].tolist(), rel=1e-15)
    assert raw_numbers(processor, "price", numbers).tolist() == df["price"].tolist()
    assert not np.signbit(raw_numbers(processor, "flag", numbers)).any()


def test_values_that_were_never_seen_are_told(tmp_path, caplog) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    calls = (
        lambda: learn.what_if(row, "Kind", ["a", "new"]),
        lambda: learn.partial_dependence("Kind", values=["new", "b"]),
    )
    for call in calls:
        caplog.clear()
        call()
        assert "'Kind': 1 ('new')" in caplog.text
    learn.data.processor.unknown = "error"
    for call in calls:
        with pytest.raises(ValueError, match=r"'Kind': 1 \('new'\)"):
            call()


def test_one_column_and_rows_that_nothing_moves(tmp_path) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    still = learn.alternatives(row, columns="Idle")
    assert still.frame.index.tolist() == ["Idle"]
    assert still.frame["swing"].item() == 0
    still.plot().get_figure().canvas.draw()


@pytest.mark.parametrize("scale", [True, False])
def test_tiny_and_huge_numbers_keep_their_values(scale) -> None:
    df = pd.DataFrame({"dose": [1e-9, 2e-9, 3e-9] * 10, "people": [1_200_000_000.0, 8e9, 0.1] * 10})
    processor = TableProcessor([], list(df), scale=scale).fit(df)
    _, numbers = processor.transform_arrays(df)
    assert raw_numbers(processor, "dose", numbers)[:3].tolist() == pytest.approx([1e-9, 2e-9, 3e-9], rel=1e-9)
    if not scale:
        assert raw_numbers(processor, "people", numbers)[:3].tolist() == [1_200_000_000.0, 8e9, 0.1]


def test_values_of_tiny_numbers_are_told_apart(tmp_path) -> None:
    df = pd.DataFrame({"dose": np.repeat([1e-9, 2e-9, 3e-9], 20), "y": 1.0 * np.arange(60)})
    md = ColumnarModelData.from_data_frame(tmp_path, range(0, 60, 2), df, "y", [], 10)
    learn = md.get_learner(szs=[4], progress=False, device="cpu")
    assert learn.partial_dependence("dose").frame.index.tolist() == pytest.approx([1e-9, 2e-9, 3e-9])
    assert learn.alternatives({"dose": 1e-9}).frame["highest_at"].item() in df["dose"].tolist()


def test_levels_are_named_as_they_are_and_long_ones_have_room(tmp_path) -> None:
    """A year or a number of a shop is no amount: no thousand separators."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"Year": rng.choice([2013, 2014], 200), "Months": rng.choice(["none", "M" * 14], 200)})
    df["Area"] = rng.choice([1500.0, 2500.0], 200)
    df["Sales"] = 1000 + 500 * (df["Year"] - 2013) - 700 * (df["Months"] != "none") + df["Area"]
    md = ColumnarModelData.from_data_frame(tmp_path, range(150, 200), df, "Sales", ["Year", "Months"], 50)
    learn = md.get_learner(szs=[8], progress=False, device="cpu", seed=0)
    learn.fit_one_cycle(3, 0.05)
    axes = learn.alternatives({"Year": 2013.0, "Months": "none", "Area": 1500.0}).plot()
    axes.get_figure().canvas.draw()
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert {"Year = 2013", "Months = none", "Area = 1,500"} == set(ticks)
    told = [text.get_text() for text in axes.texts]
    assert "2014" in told
    inside = axes.get_window_extent()
    for text in axes.texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1


def test_no_tick_stands_beside_the_bars(tmp_path) -> None:
    """Such as a probability below 0, in the room that was made for the bars."""
    learn = classifier(tmp_path)
    axes = learn.partial_dependence("Size", output="large").plot()
    assert min(axes.get_yticks()) >= -0.06


def test_no_line_joins_categories(tmp_path) -> None:
    """Between two shops there is nothing; months may be joined."""
    found = known_learner(tmp_path).partial_dependence("Kind")
    axes = found.plot()
    assert {line.get_linestyle() for line in axes.get_lines()} == {"None"}
    (bars,) = axes.collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert np.allclose(ends, found.frame[["low", "high"]])
    assert "80% of the rows" in [text.get_text() for text in axes.get_legend().get_texts()]
    joined = found.plot(connect=True)
    assert "-" in {line.get_linestyle() for line in joined.get_lines()}
    joined.get_figure().canvas.draw()


def test_one_row_is_called_so(tmp_path) -> None:
    found = known_learner(tmp_path).partial_dependence("Size", known_frame()[1:2], values=[1, 2])
    assert found.plot().get_title().endswith("(1 row)")
    assert repr(found).startswith("Sales by Size, over 1 row\n")


def test_whole_numbers_stay_whole_beside_none(tmp_path) -> None:
    learn = known_learner(tmp_path)
    row = known_frame().iloc[1].to_dict()
    found = learn.what_if(row, {"Size": [8, None], "Noise": [1, 2]})
    assert found["Size"].tolist() == [8, 8, None, None]
    assert all(isinstance(value, int) for value in found["Size"][:2])
    assert found["Noise"].dtype == "int64"
    assert learn.what_if(row, "Size", [8.0, np.nan])["Size"].dtype == "float64"


@pytest.mark.parametrize("as_frame", [True, False])
def test_targets_go_by_their_names(tmp_path, as_frame) -> None:
    df = known_frame().assign(Customers=lambda df: -df["Sales"])
    target = df[["Sales", "Customers"]] if as_frame else ["Sales", "Customers"]
    md = ColumnarModelData.from_data_frame(
        tmp_path,
        range(400, 600),
        df,
        target,
        ["Kind"],
        64,
        cont_flds=["Size"],
        target_transform="standardize",
    )
    learn = md.get_learner(szs=[8], progress=False, device="cpu")
    learn.export(tmp_path / "both.zip")
    for one in (learn, load_learner(tmp_path / "both.zip", device="cpu")):
        named = one.partial_dependence("Kind", df[400:], output="Customers")
        assert named.answer == "Customers"
        assert named.plot().get_ylabel() == "Customers"
        pd.testing.assert_frame_equal(named.frame, one.partial_dependence("Kind", df[400:], output=1).frame)
        assert one.partial_dependence("Kind", df[400:], output=1, unit="people").answer == "people"
        with pytest.raises(
            ValueError, match=r"output 'Customer' \(did you mean 'Customers'\?\); there are 'Sales'"
        ):
            one.partial_dependence("Kind", df[400:], output="Customer")
        with pytest.raises(ValueError, match="the model predicts 2 targets: say which with output='Sales', "):
            one.partial_dependence("Kind", df[400:])
        swapped = one.residuals(df[400:], ["Customers", "Sales"], "Date", output="Customers")
        assert swapped.answer == "Customers"
        assert (swapped.frame["actual"] < 0).all()


def test_one_target_goes_by_its_name(tmp_path) -> None:
    learn = known_learner(tmp_path)
    assert learn.partial_dependence("Kind").answer == "Sales"
    assert learn.alternatives(known_frame().iloc[1].to_dict(), output="Sales").answer == "Sales"


def test_targets_without_names_go_by_numbers(tmp_path) -> None:
    df = known_frame()
    md = ColumnarModelData.from_data_frame(
        tmp_path, None, df, np.stack([df["Sales"], -df["Sales"]], 1), ["Kind"], 64, cont_flds=["Size"]
    )
    assert md.target.names is None
    assert (
        md.get_learner(szs=[], device="cpu").partial_dependence("Kind", df, output=1).answer == "prediction 1"
    )


def test_names_of_targets_in_other_data(tmp_path) -> None:
    """Streamed tables know them; archives of before they were kept do not."""
    df = known_frame().assign(Customers=lambda df: -df["Sales"])
    df.to_parquet(tmp_path / "table.parquet")
    md = ColumnarModelData.from_parquet(
        tmp_path, None, tmp_path / "table.parquet", ["Sales", "Customers"], ["Kind"], cont_flds=["Size"]
    )
    learn = md.get_learner(szs=[4], progress=False, device="cpu")
    assert learn.partial_dependence("Kind", df, output="Customers").answer == "Customers"
    tables, _ = md.export_state()
    del tables["target"]["names"]
    assert ColumnarModelData.from_state(tables, {}).target.names is None


def test_values_of_any_kind_of_sequence(tmp_path) -> None:
    learn = known_learner(tmp_path)
    for column, values in (("Kind", ["b", "a"]), ("Size", [1.0, 2.0])):
        expected = learn.partial_dependence(column, values=values).frame
        for given in (np.array(values), pd.Series(values), pd.Index(values), tuple(values), iter(values)):
            pd.testing.assert_frame_equal(learn.partial_dependence(column, values=given).frame, expected)

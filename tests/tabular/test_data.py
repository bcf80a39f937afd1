"""ColumnarModelData: what reaches the model, and clear errors for what must not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.seeds import check_seed_of_first_weights
from zoo_tabular import ColumnarModelData, TimeLeakWarning, group_split, last_days_split, proc_df, train_cats
from zoo_tabular.model.category_dropout import CategoryDropout


def table(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "Store": rng.integers(1, 8, n),
            "Kind": rng.choice(["a", "b", "c"], n),
            "Distance": rng.normal(size=n).round(3),
            "Promo": rng.random(n) < 0.5,
            "Sales": rng.random(n) + 1,
        },
        index=np.zeros(n, dtype=int),
    )


def test_batches_hold_codes_numbers_and_targets() -> None:
    df = table()
    before = df.copy()
    md = ColumnarModelData.from_data_frame(
        ".", [0, 5], df, "Sales", ["Store", "Kind"], 64, test_df=df.drop(columns="Sales")
    )
    pd.testing.assert_frame_equal(df, before)
    codes, numbers, target = next(iter(md.train_dl))
    assert (codes.dtype, numbers.dtype, target.dtype) == (torch.int8, torch.float32, torch.float32)
    assert (codes.shape, numbers.shape, target.shape) == ((64, 2), (64, 2), (64, 1))
    valid = next(iter(md.valid_dl))
    assert valid[2][:, 0].tolist() == df["Sales"].iloc[[0, 5]].astype("float32").tolist()
    assert md.test_dl.n_rows == 200
    assert md.processor.feature_names_in_ == ["Store", "Kind", "Distance", "Promo"]


def test_levels_are_learned_from_training_rows_alone() -> None:
    df = table()
    df.iloc[3, 1] = "only here"
    md = ColumnarModelData.from_data_frame(".", [3], df, "Sales", ["Kind"], cont_flds=["Distance"])
    assert md.processor.categories_[0].levels == ["a", "b", "c"]
    assert next(iter(md.valid_dl))[0].tolist() == [[md.processor.categories_[0].unknown_code]]


def test_raw_and_processed_frames_give_the_same_batches() -> None:
    df = table().reset_index(drop=True)
    frame, y, _ = proc_df(train_cats(df), "Sales")
    raw = ColumnarModelData.from_data_frame(".", [1], df, "Sales", ["Store", "Kind"], 500, shuffle=False)
    done = ColumnarModelData.from_data_frame(
        ".", [1], frame, y, ["Store", "Kind"], 500, shuffle=False, cont_flds=["Distance", "Promo"]
    )
    for ours, theirs in zip(next(iter(raw.train_dl)), next(iter(done.train_dl)), strict=True):
        assert torch.equal(ours, theirs)


def test_targets_of_every_kind() -> None:
    df = table()
    both = df.assign(More=df["Sales"] * 2)
    two = ColumnarModelData.from_data_frame(".", [1], both, ["Sales", "More"], ["Kind"],
                                            cont_flds=["Distance"])  # fmt: skip
    assert (two.n_out, two.task) == (2, "regression")
    whole = ColumnarModelData.from_data_frame(".", [1], df, np.arange(200), ["Kind"], cont_flds=["Distance"])
    assert next(iter(whole.train_dl))[2].dtype == torch.float32
    classes = ColumnarModelData.from_data_frame(
        ".", [1], df, "Kind", ["Store"], cont_flds=["Distance"], is_reg=False
    )
    assert (classes.n_out, classes.classes, classes.task) == (3, ["a", "b", "c"], "classification")
    assert next(iter(classes.train_dl))[2].dtype == torch.int64
    labels = pd.DataFrame({"big": df["Sales"] > 1.5, "near": df["Distance"] < 0})
    multi = ColumnarModelData.from_data_frame(
        ".", [1], df.drop(columns="Sales"), labels, ["Kind", "Store"], is_multi=True
    )
    assert (multi.n_out, multi.classes, multi.task) == (2, ["big", "near"], "multilabel")


def test_arrays_with_only_numbers_or_only_categories() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(50)
    numbers = ColumnarModelData.from_arrays(
        ".", [0], rng.random((50, 3)), y, bs=16, test_xs=rng.random((5, 3))
    )
    assert [tuple(part.shape) for part in next(iter(numbers.train_dl))] == [(16, 0), (16, 3), (16, 1)]
    assert numbers.test_dl.n_rows == 5
    categories = ColumnarModelData.from_arrays(".", [0], None, y, cats=rng.integers(0, 4, (50, 2)))
    assert categories.processor.feature_names_in_ == ["c0", "c1"]


def test_two_frames() -> None:
    df = table()
    md = ColumnarModelData.from_data_frames(".", df[:150], df[150:], "Sales", "Sales", ["Store", "Kind"])
    assert (md.train_dl.n_rows, md.valid_dl.n_rows) == (150, 50)
    assert md.processor.feature_names_in_ == ["Store", "Kind", "Distance", "Promo"]


def test_target_transforms_are_undone() -> None:
    df = table()
    for name in ("log", "log1p", "standardize"):
        md = ColumnarModelData.from_data_frame(
            ".", [0, 1], df, "Sales", ["Kind"], cont_flds=["Distance"], target_transform=name
        )
        scaled = next(iter(md.valid_dl))[2].numpy()
        assert np.allclose(md.invert_target(scaled), df["Sales"].iloc[:2], rtol=1e-6)
        assert not np.allclose(scaled[:, 0], df["Sales"].iloc[:2])


def test_category_dropout_uses_the_codes_that_training_rows_lack() -> None:
    df = table()
    df.loc[df["Kind"] == "a", "Kind"] = None
    md = ColumnarModelData.from_data_frame(".", [0], df, "Sales", ["Store", "Kind"], cont_flds=["Distance"])
    transform = CategoryDropout(0.4, md.processor)
    codes = torch.ones(20_000, 2, dtype=torch.int8)
    batch = (codes, "numbers", "target")
    assert transform(batch, False, torch.Generator()) is batch
    changed, *rest = transform(batch, True, torch.Generator().manual_seed(0))
    assert rest == ["numbers", "target"]
    assert changed.dtype == torch.int8
    for column, described in enumerate(md.processor.categories_):
        share = {
            code: (changed[:, column] == code).float().mean().item() for code in (0, described.unknown_code)
        }
        if described.missing_seen:
            assert share[0] == 0
            assert abs(share[described.unknown_code] - 0.2) < 0.015
        else:
            assert abs(share[0] - 0.1) < 0.015
            assert abs(share[described.unknown_code] - 0.1) < 0.015
    assert codes.eq(1).all()
    assert ((changed != 1).sum(1) <= 1).all()


def test_a_lone_last_row_is_not_trained_on() -> None:
    md = ColumnarModelData.from_data_frame(".", None, table(129), "Sales", ["Store", "Kind"], 64)
    assert [len(batch[0]) for batch in md.train_dl] == [64, 64]


def test_embedding_sizes_are_checked() -> None:
    md = ColumnarModelData.from_data_frame(".", [0], table(), "Sales", ["Store", "Kind"])
    assert md.embedding_sizes() == [(10, 4), (6, 2)]
    learn = md.get_learner([(8, 6), (20, 3)], 2, device="cpu")
    assert learn.model.embeddings.sizes == [(10, 6), (20, 3)]
    with pytest.raises(ValueError, match=r"emb_szs: 1 pairs for 2 category columns \(Store, Kind\)"):
        md.get_learner([(8, 6)])
    with pytest.raises(ValueError, match="emb_szs: 2 levels for 'Store', which has 7"):
        md.get_learner([(2, 6), (4, 2)])
    with pytest.raises(ValueError, match="n_cont=5, but the data have 2 number columns"):
        md.get_learner(None, 5)
    with pytest.raises(ValueError, match="out_sz=3, but the target needs 1"):
        md.get_learner(out_sz=3)


def test_bad_input_gives_one_clear_line() -> None:
    df = table()

    def make(frame=df, y="Sales", cats=("Store", "Kind"), val=(0,), **options):
        return ColumnarModelData.from_data_frame(".", val, frame, y, list(cats), **options)

    cases = [
        (lambda: make(y="Sale"), r"no column 'Sale' \(did you mean 'Sales'\?\)"),
        (lambda: make(cats=["Stor"]), r"no column 'Stor' \(did you mean 'Store'\?\)"),
        (lambda: make(cats=["Store"]), "column 'Kind' is .* and not among cat_flds"),
        (lambda: make(df.assign(Sales=[None, *[1.0] * 199])), "target 'Sales' is missing in 1 of 200 rows"),
        (lambda: make(y=np.ones(3)), "the target has 3 rows, the data frame has 200"),
        (lambda: make(y=df["Sales"].to_numpy()), "number column 'Sales' equals the target"),
        (lambda: make(cont_flds=["Sales"]), "'Sales' is the target and cannot be a feature"),
        (lambda: make(df.iloc[:0]), "the data frame has no rows"),
        (lambda: make(val=[200]), r"row numbers must lie in 0\.\.199"),
        (lambda: make(val=[1, 1]), "a row number is repeated"),
        (lambda: make(val=[0.5]), "expected row numbers"),
        (lambda: make(val=range(199)), "1 of 200 rows are left to train on"),
        (
            lambda: make(df.assign(Sales=0.0), target_transform="log"),
            "targets must be above 0, 200 of 200 are not",
        ),
        (lambda: make(target_transform="exp"), "target_transform must be one of"),
        (lambda: make(df.assign(Sales="x")), "pass is_reg=False"),
        (lambda: make(df.assign(Sales="x"), is_reg=False), "only one class"),
        (
            lambda: make(df.assign(Sales=["v", *"ab" * 99, "a"]), is_reg=False),
            "class 'v' occurs only in validation rows",
        ),
        (lambda: make(df.assign(Day=pd.Timestamp("2015-01-01"))), "use add_datepart for dates"),
        (lambda: make(cats=["Store", "Kind", "Kind"]), "named more than once: Kind"),
        (lambda: make(cat_dropout=1.5), "cat_dropout is a share of rows"),
        (lambda: make(bs=0), "bs is the number of rows per batch and must be at least 1, got 0"),
        (lambda: make(bs=2.5), "bs is the number of rows per batch and must be at least 1, got 2.5"),
        (lambda: make(bs=1).get_learner(), "bs=1: batch norm cannot learn from a single row"),
        (
            lambda: make(df.assign(p="a", q="b"), y=["p", "q"], is_multi=True),
            "multi-label targets must be 0 or 1 in every column, got 'a'",
        ),
        (lambda: make(df.set_axis(range(5), axis=1)), "column names must be text, got 0, 1, 2 and 2 more"),
    ]
    for action, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            action()
        assert "\n" not in str(caught.value)


def test_splits() -> None:
    df = pd.DataFrame({"Date": pd.date_range("2015-01-01", periods=60).repeat(2), "Store": [1, 2] * 60})
    rows = last_days_split(df, "Date", 14)
    assert rows.tolist() == list(range(92, 120))
    assert set(df["Store"].iloc[group_split(df, "Store", 0.5)]) in ({1}, {2})
    with pytest.raises(ValueError, match="none is left to train on"):
        last_days_split(df, "Date", 60)
    with pytest.raises(ValueError, match="only one group"):
        group_split(df.assign(Store=1), "Store")


def test_random_split_over_time_warns() -> None:
    df = pd.DataFrame(
        {"Date": pd.date_range("2015-01-01", periods=60).repeat(2), "x": range(120), "y": range(1, 121)}
    )
    random = np.random.default_rng(0).permutation(120)[:24]
    with pytest.warns(TimeLeakWarning, match="column 'Date'") as told:
        ColumnarModelData.from_data_frame(".", random, df, "y", [], cont_flds=["x"])
    assert told[0].filename == __file__
    for block in (last_days_split(df, "Date", 14), np.arange(40, 60)):
        ColumnarModelData.from_data_frame(".", block, df, "y", [], cont_flds=["x"])


def test_a_series_with_the_same_labels_in_another_order_is_refused() -> None:
    df = table(20).set_axis(np.arange(20)[::-1], axis=0)
    sales = df["Sales"].sort_index()
    features = df.drop(columns="Sales")
    with pytest.raises(ValueError, match=r"other order.*y\.loc\[df\.index\].*array"):
        ColumnarModelData.from_data_frame(".", [1], features, sales, ["Store", "Kind"])
    with pytest.raises(ValueError, match=r"other order"):
        ColumnarModelData.from_data_frame(".", [1], features, sales.to_frame(), ["Store", "Kind"])
    with pytest.raises(ValueError, match=r"other order"):
        ColumnarModelData.from_data_frames(".", features, features, df["Sales"], sales, ["Store", "Kind"])
    same = sales.loc[features.index]
    numbered = same.reset_index(drop=True)[:10]  # other labels: row by row
    for rows, target in ((20, same), (20, same.to_numpy()), (10, numbered.set_axis(range(50, 60)))):
        md = ColumnarModelData.from_data_frame(
            ".", [1], features[:rows], target, ["Store", "Kind"], shuffle=False
        )
        assert md.valid_dl.tensors[-1][0, 0] == np.float32(df["Sales"].iloc[1])
    repeated = features.set_axis(["a", "b"] * 10, axis=0)
    md = ColumnarModelData.from_data_frame(
        ".", [1], repeated, same.set_axis(["b", "a"] * 10), ["Store", "Kind"]
    )
    assert md.valid_dl.tensors[-1][0, 0] == np.float32(df["Sales"].iloc[1])


def test_the_seed_of_a_learner_fixes_its_first_weights_and_no_other_draws() -> None:
    md = ColumnarModelData.from_data_frame(".", [0], table(), "Sales", ["Store", "Kind"])

    check_seed_of_first_weights(lambda seed: md.get_learner(szs=[8], seed=seed, progress=False).model)


def test_two_frames_of_the_same_days_warn() -> None:
    df = pd.DataFrame(
        {"Date": pd.date_range("2015-01-01", periods=60).repeat(2), "x": range(120), "y": range(1, 121)}
    )
    with pytest.warns(TimeLeakWarning, match="column 'Date'") as told:
        ColumnarModelData.from_data_frames(".", df[::2], df[1::2], "y", "y", [], cont_flds=["x"])
    assert told[0].filename == __file__
    ColumnarModelData.from_data_frames(".", df[:90], df[90:], "y", "y", [], cont_flds=["x"])
    ColumnarModelData.from_data_frames(
        ".", df[::2], df[1::2].drop(columns="Date"), "y", "y", [], cont_flds=["x"]
    )
    ColumnarModelData.from_data_frames(
        ".", df[::2], df[1::2].assign(Date="2015"), "y", "y", [], cont_flds=["x"]
    )


@pytest.mark.parametrize("unit", [1, 1000, 10**9])
def test_whole_numbers_named_timestamp_are_times(unit: int) -> None:
    seconds = 1_400_000_000 + 86_400 * np.arange(60).repeat(2)
    df = pd.DataFrame({"timestamp": seconds * unit, "x": range(120), "y": range(1, 121)})
    random = np.random.default_rng(0).permutation(120)[:24]
    with pytest.warns(TimeLeakWarning, match="column 'timestamp'"):
        ColumnarModelData.from_data_frame(".", random, df, "y", [], cont_flds=["x"])
    ColumnarModelData.from_data_frame(".", np.arange(90, 120), df, "y", [], cont_flds=["x"])
    counted = df.assign(timestamp=range(120))
    ColumnarModelData.from_data_frame(".", random, counted, "y", [], cont_flds=["x"])
    blank = df.assign(timestamp=pd.array([None] * 120, "Int64"))
    ColumnarModelData.from_data_frame(".", random, blank, "y", [], cont_flds=["x"])

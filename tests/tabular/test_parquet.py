"""Tables in Parquet files are streamed through the same fit as tables in memory."""

from __future__ import annotations

import gc
import importlib.util
import os
import pickle
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch

from examples.rossmann_features import CATEGORIES, NUMBERS, load_rossmann
from tests.core.distributed_runs import check_agreement
from tests.core.processes import equal
from zoo import Callback, TensorLoader, load_learner
from zoo.data.answers.prediction import Prediction
from zoo_tabular import ColumnarModelData, write_partitioned
from zoo_tabular.data.new_model import base_rates
from zoo_tabular.stream.arrow_codes import ArrowCoder
from zoo_tabular.stream.loader import ParquetLoader
from zoo_tabular.stream.read_ahead import read_ahead
from zoo_tabular.stream.row_groups import RowGroups

CATS, CONTS = ["Store", "Kind", "Day"], ["Distance", "Promo"]


def sales(n: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """Rows whose target depends on stores, kinds and distances; with gaps."""
    rng = np.random.default_rng(seed)
    store, kind = rng.integers(1, 60, n), rng.integers(0, 4, n)
    distance = rng.normal(10, 3, n)
    return pd.DataFrame(
        {
            "Year": np.repeat([2013, 2014, 2015], [n // 3, n // 3, n - 2 * (n // 3)]),
            "Store": store,
            "Kind": pd.Series(np.array(["a", "b", "c", None], dtype="object")[kind], dtype="object"),
            "Day": pd.Timestamp("2015-07-31") + pd.to_timedelta(rng.integers(0, 5, n), unit="D"),
            "Distance": np.where(rng.random(n) < 0.1, np.nan, distance),
            "Promo": rng.random(n) < 0.5,
            "Sales": np.exp(0.02 * store + 0.3 * kind - 0.05 * distance + 0.1 * rng.normal(size=n)),
            "Row": np.arange(n),
        }
    )


def write(df: pd.DataFrame, path: Path, rows: int = 170) -> Path:
    """A folder by year, each file with several row groups."""
    for year, part in df.groupby("Year"):
        folder = path / f"Year={year}"
        folder.mkdir(parents=True)
        table = pa.Table.from_pandas(part.drop(columns="Year"), preserve_index=False)
        pq.write_table(table, folder / "part-0.parquet", row_group_size=rows)
    return path


def data_of(folder: Path, valid: Any = None, **options: Any) -> ColumnarModelData:
    settings = {"bs": 64, "cont_flds": CONTS, "seed": 3, "buffer_rows": 500, **options}
    return ColumnarModelData.from_parquet(folder, valid, folder, "Sales", CATS, **settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(sales(), tmp_path / "sales")


def batches(loader: Any, epoch: int = 0, start: int = 0) -> list[tuple[torch.Tensor, ...]]:
    loader.set_epoch(epoch, start)
    return list(loader)


def same(one: list[tuple], other: list[tuple]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


# -- batches


def test_a_batch_holds_what_it_holds_in_memory_and_every_row_comes_once(folder: Path) -> None:
    md = data_of(folder)
    whole = sales()
    codes, numbers = md.processor.transform_arrays(whole)
    order = md.train_dl.order
    assert sorted(order.tolist()) == list(range(3_000))
    found = [torch.cat(parts) for parts in zip(*batches(md.train_dl), strict=True)]
    np.testing.assert_array_equal(found[0].numpy(), codes[order])
    np.testing.assert_array_equal(found[1].numpy(), numbers[order])
    np.testing.assert_array_equal(found[2].numpy()[:, 0], whole["Sales"].to_numpy("float32")[order])
    assert (found[0].dtype, found[1].dtype) == (torch.int8, torch.float32)


def test_batches_are_full_across_row_groups_and_pools(folder: Path) -> None:
    for bs in (1, 64, 700, 5_000):  # more than a pool, more than all rows
        loader = data_of(folder).train_dl.with_bs(bs)
        sizes = [len(batch[0]) for batch in batches(loader)]
        assert len(sizes) == len(loader) == -(-3_000 // bs)
        assert set(sizes[:-1]) <= {bs}
        assert sum(sizes) == loader.n_rows == 3_000


def test_no_batch_of_a_single_row_is_left_over(folder: Path) -> None:
    loader = data_of(folder, bs=2_999).train_dl
    assert len(loader) == len(batches(loader)) == 1
    assert len(loader.order) == 2_999
    assert [len(batch[0]) for batch in batches(loader.with_bs(1_499))] == [1_499, 1_499, 2]
    assert len(loader.with_bs(1_000)) == 3


def test_the_order_is_a_pure_function_of_seed_and_epoch(folder: Path) -> None:
    loader, again, other = (data_of(folder, seed=seed).train_dl for seed in (3, 3, 4))
    first = batches(loader, 5)
    torch.rand(7)
    np.random.rand(7)
    assert same(first, batches(again, 5))
    assert same(first, batches(loader, 5))
    assert not same(first, batches(loader, 6))
    assert not same(first, batches(other, 5))


def test_neighbours_are_torn_apart(tmp_path: Path) -> None:
    df = sales(4_000).assign(Year=2013)
    loader = data_of(write(df, tmp_path / "s", 100), buffer_rows=400).train_dl
    order = loader.order[:400].numpy()
    assert len(np.unique(order // 100)) >= 6  # a pool holds rows of six row groups of a hundred
    assert np.abs(np.diff(order)).min() >= 1
    assert (np.diff(order) == 1).mean() < 0.05
    loader.set_epoch(1)
    assert set(loader.order[:400].tolist()) != set(order.tolist())


@pytest.mark.parametrize(("groups", "buffer_rows"), [(1, 400), (3, 480), (10, 400), (12, 400)])
def test_a_few_row_groups_are_read_at_several_places_to_the_end(
    tmp_path: Path, groups: int, buffer_rows: int
) -> None:
    df = sales(4_800)
    df.to_parquet(tmp_path / "s.parquet", row_group_size=4_800 // groups)
    loader = ParquetLoader.with_bs(
        ColumnarModelData.from_parquet(
            tmp_path, None, tmp_path / "s.parquet", "Sales", CATS, cont_flds=CONTS, seed=3,
            buffer_rows=buffer_rows,
        ).train_dl,
        buffer_rows,
    )  # fmt: skip
    assert len(loader.groups.groups) == groups
    order = loader.order
    assert sorted(order.tolist()) == list(range(4_800))
    for rows in order.split(buffer_rows):  # each batch is a pool
        near = np.diff(np.sort(rows.numpy())) < 10
        assert len(rows) == buffer_rows
        assert np.count_nonzero(~near) >= 4, "distant places, some of which may be neighbours"
    found = torch.cat([batch[2] for batch in batches(loader)])[:, 0]
    np.testing.assert_array_equal(found.numpy(), df["Sales"].to_numpy("float32")[order])
    assert same(batches(loader, 0, 3), batches(loader)[3:])


def test_pools_are_full_when_few_row_groups_are_left(tmp_path: Path) -> None:
    sizes = [100] * 16 + [1_000]
    parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    (tmp_path / "s").mkdir()
    for number, rows in enumerate(parts):
        pq.write_table(pa.table({"x": rows, "Sales": rows * 0.5}), tmp_path / "s" / f"{number:02}.parquet")
    loader = ColumnarModelData.from_parquet(
        tmp_path, None, tmp_path / "s", "Sales", [], seed=1, buffer_rows=160
    ).train_dl
    pools = [len(pool[0]) for pool in loader._filled_pools()]
    assert sum(pools) == 2_600
    assert max(pools) == 160
    assert len(pools) <= 20, "the long row group fills pools alone in the end"


@pytest.mark.parametrize("start", [0, 1, 7, 8, 30, 46, 47])
def test_a_pass_goes_on_at_any_batch(folder: Path, start: int) -> None:
    loader = data_of(folder).train_dl
    assert same(batches(loader, 2, start), batches(loader, 2)[start:])


def test_row_groups_that_are_passed_over_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = data_of(folder).train_dl
    read: list[str] = []
    original = type(loader.groups).read

    def spy(self: Any, group: Any, *args: Any, **options: Any) -> Any:
        read.append(group.name)
        return original(self, group, *args, **options)

    monkeypatch.setattr(type(loader.groups), "read", spy)
    batches(loader)
    everything = len(read)
    read.clear()
    batches(loader, 0, len(loader) - 3)
    assert 0 < len(read) < everything / 2
    assert len(read) == len(set(read))


@pytest.fixture(params=[True, False], ids=["beside", "between"])
def a_core_is_free(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether torch leaves a core to the thread that reads."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 0 if request.param else 1_000)
    return request.param


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zoo-read-ahead"]


def test_a_thread_reads_only_where_a_core_is_free(
    folder: Path, a_core_is_free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = data_of(folder, buffer_rows=300).train_dl
    batches = iter(loader)
    found = [next(batches)]
    assert bool(readers()) == a_core_is_free
    found += batches
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1_000 if a_core_is_free else 0)
    equal(found, list(loader), 0)


def test_memory_is_bounded_by_the_buffer(
    folder: Path, a_core_is_free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = data_of(folder, buffer_rows=300).train_dl
    sizes: list[int] = []
    made: list[int] = []
    original = ParquetLoader._filled_pools

    def spy(self: ParquetLoader) -> Any:
        for pool in original(self):
            sizes.append(len(pool[0]))
            made.append(sum(sizes))
            yield pool

    monkeypatch.setattr(ParquetLoader, "_filled_pools", spy)
    used = 0
    for batch in loader:
        used += len(batch[0])
        # in use, waiting, being made; or all of them used up before the next one is made
        assert made[-1] - used <= (3 * 300 if a_core_is_free else 300) + 64
    assert max(sizes) <= 300
    assert used == 3_000


def test_a_pass_that_is_left_early_ends_its_thread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 0)
    loader = data_of(folder).train_dl
    for number, _ in enumerate(loader):
        if number == 2:
            break
    next(iter(loader))
    assert not readers()


def test_errors_of_the_thread_are_raised_where_batches_are_used() -> None:
    def fails() -> Any:
        yield 1
        raise OSError("the disk is gone")

    found = read_ahead(fails())
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_a_pass_that_its_own_thread_collects_does_no_harm() -> None:
    go, done = threading.Event(), threading.Event()

    def items() -> Any:
        yield 1
        go.wait(10)
        gc.collect()
        done.set()
        yield 2

    gc.collect()
    gc.disable()
    try:
        pass_ = read_ahead(items())
        next(pass_)
        knot = [pass_]
        knot.append(knot)  # a cycle, such as a traceback makes
        del pass_, knot
        go.set()
        assert done.wait(10)
    finally:
        gc.enable()


# -- what is learned, and validation


@pytest.mark.filterwarnings("ignore::zoo_tabular.frames.splits.TimeLeakWarning")
def test_the_processor_is_that_of_the_training_rows_in_memory(folder: Path) -> None:
    df = sales()
    md = data_of(folder, ds.field("Year") == 2015, min_count=40, max_levels=20)
    memory = ColumnarModelData.from_data_frame(
        folder, np.flatnonzero(df["Year"] == 2015), df, "Sales", CATS, 64, cont_flds=CONTS,
        min_count=40, max_levels=20,
    )  # fmt: skip
    assert md.processor.categories_ == memory.processor.categories_
    for one, other in zip(md.processor.numbers_, memory.processor.numbers_, strict=True):
        assert one.median == other.median
        assert (one.mean, one.std) == pytest.approx((other.mean, other.std), rel=1e-12)
    assert repr(md) == repr(memory) == "ColumnarModelData(train 2,000, valid 1,000)"
    np.testing.assert_allclose(base_rates(md), base_rates(memory), rtol=1e-6)


@pytest.mark.parametrize("valid", ["partition", "column", "rows with gaps", "path"])
@pytest.mark.parametrize("buffer_rows", [100, 5_000])
def test_validation_rows_by_filter_or_path_in_memory_or_streamed(
    folder: Path, tmp_path: Path, valid: str, buffer_rows: int
) -> None:
    df = sales()
    held = {
        "partition": df["Year"] == 2014,
        "column": df["Row"] % 3 == 0,
        "rows with gaps": df["Distance"] > 11,
        "path": df["Row"] < 0,
    }[valid].to_numpy()
    other = sales(700, seed=1)
    chosen = {
        "partition": ds.field("Year") == 2014,
        "column": ds.field("Row") - ds.field("Row") / 3 * 3 == 0,
        "rows with gaps": ds.field("Distance") > 11,
        "path": write(other, tmp_path / "other") if valid == "path" else None,
    }[valid]
    md = data_of(folder, chosen, buffer_rows=buffer_rows)
    assert isinstance(md.valid_dl, ParquetLoader if buffer_rows == 100 else TensorLoader)
    rows = other if valid == "path" else df[held]
    assert (md.train_dl.n_rows, md.valid_dl.n_rows) == (3_000 - held.sum(), len(rows))
    codes, numbers = md.processor.transform_arrays(rows)
    found = [torch.cat(parts) for parts in zip(*md.valid_dl, strict=True)]
    np.testing.assert_array_equal(found[0].numpy(), codes)
    np.testing.assert_array_equal(found[1].numpy(), numbers)
    trained = torch.cat([batch[2] for batch in md.train_dl])
    assert trained.double().sum() == pytest.approx(df.loc[~held, "Sales"].sum(), rel=1e-6)


def test_a_learner_trains_evaluates_predicts_and_is_loaded(folder: Path, tmp_path: Path) -> None:
    df = sales()
    held = df[df["Year"] == 2015]
    scores = {}
    for buffer_rows in (200, 10_000):  # validation rows streamed, or in memory
        md = data_of(folder, ds.field("Year") == 2015, buffer_rows=buffer_rows, target_transform="log")
        learn = md.get_learner(seed=0, progress=False, device="cpu")
        learn.fit(1e-2, 3)
        predicted, truth = learn.predict_with_targs()
        np.testing.assert_allclose(truth, held["Sales"], rtol=1e-5)
        error = np.log(predicted / truth)
        scores[buffer_rows] = np.sqrt((error**2).mean())
        assert learn.evaluate()["exp_rmspe"] == pytest.approx(learn.history[-1]["exp_rmspe"])
        raw = held.drop(columns=["Sales", "Year"])
        np.testing.assert_allclose(learn.predict_batch(raw), predicted, rtol=1e-4)
        loaded = load_learner(learn.export(tmp_path / f"{buffer_rows}.zip"))
        np.testing.assert_allclose(loaded.predict_batch(raw), predicted, rtol=1e-4)
        assert loaded.predict_one(raw.iloc[0].to_dict()) == pytest.approx(float(predicted[0]), rel=1e-4)
    assert max(scores.values()) < 0.2 < held["Sales"].pipe(np.log).std()


def test_store_sales_are_learned_as_well_as_in_memory(data_dir: Any, tmp_path: Path) -> None:
    df, _ = load_rossmann(data_dir("rossmann"), 20_000)
    df = df[[*CATEGORIES, *NUMBERS, "Sales", "Date"]]
    folder = write_partitioned(df, tmp_path / "sales", ["Year"])
    last = pd.Timestamp("2015-07-18")
    options: dict[str, Any] = {"cont_flds": NUMBERS, "target_transform": "log", "seed": 0}
    streamed = ColumnarModelData.from_parquet(
        tmp_path, ds.field("Date") >= last, folder, "Sales", CATEGORIES, 256, buffer_rows=8_192, **options
    )
    held = np.flatnonzero(df["Date"] >= last)
    memory = ColumnarModelData.from_data_frame(
        tmp_path, held, df.drop(columns="Date"), "Sales", CATEGORIES, 256, **options
    )
    assert repr(streamed) == repr(memory)
    scores = []
    for md in (streamed, memory):
        torch.manual_seed(0)  # the same weights to begin with
        learn = md.get_learner(seed=0, progress=False, device="cpu")
        learn.fit(2e-3, 1, cycle_len=3)
        scores.append(learn.history[-1]["exp_rmspe"])
    assert max(scores) < 0.2
    assert scores[0] == pytest.approx(scores[1], rel=0.25)


@pytest.mark.filterwarnings("ignore::zoo_tabular.frames.splits.TimeLeakWarning")
def test_classes_labels_and_several_targets(tmp_path: Path) -> None:
    df = sales()
    df["Good"] = np.where(df["Sales"] > df["Sales"].median(), "yes", "no")
    df["Promo"] = df["Promo"].astype("int64")
    df["Late"] = (df["Year"] == 2015).astype("int64")
    folder = write(df, tmp_path / "s")
    options: dict[str, Any] = {"bs": 128, "cont_flds": ["Distance"], "seed": 0}
    valid = ds.field("Row") < 500

    md = ColumnarModelData.from_parquet(folder, valid, folder, "Good", CATS, is_reg=False, **options)
    frame = ColumnarModelData.from_data_frame(folder, range(500), df, "Good", CATS, is_reg=False, **options)
    assert (md.task, md.classes, md.n_out) == (frame.task, frame.classes, frame.n_out)
    np.testing.assert_allclose(base_rates(md), base_rates(frame))
    learn = md.get_learner(seed=0, progress=False, device="cpu")
    learn.fit(1e-2, 3)
    assert learn.history[-1]["accuracy"] > 0.8
    answer = learn.predict_one({"Store": 59, "Kind": None, "Day": "2015-07-31", "Distance": 1.0})
    assert isinstance(answer, Prediction)
    assert answer.label == "yes"

    md = ColumnarModelData.from_parquet(
        folder, valid, folder, ["Promo", "Late"], CATS, is_multi=True, **options
    )
    assert (md.task, md.classes, md.n_out) == ("multilabel", ["Promo", "Late"], 2)
    md.get_learner(seed=0, progress=False, device="cpu").fit(1e-2, 1)

    md = ColumnarModelData.from_parquet(
        folder, valid, folder, ["Sales", "Row"], CATS, target_transform="standardize", **options
    )
    frame = ColumnarModelData.from_data_frame(
        folder, range(500), df, ["Sales", "Row"], CATS, target_transform="standardize", **options
    )
    np.testing.assert_allclose(md.target.mean, frame.target.mean)
    np.testing.assert_allclose(md.target.std, frame.target.std)
    found = torch.cat([batch[2] for batch in md.valid_dl])
    np.testing.assert_allclose(found, frame.valid_dl.tensors[2], rtol=1e-5, atol=1e-5)


def test_one_file_only_categories_only_numbers(tmp_path: Path) -> None:
    file = tmp_path / "one.parquet"
    sales(500).drop(columns=["Kind", "Day"]).to_parquet(file)
    md = ColumnarModelData.from_parquet(tmp_path, None, file, "Sales", ["Store"], cont_flds=[])
    assert [tuple(part.shape) for part in next(iter(md.train_dl))] == [(64, 1), (64, 0), (64, 1)]
    md = ColumnarModelData.from_parquet(tmp_path, None, file, "Sales", [])  # all numbers
    assert md.processor.feature_names_in_ == ["Year", "Store", "Distance", "Promo", "Row"]
    md.get_learner(progress=False, device="cpu").fit(1e-3, 1)
    assert repr(md) == "ColumnarModelData(train 500)"


def test_unknown_values_of_validation_rows_are_told_of_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write(sales(400, 2).assign(Store=lambda df: df["Store"] + 30), tmp_path / "other")
    md = data_of(folder, other, buffer_rows=100)
    learn = md.get_learner(progress=False, device="cpu")
    learn.evaluate()
    learn.evaluate()
    told = [record.message for record in caplog.records if "not seen in training" in record.message]
    assert len(told) == 1
    unknown = md.processor.categories_[0].unknown_code
    n = sum(int((batch[0][:, 0] == unknown).sum()) for batch in md.valid_dl)
    assert f"'Store': {n} (" in told[0]
    md = data_of(folder, other, buffer_rows=100)
    md.processor.unknown = "error"
    with pytest.raises(ValueError, match="not seen in training"):
        md.get_learner(progress=False, device="cpu").evaluate()


def test_other_batch_sizes_are_found(folder: Path) -> None:
    learn = data_of(folder).get_learner(progress=False, device="cpu")
    found = learn.find_batch_size(64, 128, apply=True)
    assert learn.data.train_dl.bs == found.suggested
    assert isinstance(learn.data.train_dl, ParquetLoader)


# -- coding


@pytest.mark.parametrize("dictionary", [False, True])
def test_arrow_columns_get_the_codes_of_frames(dictionary: bool) -> None:
    from zoo_tabular import TableProcessor

    train = sales(400)
    train["Odd"] = pd.Series([1.5, 2.0, None, -7.0] * 100)
    train["Flag"] = pd.array([True, None, False, True] * 100, dtype="boolean")
    processor = TableProcessor([*CATS, "Odd", "Flag"], CONTS, min_count=5, scale=True).fit(train)
    frame = sales(900, seed=4)
    frame["Store"] = (frame["Store"] - 20).astype("Int64").mask(frame["Row"] % 9 == 0)
    frame["Odd"] = np.array([2.0, 99.0, np.nan, 1.5, -7.0, 2e300], dtype="float64")[frame["Row"] % 6]
    frame["Flag"] = pd.array([True, None, False] * 300, dtype="boolean")
    frame["Kind"] = frame["Kind"].replace("a", "zz")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if dictionary:
        place = table.schema.get_field_index("Kind")
        table = table.set_column(place, "Kind", table["Kind"].dictionary_encode())
    coder = ArrowCoder(processor)
    pieces = [coder(batch) for batch in table.to_batches(max_chunksize=130)]
    codes, numbers = processor.transform_arrays(frame)
    np.testing.assert_array_equal(np.concatenate([piece[0] for piece in pieces]), codes)
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), numbers)
    assert coder.unknown["Kind"] == {"zz": int((frame["Kind"] == "zz").sum())}
    assert sum(coder.unknown["Odd"].values()) == 300


# -- what goes wrong


def test_files_that_do_not_go_together_are_named(folder: Path, tmp_path: Path) -> None:
    def other(**columns: Any) -> Path:
        path = write(sales().assign(**columns), tmp_path / f"bad{len(list(tmp_path.iterdir()))}")
        return path

    def replace(path: Path, df: pd.DataFrame) -> Path:
        df.drop(columns="Year").to_parquet(path / "Year=2014" / "part-1.parquet")
        return path

    text = replace(other(), sales(9).assign(Store="7"))
    with pytest.raises(
        ValueError, match=r"'Store' is int64 in Year=2013/part-0.parquet and .*string.* in Year=2014/part-1"
    ):
        data_of(text)
    lacking = replace(other(), sales(9).drop(columns="Distance"))
    with pytest.raises(ValueError, match=r"'Distance' is in some files but not in Year=2014/part-1\.parquet"):
        data_of(lacking)
    wider = replace(other(), sales(9).assign(Store=lambda df: df["Store"].astype("float64")))
    md = data_of(wider)  # whole numbers with and without gaps are stored in different types
    assert md.train_dl.n_rows == 3_009
    assert md.processor.categories_[0].levels == sorted(sales()["Store"].unique().tolist())
    empty = replace(other(), sales(9).assign(Distance=None))
    assert data_of(empty).train_dl.n_rows == 3_009


def test_files_that_are_to_be_trained_and_validated_on_are_refused(folder: Path, tmp_path: Path) -> None:
    told = r"valid: Year=2015/part-0.parquet is among the files to train on: .*filter expression"
    with pytest.raises(ValueError, match=told):
        data_of(folder, folder / "Year=2015" / "part-0.parquet")
    with pytest.raises(ValueError, match=r"valid: 3 files, such as Year=2013/.*, are among the files"):
        data_of(folder, folder)
    link = tmp_path / "link"
    link.symlink_to(folder / "Year=2014")
    with pytest.raises(ValueError, match="among the files to train on"):
        data_of(folder, link)


def test_damaged_and_absent_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nothing"):
        ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "nothing", "Sales", CATS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no Parquet file in .*empty"):
        ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "empty", "Sales", CATS)
    file = folder / "Year=2014" / "part-0.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    with pytest.raises(ValueError, match=r"Year=2014/part-0\.parquet cannot be read"):
        data_of(folder)
    file.write_bytes(content[:200] + bytes(3_000) + content[3_200:])
    with pytest.raises(ValueError, match=r"Year=2014/part-0\.parquet, row group 0 cannot be read"):
        data_of(folder)
    file.write_bytes(content)
    first = folder / "Year=2013" / "part-0.parquet"
    first.write_bytes(b"not Parquet at all")
    with pytest.raises(ValueError, match=r"Year=2013/part-0\.parquet cannot be read"):
        data_of(folder)


def test_files_that_change_during_training_are_noticed(folder: Path) -> None:
    md = data_of(folder, ds.field("Row") < 10)
    file = folder / "Year=2014" / "part-0.parquet"
    changed = pd.read_parquet(file).assign(Row=0)
    pq.write_table(pa.Table.from_pandas(changed, preserve_index=False), file, row_group_size=170)
    with pytest.raises(ValueError, match=r"Year=2014/part-0\.parquet"):
        batches(md.train_dl)


@pytest.mark.parametrize("bigger", [False, True])
def test_files_with_as_many_rows_as_before_are_noticed_too(folder: Path, bigger: bool) -> None:
    md = data_of(folder)
    file = folder / "Year=2014" / "part-0.parquet"
    stamp = file.stat()
    changed = pd.read_parquet(file).assign(Sales=1.0 if bigger else 2.0)
    pq.write_table(pa.Table.from_pandas(changed, preserve_index=False), file, row_group_size=170)
    if bigger:  # the time alone may be kept by a copy
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(ValueError, match=r"Year=2014/part-0\.parquet, row group .* has changed"):
        batches(md.train_dl)


def test_streamed_loaders_can_be_pickled(folder: Path) -> None:
    md = data_of(folder, ds.field("Year") == 2015, buffer_rows=300)
    for loader in (md.train_dl, md.valid_dl):
        again = pickle.loads(pickle.dumps(loader))
        assert same(batches(again, 1), batches(loader, 1))


def test_a_filter_may_ask_for_columns_that_are_not_read(folder: Path, tmp_path: Path) -> None:
    for valid in (ds.field("Row") < 1_500, (ds.field("Row") < 1_500) & (ds.field("Year") > 2000)):
        md = ColumnarModelData.from_parquet(
            tmp_path, valid, folder, "Sales", ["Kind"], cont_flds=["Distance"], seed=0
        )
        assert (md.train_dl.n_rows, md.valid_dl.n_rows) == (1_500, 1_500)


def test_wrong_arguments_are_named(folder: Path, tmp_path: Path) -> None:
    def make(y: Any = "Sales", cats: Any = CATS, valid: Any = None, **options: Any) -> ColumnarModelData:
        return ColumnarModelData.from_parquet(
            folder, valid, folder, y, cats, **{"cont_flds": CONTS, **options}
        )

    with pytest.raises(ValueError, match=r"no column 'Stor' \(did you mean 'Store'\?\)"):
        make(cats=["Stor"])
    with pytest.raises(ValueError, match=r"no column 'Sale' \(did you mean 'Sales'\?\)"):
        make(y="Sale")
    with pytest.raises(ValueError, match="no column 'Dist'"):
        make(cont_flds=["Dist"])
    with pytest.raises(ValueError, match=r"'Kind' is .* not among cat_flds"):
        make(cats=["Store"], cont_flds=None)
    with pytest.raises(ValueError, match="'Sales' is the target"):
        make(cont_flds=["Sales"])
    with pytest.raises(ValueError, match=r"does not fit the columns .*Yeer"):
        make(valid=ds.field("Yeer") == 2015)
    with pytest.raises(ValueError, match="not true or false"):
        make(valid=ds.field("Year"))
    with pytest.raises(ValueError, match="holds for none of"):
        make(valid=ds.field("Year") == 1999)
    with pytest.raises(ValueError, match="0 of 3000 rows are left to train on"):
        make(valid=ds.field("Year") > 1999)
    with pytest.raises(TypeError, match="filter expression"):
        make(valid=[1, 2, 3])
    with pytest.raises(ValueError, match="bs is the number of rows per batch"):
        make(bs=0)
    with pytest.raises(ValueError, match="buffer_rows must be at least 1"):
        make(buffer_rows=0)
    with pytest.raises(ValueError, match="needs numbers to predict"):
        make(target_transform="log", is_reg=False)
    with pytest.raises(ValueError, match=r"'Kind' holds .*, not numbers"):
        make(y="Kind", cats=["Store"])
    with pytest.raises(ValueError, match="must be 0 or 1"):
        make(y=["Row"], is_multi=True)


def test_an_error_in_the_first_pass_leaves_no_thread(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0, np.inf], "Sales": [1.0, 2.0, 3.0]}), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match="infinite"):
        ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "s.parquet", "Sales", [])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("zoo-")]


def test_balanced_class_weights_of_streamed_classes(tmp_path: Path) -> None:
    from zoo_tabular import class_weights

    frame = pd.DataFrame({"x": np.arange(8.0), "kind": list("aaaaaabb")})
    frame.to_parquet(tmp_path / "s.parquet")
    md = ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "s.parquet", "kind", [], is_reg=False)
    memory = ColumnarModelData.from_data_frame(tmp_path, None, frame, "kind", [], is_reg=False)
    torch.testing.assert_close(class_weights(md), class_weights(memory))


def test_wrong_targets_are_told(tmp_path: Path) -> None:
    def make(df: pd.DataFrame, **options: Any) -> ColumnarModelData:
        path = write(df, tmp_path / str(len(list(tmp_path.iterdir()))))
        return ColumnarModelData.from_parquet(
            tmp_path,
            ds.field("Year") == 2015,
            path,
            "Sales",
            ["Store"],
            **{"cont_flds": ["Distance"], **options},
        )

    df = sales(600)
    gaps = df["Sales"].mask(df["Row"] % 100 == 0)
    with pytest.raises(ValueError, match="'Sales' is missing in 6 of 600 rows"):
        make(df.assign(Sales=gaps))
    with pytest.raises(ValueError, match="is missing in 6 of 600 rows"):
        make(df.assign(Sales=gaps.round()), is_reg=False)
    with pytest.raises(ValueError, match="targets must be above 0"):
        make(df.assign(Sales=df["Sales"].where(df["Row"] != 5, 0.0)), target_transform="log")
    with pytest.raises(ValueError, match="only one class"):
        make(df.assign(Sales="a"), is_reg=False)
    with pytest.raises(ValueError, match="'late' occurs only in validation rows"):
        make(
            df.assign(Sales=np.where(df["Year"] == 2015, "late", np.where(df["Row"] % 2, "a", "b"))),
            is_reg=False,
        )
    with pytest.raises(ValueError, match="'Distance' equals the target"):
        make(df.assign(Distance=df["Sales"]))


# -- going on, and several processes


class Crash(Callback):
    """Ends the process, as far as the fit is concerned, at one batch."""

    def __init__(self, at: int) -> None:
        self.left = at

    def after_batch(self, state: Any) -> None:
        if state.training:
            self.left -= 1
            if not self.left:
                raise RuntimeError("the machine goes away")


@pytest.mark.parametrize("at", [7, 70])
def test_a_fit_goes_on_inside_an_epoch_bit_for_bit(folder: Path, tmp_path: Path, at: int) -> None:
    def learner(name: str, seed: int | None) -> Any:
        md = ColumnarModelData.from_parquet(
            tmp_path / name, ds.field("Year") == 2015, folder, "Sales", CATS,
            bs=64, cont_flds=CONTS, seed=seed, buffer_rows=400,
        )  # fmt: skip
        torch.manual_seed(11)
        return md.get_learner(drops=0.1, progress=False, device="cpu")

    whole = learner("whole", 5)
    whole.fit(1e-2, 3)
    with pytest.raises(RuntimeError, match="goes away"):
        learner("killed", 5).fit(1e-2, 3, checkpoint_every=3, resume=True, callbacks=[Crash(at)])
    again = learner("killed", None)  # another order: that of the checkpoint counts
    torch.rand(at)
    again.fit(1e-2, 3, checkpoint_every=3, resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert [row["valid_loss"] for row in whole.history] == [row["valid_loss"] for row in again.history]


def test_two_processes_agree_and_give_what_one_gives(tmp_path: Path) -> None:
    check_agreement(tmp_path, "tabular.streamed")


# -- types


def every_type(n: int, seed: int) -> pa.Table:
    """One column of each type that Arrow has for categories; with gaps, and with values of their own."""
    rng = np.random.default_rng(seed)
    draw = rng.integers(0, 6 + 2 * seed, n)
    prices = [Decimal(text) for text in ("4.27", "8.11", "0.07", "2.51", "9.93", "0.25", "5.77", "1.10")]
    gaps = rng.random(n) < 0.1
    day = pd.Timestamp("2015-07-31") + pd.to_timedelta(draw, unit="D")
    text = pa.array([f"é {value}" for value in draw], mask=gaps)
    return pa.table(
        {
            "int8": pa.array(draw.astype("int8") - 3, mask=gaps),
            "int64": pa.array(draw * 2**40, mask=gaps),
            "uint64": pa.array(draw.astype("uint64") + np.uint64(2**63), mask=gaps),
            "float32": pa.array((draw / 2).astype("float32"), mask=gaps),
            "nan": pa.array(np.where(gaps, np.nan, draw)),
            "bool": pa.array(draw > 3, mask=gaps),
            "text": text,
            "large": text.cast(pa.large_string()),
            "view": text.cast(pa.string_view()),
            "bytes": text.cast(pa.binary()),
            "codes": text.dictionary_encode(),
            "numbers_coded": pa.array(draw, mask=gaps).dictionary_encode(),
            "date": pa.array(day.date, mask=gaps),
            "seconds": pa.array(day, mask=gaps).cast(pa.timestamp("s")),
            "zone": pa.array(day.tz_localize("Europe/Berlin"), mask=gaps),
            "duration": pa.array(pd.to_timedelta(draw, unit="h"), mask=gaps),
            "decimal": pa.array(
                [None if gap else prices[v] for v, gap in zip(draw, gaps, strict=True)], pa.decimal128(8, 2)
            ),
            "nothing": pa.nulls(n),
            "constant": pa.array(["x"] * n),
        }
    )


def test_categories_of_every_type_are_learned_and_coded_as_from_frames() -> None:
    from zoo_tabular import TableProcessor

    train, other = every_type(300, 0), every_type(400, 1)
    names = train.column_names
    processor = TableProcessor(names, [], min_count=3).fit(train)
    streamed = TableProcessor(names, [], min_count=3).fit_stream(train.to_batches(max_chunksize=70))
    assert streamed.categories_ == processor.categories_
    coder = ArrowCoder(processor)
    codes = np.concatenate([coder(batch)[0] for batch in other.to_batches(max_chunksize=90)])
    expected, _ = processor.transform_arrays(other)
    for place, name in enumerate(names):
        np.testing.assert_array_equal(codes[:, place], expected[:, place], err_msg=name)


def test_decimals_have_the_same_codes_from_files_and_from_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prices = [Decimal(int(cents)) / 100 for cents in rng.integers(0, 1000, 200)]
    table = pa.table({"price": pa.array(prices, pa.decimal128(8, 2)), "y": rng.normal(size=200)})
    pq.write_table(table, tmp_path / "a.parquet")
    md = ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "a.parquet", "y", ["price"])
    coder = ArrowCoder(md.processor)
    expected = np.concatenate([coder(batch)[0] for batch in table.to_batches()])
    assert not coder.unknown
    for rows in (table, table.to_pandas(), table.to_pandas().astype({"price": "float64"})):
        np.testing.assert_array_equal(md.processor.transform_arrays(rows)[0], expected)


@pytest.mark.parametrize("options", [{}, {"cont_flds": ["price", "flag"]}])
def test_decimals_and_flags_with_gaps_are_numbers_from_files_and_from_frames(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "price": pa.array([None, *(Decimal(k) / 100 for k in range(49))], pa.decimal128(8, 2)),
            "flag": pa.array([True, None] * 25),
            "cost": pa.array(
                [Decimal(int(cents)) / 100 for cents in rng.integers(0, 1000, 50)], pa.decimal128(8, 2)
            ),
        }
    )
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    md = ColumnarModelData.from_parquet(tmp_path, None, file, "cost", [], shuffle=False, **options)
    frame = table.to_pandas()
    assert frame.dtypes.eq(object).all()
    for rows in (table, frame):
        same_md = ColumnarModelData.from_data_frame(
            tmp_path, None, rows, "cost", [], shuffle=False, **options
        )
        assert same_md.processor.feature_names_in_ == md.processor.feature_names_in_ == ["price", "flag"]
        for batch, other in zip(same_md.train_dl, md.train_dl, strict=True):
            torch.testing.assert_close(batch, other)
    with pytest.raises(ValueError, match="'copy' equals the target"):
        ColumnarModelData.from_data_frame(tmp_path, None, frame.assign(copy=frame["cost"]), "cost", [])
    with pytest.raises(ValueError, match=r"the target holds \w+, not numbers"):
        ColumnarModelData.from_data_frame(tmp_path, None, frame.assign(cost=["a"] * 50), "cost", [])


def test_large_whole_numbers_with_gaps_keep_all_their_digits(tmp_path: Path) -> None:
    draw = np.random.default_rng(0).integers(0, 50, 4_000)
    gaps = np.arange(4_000) < 1_000  # in the first row groups alone
    columns = {"Id": pa.array(2**60 + draw, mask=gaps), "Sales": draw * 0.5}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet", row_group_size=200)
    md = ColumnarModelData.from_parquet(
        tmp_path, None, tmp_path / "s.parquet", "Sales", ["Id"], seed=0, cat_dropout=0.0
    )
    assert md.processor.categories_[0].levels == [2**60 + number for number in range(50)]
    codes = torch.cat([batch[0] for batch in md.train_dl])[:, 0].numpy()
    np.testing.assert_array_equal(codes, np.where(gaps, 0, draw + 1)[md.train_dl.order])
    classes = pa.array(2**60 + draw % 3)
    pq.write_table(pa.table({"x": draw * 1.0, "Kind": classes}), tmp_path / "c.parquet")
    kinds = ColumnarModelData.from_parquet(
        tmp_path, None, tmp_path / "c.parquet", "Kind", [], seed=0, is_reg=False
    )
    assert kinds.classes == [str(2**60 + number) for number in range(3)]


def test_codes_of_numbers_far_apart_are_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.data.columns.category_column import CategoryColumn
    from zoo_tabular import TableProcessor

    batch = pa.record_batch({"Id": pa.array([0, 4_000_000, 7, None, 4_000_000, -5, 9_000_000])})
    processor = TableProcessor(["Id"], []).fit_stream([batch.slice(0, 3)])
    asked: list[Any] = []
    code = CategoryColumn.code
    monkeypatch.setattr(CategoryColumn, "code", lambda *args: asked.append(args) or code(*args))
    codes, _ = ArrowCoder(processor)(batch)
    assert codes[:, 0].tolist() == [1, 3, 2, 0, 3, 5, 5]
    assert len(asked) < 100, "the numbers in between are not looked at"


def test_ordered_categories_partitions_and_dictionaries_of_different_widths(tmp_path: Path) -> None:
    ranks = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    parts = []
    for year, levels in ((2013, 5), (2014, 400)):
        part = sales(900, seed=year).assign(Year=year)
        part["Rank"] = pd.Categorical(np.array(["mid", "low", "high"])[part["Row"] % 3], dtype=ranks)
        part["Many"] = pd.Categorical([f"m{row % levels}" for row in part["Row"]])  # int8 and int16 codes
        folder = tmp_path / "s" / f"Year={year}"
        folder.mkdir(parents=True)
        part.drop(columns="Year").to_parquet(folder / "part-0.parquet", row_group_size=200)
        parts.append(part)
    md = ColumnarModelData.from_parquet(
        tmp_path, None, tmp_path / "s", "Sales", ["Rank", "Many", "Year"], cont_flds=["Distance"], seed=0
    )
    rank, many, year = md.processor.categories_
    assert rank.levels == ["low", "mid", "high"]
    assert len(many.levels) == 400
    assert year.levels == [2013, 2014]
    df = pd.concat([part.astype({"Many": "str"}) for part in parts], ignore_index=True)
    codes, _ = md.processor.transform_arrays(df)
    found = torch.cat([batch[0] for batch in md.train_dl])
    np.testing.assert_array_equal(found.numpy(), codes[md.train_dl.order])


def test_columns_that_are_no_categories_are_named(tmp_path: Path) -> None:
    table = pa.table({"Sales": [1.0, 2.0, 3.0], "Tags": [["a"], ["b"], []]})
    pq.write_table(table, tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"column 'Tags' holds list<.*, which cannot be a category"):
        ColumnarModelData.from_parquet(tmp_path, None, tmp_path / "s.parquet", "Sales", ["Tags"])


def test_the_rows_of_the_benchmark_can_be_learned(tmp_path: Path) -> None:
    file = Path(__file__).parents[2] / "benchmarks" / "larger_than_memory.py"
    spec = importlib.util.spec_from_file_location("larger_than_memory", file)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.make_files(tmp_path, 6_000)
    md = ColumnarModelData.from_parquet(
        tmp_path, ds.field("x0") > 1, tmp_path, "y", list(benchmark.LEVELS), 64,
        cont_flds=benchmark.NUMBERS, seed=0, max_levels=1_000,
    )  # fmt: skip
    learn = md.get_learner(progress=False, device="cpu", seed=0)
    learn.fit(3e-3, 1)
    deviation = float(torch.cat([batch[2] for batch in md.valid_dl]).std())
    assert learn.history[-1]["rmse"] < 0.97 * deviation


def test_a_row_group_is_decoded_page_by_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=1_500_000) for i in range(4)}
    columns["Kind"] = pa.array(["abcdefgh"[row % 8] for row in range(1_500_000)])
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    groups = RowGroups(tmp_path / "s.parquet", ["Kind"])
    groups.select(list(columns))
    before = pa.total_allocated_bytes()
    reader = groups.read(groups.groups[0], list(columns), 1_000)
    first = next(reader)
    taken = pa.total_allocated_bytes() - before
    assert len(first) == 1_000
    assert taken < 15e6, "of 54 MB in the row group"
    assert sum(map(len, reader)) == groups.groups[0].rows - 1_000

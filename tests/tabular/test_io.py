"""Files keep categories and indexes; large ones are read in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from zoo_tabular import read_table, stream_table, write_partitioned, write_table


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "State": pd.Categorical(["BE", None, "HH"], categories=["SL", "HH", "BE"], ordered=True),
            "Sales": np.array([1.5, np.nan, 3.0], dtype="float32"),
            "Date": pd.to_datetime(["2015-07-31", None, "2015-01-01"]),
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("c", 3)], names=["x", "y"]),
    )


@pytest.mark.parametrize("ending", [".feather", ".arrow", ".parquet"])
def test_round_trip_keeps_categories_and_indexes(ending: str, tmp_path: Path) -> None:
    df = frame()
    path = write_table(df, tmp_path / f"table{ending}")
    pd.testing.assert_frame_equal(read_table(path), df)
    assert list(read_table(path, ["Sales"]).columns) == ["Sales"]
    assert [file.name for file in tmp_path.iterdir()] == [f"table{ending}"]
    with pytest.raises(ValueError, match=r"no column 'Sale' \(did you mean 'Sales'\?\)"):
        read_table(path, ["Sale"])


def test_partitioned_files_are_streamed(tmp_path: Path) -> None:
    df = pd.DataFrame({"Year": np.repeat([2013, 2014], 500), "Sales": np.arange(1000)})
    folder = write_partitioned(df, tmp_path / "sales", ["Year"])
    pieces = list(stream_table(folder, ["Sales", "Year"], rows=100))
    assert max(map(len, pieces)) <= 100
    assert pd.concat(pieces)["Sales"].tolist() == list(range(1000))
    assert len(read_table(folder)) == 1000
    with pytest.raises(FileExistsError, match="not empty"):
        write_partitioned(df, folder, ["Year"])


def test_text_that_would_come_back_as_numbers_is_no_key(tmp_path: Path) -> None:
    df = pd.DataFrame({"Week": ["01", "02", None], "Sales": [1.0, 2.0, 3.0]})
    for keys in (df["Week"], df["Week"].astype("category"), df["Week"].astype("object")):
        with pytest.raises(ValueError, match=r"column 'Week' holds text such as '01'.* as the number 1"):
            write_partitioned(df.assign(Week=keys), tmp_path / "sales", ["Week"])
    assert not (tmp_path / "sales").exists()
    kept = df.assign(Week=["01", "w2", "12345678901"])
    back = read_table(write_partitioned(kept, tmp_path / "kept", ["Week"]))
    assert sorted(back["Week"]) == sorted(kept["Week"])


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot tell the format of 'x\.csv'"):
        write_table(frame(), tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "absent.feather")


def test_written_files_follow_the_umask(tmp_path):
    import os

    mask = os.umask(0o022)
    try:
        path = write_table(pd.DataFrame({"a": [1]}), tmp_path / "a.feather")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644


class Exchanged:
    """A frame of another library, which hands out its columns as Arrow streams."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def test_arrow_tables_and_frames_of_other_libraries_are_written(tmp_path: Path) -> None:
    table = pa.table({"Year": [2013, 2014], "Sales": [1.5, None]})
    expected = pd.DataFrame({"Year": [2013, 2014], "Sales": [1.5, np.nan]})
    for number, other in enumerate((table, Exchanged(table))):
        pd.testing.assert_frame_equal(read_table(write_table(other, tmp_path / "a.parquet")), expected)
        folder = write_partitioned(other, tmp_path / f"sales{number}", ["Year"])
        assert read_table(folder)["Year"].tolist() == [2013, 2014]


@pytest.mark.parametrize("ending", [".feather", ".parquet"])
@pytest.mark.parametrize(
    "values",
    [
        pd.cut([1, 2, 3], 2),
        pd.Categorical(pd.period_range("2020-01", periods=3, freq="M")),
        pd.Categorical(pd.to_timedelta([1, 2, None], unit="D")),
        pd.Categorical(pd.date_range("2020", periods=3, tz="Europe/Berlin")),
        pd.Categorical([1, "a", 2.5]),
        np.array([1, "a", 2.5], dtype=object),
        np.array([1j, 2, 3]),
        pd.arrays.SparseArray([0, 0, 1]),
        np.array([2**70, 1, 3], dtype=object),
    ],
)
def test_columns_that_no_file_gives_back_are_refused_by_name(
    values: object, ending: str, tmp_path: Path
) -> None:
    df = pd.DataFrame({"fine": [1, 2, 3], "odd one": pd.Series(values)})
    path = write_table(frame(), tmp_path / f"kept{ending}")
    with pytest.raises(ValueError, match=r"write_table: column 'odd one' .*make it text or numbers, such as"):
        write_table(df, path)
    pd.testing.assert_frame_equal(read_table(path), frame())
    with pytest.raises(ValueError, match="the index does not go through"):
        write_table(df[["fine"]].set_index(pd.Index(df["odd one"], name=None)), path)
    with pytest.raises(ValueError, match="write_partitioned: column 'odd one'"):
        write_partitioned(df, tmp_path / "folder", ["fine"])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".feather", ".parquet"])
def test_the_advice_for_categories_of_intervals_works(ending: str, tmp_path: Path) -> None:
    df = pd.DataFrame({"size": pd.cut([1, 2, 3], 2)})
    df["size"] = df["size"].cat.rename_categories(str)
    pd.testing.assert_frame_equal(read_table(write_table(df, tmp_path / f"a{ending}")), df)


def test_one_name_is_one_column(tmp_path: Path) -> None:
    df = pd.DataFrame({"xy": [1, 2], "x": [3, 4], "y": [5, 6]})
    for ending in (".feather", ".parquet"):
        path = write_table(df, tmp_path / f"a{ending}")
        assert list(read_table(path, "xy").columns) == ["xy"]
        assert [list(piece.columns) for piece in stream_table(path, "xy")] == [["xy"]]
    folder = write_partitioned(df, tmp_path / "folder", "xy")
    assert sorted(path.name for path in folder.iterdir()) == ["xy=1", "xy=2"]
    assert read_table(folder, "xy")["xy"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"no column 'xyz' \(did you mean 'xy'\?\)"):
        write_partitioned(df, tmp_path / "absent", "xyz")


def test_more_keys_than_arrow_allows_by_itself(tmp_path: Path) -> None:
    df = pd.DataFrame({"Store": np.arange(1100), "Sales": np.arange(1100)})
    back = read_table(write_partitioned(df, tmp_path / "sales", "Store"))
    assert sorted(back["Store"]) == df["Store"].tolist()
    assert (back["Store"] == back["Sales"]).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([True, False, None], r"'key' holds bool, .* as text: .*df\['key'\]\.astype\(int\)"),
        (pd.Categorical([True, False, None]), "'key' holds bool"),
        ([1.5, 2.0, None], r"'key' holds 1\.5, which comes back from names of folders as text"),
        (pd.Categorical([1.5, 2.0, None]), r"'key' holds 1\.5"),
        ([1.0, np.inf, 2.0], "'key' holds inf"),
        ([1, 2**40, 2], "'key' holds 1099511627776"),
        (pd.to_datetime(["2015-07-31", None, "2015-01-01"]), r"'key' holds timestamp.*astype\(str\)"),
        ([[1], [2], [3]], "'key' holds list"),
        ([None, None, None], "'key' holds nothing but missing values"),
        (["a", "__HIVE_DEFAULT_PARTITION__", "b"], "comes back from names of folders as missing"),
    ],
)
def test_keys_that_names_of_folders_cannot_give_back_are_refused(
    keys: object, message: str, tmp_path: Path
) -> None:
    df = pd.DataFrame({"key": keys, "Sales": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=f"write_partitioned: column .*{message}"):
        write_partitioned(df, tmp_path / "sales", "key")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "keys",
    [
        ["a/b", "ü=% ", None],
        ["true", "1.5", ""],
        pd.Categorical(["b", "a", None], categories=["b", "a", "unused"]),
        [-1, 2, 2**31 - 1],
        [1.0, 2.0, None],
        pd.Categorical([3, 1, 3]),
        pd.array([1, None, 3], dtype="Int64"),
    ],
)
def test_keys_come_back_by_value(keys: object, tmp_path: Path) -> None:
    df = pd.DataFrame({"key": keys, "row": [0, 1, 2]})
    back = read_table(write_partitioned(df, tmp_path / "sales", "key")).sort_values("row")
    wanted = [None if pd.isna(key) else key for key in df["key"]]
    assert [None if pd.isna(key) else key for key in back["key"]] == wanted


def test_folders_that_would_lose_rows_or_replace_files_are_refused(tmp_path: Path) -> None:
    df = pd.DataFrame({"Year": [2013, 2014], "Sales": [1.0, 2.0]})
    with pytest.raises(ValueError, match="write_partitioned: the data frame has no rows"):
        write_partitioned(df[:0], tmp_path / "a", "Year")
    with pytest.raises(ValueError, match="no column is left to write beside 'Year'"):
        write_partitioned(df[["Year"]], tmp_path / "a", "Year")
    with pytest.raises(ValueError, match="named more than once: Year"):
        write_partitioned(df, tmp_path / "a", ["Year", "Year"])
    with pytest.raises(ValueError, match="cannot hold '/' or '='"):
        write_partitioned(df.rename(columns={"Year": "Year/old"}), tmp_path / "a", "Year/old")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FileExistsError, match="file is a file: name a folder"):
        write_partitioned(df, tmp_path / "file", "Year")
    assert (tmp_path / "file").read_text() == "kept"

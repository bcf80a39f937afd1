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

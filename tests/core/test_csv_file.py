"""The CSV reader that all domains share: what it reads, and what it refuses by the name of the file."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from zoo.data.csv_file import read_csv


@pytest.fixture
def put(tmp_path: Path):
    def write(content: str | bytes, name: str = "a.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def test_cells_stay_text_where_that_is_asked(put) -> None:
    file = put("id,label,n\n007,NA,NA\n1e3,null,2\n")
    assert read_csv(file, dtype=str, missing="none").values.tolist() == [
        ["007", "NA", "NA"],
        ["1e3", "null", "2"],
    ]
    mixed = read_csv(file, dtype={"id": str, "label": "str"})
    assert mixed["id"].tolist() == ["007", "1e3"]
    assert mixed["label"].tolist() == ["NA", "null"]
    assert mixed["n"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("missing", "gaps"),
    [("usual", [True, True, True, False]), ("empty", [True, False, False, False]), ("none", [False] * 4)],
)
def test_which_cells_are_missing(put, missing, gaps) -> None:
    table = read_csv(put("x,y\n,1\nNA,2\nNone,3\nword,4\n"), missing=missing)
    assert table["x"].isna().tolist() == gaps
    assert table["y"].tolist() == [1, 2, 3, 4]


def test_files_as_people_have_them(put) -> None:
    wanted = [["é", 1], ["ü, y", 2]]
    text = 'name,n\né,1\n"ü, y",2\n'
    for file in (
        put(text),
        put(text.encode("utf-8-sig"), "bom.csv"),
        put(gzip.compress(text.encode()), "packed.csv.gz"),
        put(text.replace("\n", "\r\n"), "windows.csv"),
        put("\n" + text, "blank.csv"),
    ):
        table = read_csv(file, columns=["name", "n"])
        assert table.columns.tolist() == ["name", "n"]
        assert table.values.tolist() == wanted
    assert read_csv(put("a;b\n1;2\n"), sep=";").values.tolist() == [[1, 2]]


def test_a_first_line_that_is_data(put) -> None:
    table = read_csv(put("\ufeffp0,a\np1,b\n"), header=False, dtype=str)
    assert table.columns.tolist() == [0, 1]
    assert table.values.tolist() == [["p0", "a"], ["p1", "b"]]


def test_names_stay_as_they_are_in_the_file(put) -> None:
    file = put("a,b,b,b.1,\n1,2,3,4,5\n")
    assert read_csv(file, columns=["a"]).columns.tolist() == ["a", "b", "b", "b.1", "Unnamed: 4"]
    with pytest.raises(ValueError, match=r"a\.csv has 2 columns 'b'; rename all but one"):
        read_csv(file, columns=["b"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.csv: cannot be read as a CSV file separated by ',': No columns"),
        ("\n\n", r"a\.csv: cannot be read .* No columns"),
        ("x,y\n1,2\n3,4,5\n", r"a\.csv: cannot be read .* line 3, saw 3"),
        ("x,y\n1,2,3\n3,4,5\n", r"a\.csv: cannot be read .* line 2, saw 3"),
        ('x,y\n"1,2\n', r"a\.csv: cannot be read .* inside string"),
        ("x,y\n", r"a\.csv has no rows below"),
        ("x,y\né,2\n".encode("latin1"), r"a\.csv: cannot be read as UTF-8 text .*save it as UTF-8"),
        ("x,y\n1,2\n".encode("utf-16"), r"a\.csv: cannot be read as UTF-8 text"),
        ("x,z\n1,2\n", r"a\.csv has no column 'y'; its columns are: x, z"),
        ("x,Y\n1,2\n", r"a\.csv has no column 'y' \(did you mean 'Y'\?\)"),
        ("x;y\n1;2\n", r"a\.csv has no column 'x'"),
    ],
)
def test_a_bad_file_is_one_error_that_names_it(put, content, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(put(content), columns=["x", "y"])


def test_damaged_packed_files_are_named(put) -> None:
    whole = gzip.compress(b"x,y\n" + b"1,2\n" * 999)
    for number, content in enumerate((b"not packed", whole[:40], whole[:30] + b"\xff" * 30)):
        with pytest.raises(ValueError, match=rf"{number}\.csv\.gz: cannot be unpacked"):
            read_csv(put(content, f"{number}.csv.gz"))
    with pytest.raises(ValueError, match=r"a\.zip: cannot be unpacked"):
        read_csv(put(b"not packed", "a.zip"))


def test_a_file_that_is_not_there(put, tmp_path: Path) -> None:
    put("x\n1\n", "labels.csv")
    put("x", "label.png")
    with pytest.raises(FileNotFoundError, match=r"ratings .*label\.csv does not exist \(did you mean"):
        read_csv(tmp_path / "label.csv", what="ratings")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: look elsewhere"):
        read_csv(tmp_path / "nowhere" / "label.csv", hint=": look elsewhere")


def test_reading_needs_no_torch() -> None:
    code = "import sys, zoo.data.csv_file; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_repeated_column_is_read_like_the_first(tmp_path):
    file = tmp_path / "twice.csv"
    file.write_text("a,a,b,\n007,NA,1,x\n008,3,NA,\n")
    df = read_csv(file)
    assert df.iloc[:, 1].isna().tolist() == [True, False]
    assert df.iloc[:, 3].isna().tolist() == [False, True]
    text = read_csv(file, dtype={"a": str})
    assert text.iloc[:, 0].tolist() == ["007", "008"]
    assert text.iloc[:, 1].tolist() == ["NA", "3"]


def test_columns_are_asked_for_without_a_header_too(tmp_path):
    file = tmp_path / "bare.csv"
    file.write_text("1,2\n3,4\n")
    assert read_csv(file, header=False, columns=[1]).shape == (2, 2)
    with pytest.raises(ValueError, match="no column 2"):
        read_csv(file, header=False, columns=[2])


def test_types_of_columns_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("userId,x\n007,1\n")
    with pytest.raises(ValueError, match=r"dtype names 'userid', which the file has not \(did you mean"):
        read_csv(tmp_path / "a.csv", dtype={"userid": str})


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.zip"])
def test_a_row_that_is_too_short_is_refused_and_an_empty_last_cell_is_not(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    pd.DataFrame({"text": ["good, film", "bad"], "label": ["p", None]}).to_csv(file, index=False)
    assert read_csv(file)["label"].isna().tolist() == [False, True]
    plain = tmp_path / "short.csv"
    plain.write_text('text,label\n"good,\nfilm",p\nbad\n')
    with pytest.raises(ValueError, match=r"line 4 has 1 fields where the first has 2: 'bad'"):
        read_csv(plain, dtype=str, missing="none")


def test_separators_are_plain_text(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("id||label\n1||x\n")
    assert read_csv(file, sep="||", columns=["id"]).values.tolist() == [[1, "x"]]
    file.write_text("id label\n1   x\n")
    assert read_csv(file, sep=r"\s+").values.tolist() == [[1, "x"]]
    with pytest.raises(TypeError, match="sep is the text between two fields"):
        read_csv(file, sep=None)
    file.write_text("id;label\n1;x\n")
    with pytest.raises(ValueError, match=r"first line looks separated by ';': give sep=';'"):
        read_csv(file, columns=["id"])

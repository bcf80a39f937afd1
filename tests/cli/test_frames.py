"""Tables as programs of offices write them."""

import pandas as pd
import pytest

from zoo.cli.frames import pieces, read_frame, read_line
from zoo.cli.plans import Mendable


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"size": [3.25, -1.5, 2.0], "name": ["a, b", "ü", "c"], "n": [1, 2, 3]})


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".csv", {"sep": ";", "decimal": ","}),
        (".csv", {"sep": ";", "encoding": "utf-8-sig", "lineterminator": "\r\n"}),
        (".txt", {"sep": "\t", "decimal": ",", "encoding": "utf-16"}),
        (".csv", {"encoding": "utf-16"}),
        (".csv.gz", {"sep": ";", "decimal": ","}),
    ],
)
def test_commas_in_numbers_and_other_encodings(frame, tmp_path, ending, options) -> None:
    file = tmp_path / f"table{ending}"
    frame.to_csv(file, index=False, **options)
    pd.testing.assert_frame_equal(read_frame(file), frame)
    pd.testing.assert_frame_equal(eval(read_line(file), {"pd": pd}), frame)
    values, cells = next(pieces(file))
    pd.testing.assert_frame_equal(values, frame)
    assert cells["size"][0] == f"3{options.get('decimal', '.')}25"


def test_thousands_are_no_decimals(tmp_path) -> None:
    (tmp_path / "table.tsv").write_text("n\tm\n1,234\t5\n12,500\t6\n")
    assert read_frame(tmp_path / "table.tsv")["n"].tolist() == ["1,234", "12,500"]


def test_other_encodings_are_told_with_a_cure(frame, tmp_path) -> None:
    file = tmp_path / "table.csv"
    frame.to_csv(file, index=False, encoding="latin-1")
    for read in (read_frame, lambda file: list(pieces(file))):
        with pytest.raises(Mendable, match=r"table\.csv is not written in UTF-8 .* save it"):
            read(file)

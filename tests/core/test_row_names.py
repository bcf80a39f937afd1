"""How rows are called in messages."""

import numpy as np
import pandas as pd

from zoo.data.row_names import RowNames


def test_rows_keep_their_names_and_positions_over_choices():
    names = RowNames(pd.Index(list("abcdef")))
    chosen = names.at(np.array([True, False, True, True, False, True]))
    assert chosen(2) == "row 'd' (position 3)"
    assert chosen.at(np.array([3, 1]))(0) == "row 'f' (position 5)"
    assert RowNames().at(np.array([4, 2]))(1) == "row 2"


def test_only_the_first_rows_are_named():
    looked_up = []

    class Labels(list):
        def __getitem__(self, row):
            looked_up.append(row)
            return super().__getitem__(row)

    names = RowNames(Labels(f"r{number}" for number in range(1000))).at(np.arange(1000) % 2 == 0)
    assert names.some(range(500)).startswith("row 'r0' (position 0), 'r2' (position 2), ")
    assert names.some(range(500)).endswith(" and 495 more")
    assert len(looked_up) == 10

"""Weights of other users or items are refused by name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from zoo_collab import CollabFilterDataset


def learner(path: Path, items: list[int], unit: float = 1.0, rating: str = "rating"):
    df = pd.DataFrame(
        {
            "user": [1, 2, 3, 4] * 8,
            "item": sorted(items * 4),
            rating: [unit, 5 * unit, 3 * unit, 4 * unit] * 8,
        }
    )
    data = CollabFilterDataset.from_data_frame(path, df, "user", "item", rating)
    return data.get_learner(4, [0, 1], bs=8, device="cpu", progress=False, seed=0)


def test_another_item_in_the_place_of_one_that_left_is_refused(tmp_path: Path) -> None:
    learner(tmp_path, list(range(8))).save("m")
    learner(tmp_path, list(range(8))).load("m")
    with pytest.raises(ValueError, match=r"items \(number 0 is '0' there, '1' here\)"):
        learner(tmp_path, list(range(1, 9))).load("m")


def test_another_column_of_ratings_is_refused_and_another_range_told(tmp_path: Path) -> None:
    learner(tmp_path, list(range(8))).save("m")
    with pytest.raises(ValueError, match=r"columns \(number 2 is 'rating' there, 'hours' here\)"):
        learner(tmp_path, list(range(8)), rating="hours").load("m")
    with pytest.warns(UserWarning, match=r"range of ratings \(number 0 is '1' there, '20' here\)"):
        learner(tmp_path, list(range(8)), unit=20.0).load("m")

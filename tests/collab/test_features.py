"""Columns of features as levels of rows, and the frames that bring them."""

import json

import numpy as np
import pandas as pd
import pytest

from zoo_collab import CollabFilterDataset
from zoo_collab.pairs.features import FeatureCoder


def films() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "film": [1, 2, 3, 4, 5],
            "genres": ["War|Drama", "Drama", "War", None, "Drama|Drama|Farce|Farce"],
            "land": ["fr", "fr", "de", "de", "no"],
            "year": [1950.0, 1990.0, np.nan, 2010.0, 2030.0],
            "seen": pd.to_datetime(["2020-01-01", None, "2020-01-11", "2020-01-03", "2020-01-05"]),
            "colour": [True, False, True, True, False],
        },
        index=[9, 8, 7, 6, 5],
    )


def ratings() -> pd.DataFrame:
    rows = [(who, film, 1.0 + (who + film) % 5) for who in range(6) for film in (1, 2, 3, 4)]
    return pd.DataFrame(rows, columns=["who", "film", "stars"])


def level_shares(coder: FeatureCoder, frame: pd.DataFrame) -> list[dict[str, float]]:
    """What each row holds, in words."""
    names = ["(padding)", *coder.told()]
    return [
        {names[place]: round(float(share), 6) for place, share in zip(*row, strict=True) if share}
        for row in zip(*coder.encode(frame), strict=True)
    ]


def test_every_kind_of_column_becomes_weighted_levels():
    frame = films()
    before = frame.copy(deep=True)
    coder = FeatureCoder.learn(frame, "film")
    kinds = [(column.name, column.kind) for column in coder.columns]
    assert kinds == [
        ("genres", "many"), ("land", "category"), ("year", "number"), ("seen", "date"),
        ("colour", "category"),
    ]  # fmt: skip
    rows = level_shares(coder, frame)
    pd.testing.assert_frame_equal(frame, before)
    assert rows[0] == {
        "genres: Drama": 0.5, "genres: War": 0.5, "land: fr": 1.0, "year: 1950.0": 1.0,
        "seen: 18262.0": 1.0, "colour: 1": 1.0,
    }  # fmt: skip
    assert rows[2]["year: (missing)"] == 1.0
    assert rows[1]["seen: (missing)"] == 1.0
    assert rows[3]["genres: (missing)"] == 1.0
    assert rows[4]["genres: (rare)"] == 0.5, "Farce, named twice, is the genre of one film"
    assert rows[4]["genres: Drama"] == 0.5, "named twice it counts once"
    assert rows[4]["land: (rare)"] == 1.0
    assert all(sum(row.values()) == pytest.approx(5) for row in rows)


def test_numbers_lie_between_levels_and_beyond_the_ends_on_them():
    coder = FeatureCoder.learn(pd.DataFrame({"film": range(5), "year": [0.0, 10, 20, 40, 80]}), "film")
    assert coder.columns[0].knots == [0, 10, 20, 40, 80]
    rows = level_shares(coder, pd.DataFrame({"year": [25.0, -7.0, 1e9, 40.0]}))
    assert rows == [
        {"year: 20.0": 0.75, "year: 40.0": 0.25},
        {"year: 0.0": 1},
        {"year: 80.0": 1},
        {"year: 40.0": 1},
    ]
    many = FeatureCoder.learn(pd.DataFrame({"film": range(1000), "n": np.arange(1000) ** 2}), "film")
    assert len(many.columns[0].knots) == 8
    assert many.columns[0].knots[1] == pytest.approx((999 / 7) ** 2, rel=0.01), "quantiles, not equal steps"


@pytest.mark.parametrize(
    "several", [["War", "Drama"], ("Drama", "War"), {"War", "Drama"}, np.array(["War", "Drama"])]
)
def test_cells_of_several_values_may_be_any_collection(several):
    learned = FeatureCoder.learn(films()[["film", "genres"]], "film")
    cells = pd.DataFrame(
        {"genres": pd.Series([several, ["Drama", "Western"], [], " War | Drama "], dtype=object)}
    )
    both = {"genres: Drama": 0.5, "genres: War": 0.5}
    unknown = {"genres: Drama": 0.5, "genres: (unknown)": 0.5}
    assert level_shares(learned, cells) == [both, unknown, {"genres: (missing)": 1.0}, both]


def test_texts_that_are_categories_stay_whole():
    frame = films().astype({"genres": "category"})[["film", "genres"]]
    frame.loc[8, "genres"] = "War|Drama"
    coder = FeatureCoder.learn(frame, "film")
    assert coder.columns[0].kind == "category"
    assert level_shares(coder, frame)[0] == {"genres: War|Drama": 1.0}


def test_state_is_json_and_codes_alike():
    coder = FeatureCoder.learn(films(), "film", "item_features")
    again = FeatureCoder.from_json(json.loads(json.dumps(coder.to_json())))
    for one, two in zip(coder.encode(films()), again.encode(films()), strict=True):
        np.testing.assert_array_equal(one, two)
    assert again.told() == coder.told()
    assert len(again.told()) == again.n_levels - 1


def test_time_zones_and_dates_as_objects_are_the_same_days():
    days = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-11"])
    coder = FeatureCoder.learn(pd.DataFrame({"film": range(3), "day": days}), "film")
    expected = coder.encode(pd.DataFrame({"day": days}))
    for other in (
        pd.Series(days.date, dtype=object),
        pd.Series(days.tz_localize("UTC").tz_convert("Asia/Tokyo")),
    ):
        np.testing.assert_allclose(coder.encode(pd.DataFrame({"day": other})).shares, expected.shares)
    with pytest.raises(TypeError, match=r"the features: column 'day' held dates or durations in training"):
        coder.encode(pd.DataFrame({"day": [1.0, 2.0, 3.0]}))


def test_rows_follow_the_indexes_and_the_unknown_one_misses_everything():
    coder = FeatureCoder.learn(films(), "film")
    rows = coder.rows(films(), np.array([2, 0, 1, 0, 0]), 4)
    names = ["(padding)", *coder.told()]
    said = [[names[p] for p, s in zip(*row, strict=True) if s] for row in zip(*rows, strict=True)]
    missing = [f"{column.name}: (missing)" for column in coder.columns]
    assert said[0] == said[3] == missing
    assert said[1][:2] == ["genres: War", "land: de"]
    assert said[2][:3] == ["genres: Drama", "genres: War", "land: fr"]


def test_levels_are_those_of_ids_that_training_has_seen(caplog):
    table = CollabFilterDataset(".", ratings(), "who", "film", "stars", item_features=films())
    held = np.flatnonzero(ratings()["film"] == 3)
    data = table.get_data(held)
    assert data.items.ids == [1, 2, 4, 3, 5], "those that only features know stand behind"
    assert data.item_counts.tolist() == [0, 6, 6, 6, 0, 0]
    told = data.features["item_features"].coder.told()
    assert "genres: Drama" in told
    assert "genres: War" not in told, "one of the films that training has seen is of that genre"
    plain = table.get_data(held, cold=False)
    assert plain.items.ids == [1, 2, 4]
    assert len(plain.features["item_features"].rows.places) == 4
    assert "have no row" not in caplog.text
    CollabFilterDataset(".", ratings(), "who", "film", "stars", item_features=films()[:2]).get_data()
    assert "item_features: 2 of the 4 ids of the training rows have no row" in caplog.text


def test_columns_that_tell_nothing_are_told(caplog):
    frame = films().assign(title=list("abcde"), same="x", one=1)
    FeatureCoder.learn(frame, "film", "item_features")
    assert "item_features: column 'title' tells nothing: no value belongs to two ids or more" in caplog.text
    assert "item_features: column 'same' tells nothing: it has a single value" in caplog.text
    assert "item_features: column 'one' tells nothing: it has no two different values" in caplog.text
    assert caplog.text.count("tells nothing") == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.rename(columns={"film": "films"}), ValueError, r"item_features.*'film'"),
        (lambda f: f[["film"]], ValueError, "item_features: there is no column beside the ids in 'film'"),
        (
            lambda f: f.assign(film=[1, 2, 2, 3, 3]),
            ValueError,
            "one row an id, and 2 come again: 2, 3; several",
        ),
        (lambda f: f.assign(film=[1, 2, None, 4, 5]), ValueError, "column 'film' has no id in 1 rows"),
        (lambda f: f.to_dict(), TypeError, "item_features is a frame with the column 'film'.*not a dict"),
    ],
)
def test_frames_that_cannot_be_read_are_refused_at_once(change, error, message):
    with pytest.raises(error, match=message):
        CollabFilterDataset(".", ratings(), "who", "film", "stars", item_features=change(films()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.assign(film=[f"f{n}" for n in f["film"]]), TypeError, "holds ids such as 'f1'.*astype"),
        (lambda f: f.assign(film=f["film"] + 70), ValueError, r"none of its ids in column 'film' is in the"),
        (
            lambda f: f.assign(year=[1, 2, 3, np.inf, 5]),
            ValueError,
            "item_features: column 'year' holds 1 infinite",
        ),
        (lambda f: f.assign(film=[1, "1", 3, 4, 5]), ValueError, "1, '1' are the same id"),
        (
            lambda f: f.assign(land=[{"a": 1}] * 5),
            TypeError,
            "item_features: column 'land' holds dict values",
        ),
    ],
)
def test_frames_that_do_not_fit_the_pairs_are_refused(change, error, message):
    table = CollabFilterDataset(".", ratings(), "who", "film", "stars", item_features=change(films()))
    with pytest.raises(error, match=message):
        table.get_data()


def test_a_table_without_features_and_files_with(tmp_path):
    ratings().to_csv(tmp_path / "r.csv", index=False)
    ratings().to_parquet(tmp_path / "r.parquet")
    names = ("who", "film", "stars")
    tables = [
        CollabFilterDataset.from_csv(tmp_path, "r.csv", *names, item_features=films()),
        CollabFilterDataset.from_parquet(tmp_path, "r.parquet", *names, item_features=films()),
    ]
    digests = {table.get_data().features["item_features"].digest for table in tables}
    assert len(digests) == 1
    assert tables[0].implicit().get_data().features["item_features"].digest in digests
    assert not tables[0].without_features().get_data().features
    assert tables[0].has_features

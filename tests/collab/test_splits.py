"""Splits of ratings, repeated pairs, and what leaks."""

import datetime

import numpy as np
import pandas as pd
import pytest

from zoo import get_cv_idxs
from zoo_collab import CollabFilterDataset, by_time, by_user, by_user_time, leave_one_out


def ratings(n: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"who": rng.integers(0, 25, n), "what": rng.integers(0, 60, n)})
    frame = frame.drop_duplicates(ignore_index=True)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500, len(frame)), unit="h")
    return frame.assign(stars=rng.integers(1, 6, len(frame)).astype(float), when=times)


def table(frame=None, **options) -> CollabFilterDataset:
    frame = ratings() if frame is None else frame
    options = {"time_col": "when" if "when" in frame else None, **options}
    return CollabFilterDataset(".", frame, "who", "what", "stars", **options)


def test_the_latest_are_held_out() -> None:
    frame = ratings()
    for share in (0.1, 0.5, 0.001):
        held = by_time(share)(table())
        times = frame["when"]
        assert times.drop(held).max() < times[held].min()
        assert len(held) == pytest.approx(share * len(frame), abs=8)
    after = frame["when"].sort_values().iloc[400]
    assert by_time(after=after)(table()).tolist() == np.flatnonzero(frame["when"] > after).tolist()
    assert by_time(after=str(after))(table()).tolist() == by_time(after=after)(table()).tolist()
    seconds = frame.assign(when=frame["when"].astype("int64") // 10**9)
    assert by_time(0.3)(table(seconds)).tolist() == by_time(0.3)(table()).tolist()
    zoned = frame.assign(when=frame["when"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    assert by_time(0.3)(table(zoned)).tolist() == by_time(0.3)(table()).tolist()


def test_the_latest_of_each_user_are_held_out() -> None:
    frame = ratings()
    for split, wanted in (
        (by_user_time(), lambda n: min(1, n // 2)),
        (by_user_time(3), lambda n: min(3, n // 2)),
        (by_user_time(share=0.4), lambda n: int(0.4 * n)),
    ):
        held = split(table())
        assert (np.diff(held) > 0).all()
        for _, rows in frame.groupby("who"):
            own = rows.index.isin(held)
            assert own.sum() == wanted(len(rows))
            if own.any():
                assert rows["when"][own].min() >= rows["when"][~own].max()


def test_one_of_each_user_and_whole_users() -> None:
    frame = pd.concat(
        [ratings(), pd.DataFrame({"who": [99], "what": [1], "stars": [3.0]})], ignore_index=True
    )
    frame = frame.drop(columns="when")
    held = leave_one_out(1)(table(frame))
    assert sorted(frame["who"][held]) == sorted(set(frame["who"]) - {99})
    assert held.tolist() != leave_one_out(2)(table(frame)).tolist()
    assert held.tolist() == leave_one_out(1)(table(frame)).tolist()
    held = by_user(0.2, seed=3)(table(frame))
    chosen = set(frame["who"][held])
    assert len(chosen) == 5
    assert not chosen & set(frame["who"].drop(held))


def test_splits_say_what_they_lack() -> None:
    plain = table(ratings().drop(columns="when"))
    for split in (by_time(0.2), by_user_time()):
        with pytest.raises(ValueError, match="has no time column: name it"):
            split(plain)
    for wrong in (lambda: by_time(), lambda: by_time(0.1, after=3), lambda: by_user_time(1, share=0.5)):
        with pytest.raises(ValueError, match="give one of them"):
            wrong()
    for wrong in (lambda: by_time(2), lambda: by_user(0), lambda: by_user_time(share=1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            wrong()
    with pytest.raises(ValueError, match="holds out 0 of"):
        by_time(after=pd.Timestamp("2030-01-01"))(table())
    for broken, told in (
        (ratings().assign(when=pd.NaT), "has no time in row 0"),
        (ratings().assign(when="soon"), "holds 'soon', which is neither a date"),
    ):
        with pytest.raises(ValueError, match=told):
            table(broken)


def test_a_learner_takes_a_split_and_tells_what_leaks(caplog, tmp_path) -> None:
    options = {"progress": False, "device": "cpu", "seed": 0}
    learn = table().get_learner(3, by_time(0.25), **options)
    assert "later rating" not in caplog.text
    held = by_time(0.25)(table())
    users, _, stars = learn.data.valid_dl.tensors
    assert stars.tolist() == ratings()["stars"][held].tolist()
    assert len(users) == len(held)
    table().get_learner(3, get_cv_idxs(len(ratings())), **options)
    assert "the user has a later rating among the training rows" in caplog.text
    caplog.clear()
    table().get_learner(3, by_user(0.2), **options)
    assert "100% of the held-out rows have a user or an item that training has not seen" in caplog.text


def test_repeated_pairs(caplog) -> None:
    caplog.set_level("INFO")
    rows = [(1, 5, 1.0, 30), (1, 6, 2.0, 10), (1, 5, 4.0, 20), (2, 5, 3.0, 5), (1, 5, 2.0, 10)]
    frame = pd.DataFrame(rows, columns=["who", "what", "stars", "when"], index=list("abcde"))
    kept = table(frame)
    assert kept.ratings.tolist() == [1, 2, 4, 3, 2]
    assert "2 of 5 rows repeat an earlier (who, what) pair; all are kept" in caplog.text
    by_date, by_row = table(frame, duplicates="last"), table(frame, duplicates="last", time_col=None)
    assert by_date.ratings.tolist() == [1, 2, 3]
    assert by_date.times.tolist() == [30, 10, 5]
    assert by_row.ratings.tolist() == [2, 3, 2]
    assert "the last counts" in caplog.text
    mean = table(frame, duplicates="mean", time_col=None)
    assert mean.users.tolist() == [1, 2, 1]
    assert mean.ratings.tolist() == pytest.approx([2, 3, 7 / 3])
    assert list(mean.rows) == ["b", "d", "e"]
    # row numbers are those of the table given; rows that are gone hold nothing out
    held = mean.get_data([0, 4], 2).valid_dl.tensors
    assert held[2].tolist() == pytest.approx([7 / 3])
    assert "1 of the rows to hold out are gone (repeated pairs" in caplog.text
    held = leave_one_out()(by_row)  # a split tells these, too
    assert held.tolist() in ([1], [4])
    assert by_row.get_data(held, 2).valid_dl.tensors[2].tolist() == [2.0]
    assert by_row.get_data(leave_one_out(), 2).valid_dl.tensors[2].tolist() == [2.0]
    with pytest.raises(ValueError, match=r"2 of 5 rows repeat .* 'keep' keeps them all"):
        table(frame, duplicates="error")
    with pytest.raises(ValueError, match=r"duplicates='lst' is not known \(did you mean 'last'\?\)"):
        table(frame, duplicates="lst")
    assert table(frame.iloc[1:4], duplicates="error").ratings.tolist() == [2, 4, 3]


def timed(times) -> CollabFilterDataset:
    frame = pd.DataFrame({"u": [1, 1, 2, 2], "i": [1, 2, 1, 3], "r": 3.0, "t": times})
    return CollabFilterDataset(".", frame, "u", "i", "r", time_col="t")


def test_numbers_tell_what_to_pass_for_a_date() -> None:
    table = timed([100_000_000, 300_000_000, 160_000_000, 200_000_000])
    told = (
        r"by_time\(after='1975-01-01'\): the times in column 't' are numbers, from 100000000 to 300000000, "
        r"not dates; if they are seconds since 1970, after=157766400"
    )
    for after in ("1975-01-01", pd.Timestamp("1975-01-01"), datetime.date(1975, 1, 1)):
        with pytest.raises(ValueError, match=told.replace("'1975-01-01'", ".*")):
            by_time(after=after)(table)
    with pytest.raises(ValueError, match=told):
        by_time(after="1975-01-01")(table)
    assert by_time(after=157766400)(table).tolist() == [1, 2, 3]
    assert by_time(after=np.float32(157766400))(table).tolist() == [1, 2, 3]
    for after in ("soon", True, None.__class__, float("nan")):
        with pytest.raises(ValueError, match=r"are numbers, from 100000000 .* after=200000000"):
            by_time(after=after)(table)


def test_dates_are_compared_with_dates_and_iso_texts() -> None:
    table = timed(
        pd.to_datetime([f"{day} 12:00" for day in ("1974-12-31", "1980-05-05", "1975-01-02", "1974-01-01")])
    )
    midnight = "1975-01-01"
    for after in (midnight, pd.Timestamp(midnight), datetime.date(1975, 1, 1), np.datetime64(midnight),
                  "1975-01-02T14:59+03:00"):  # fmt: skip
        assert by_time(after=after)(table).tolist() == [1, 2], after
    assert by_time(after="1980-05-05 11:59")(table).tolist() == [1]
    zoned = timed(pd.to_datetime(["1975-01-01", "1980-05-05", "1975-01-02", "1974-01-01"], utc=True))
    assert by_time(after="1975-01-01T23:59")(zoned).tolist() == [1, 2]
    told = r"the times in column 't' are dates, from 1974-01-01 12:00:00 to 1980-05-05 12:00:00"
    for after in (157766400, "soon", 5.5, True, pd.NaT):
        with pytest.raises(ValueError, match=rf"{told}: give a date, such as '1975-01-02'"):
            by_time(after=after)(table)

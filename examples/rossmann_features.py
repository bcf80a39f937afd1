"""Joins the tables of the Rossmann store sales and makes the features that are known to help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from zoo_tabular import add_datepart, add_elapsed, add_event_counts

CATEGORIES = [
    "Store", "DayOfWeek", "Year", "Month", "Day", "StateHoliday", "CompetitionMonthsOpen", "Promo2Weeks",
    "StoreType", "Assortment", "PromoInterval", "CompetitionOpenSinceYear", "Promo2SinceYear", "State",
    "Events", "Promo_fw", "Promo_bw", "StateHoliday_fw", "StateHoliday_bw", "SchoolHoliday_fw",
    "SchoolHoliday_bw", "AfterLongClosure", "BeforeLongClosure",
]  # fmt: skip
SEASON = ["Season_sin1", "Season_cos1", "Season_sin2", "Season_cos2"]
NUMBERS = [
    "CompetitionDistance", "Max_TemperatureC", "Mean_TemperatureC", "Min_TemperatureC", "Max_Humidity",
    "Mean_Humidity", "Min_Humidity", "Max_Wind_SpeedKm_h", "Mean_Wind_SpeedKm_h", "CloudCover", "trend",
    "trend_DE", "AfterStateHoliday", "BeforeStateHoliday", "Promo", "SchoolHoliday",
    *SEASON,
]  # fmt: skip
WEATHER = NUMBERS[1:10]
EVENTS = ["Promo", "StateHoliday", "SchoolHoliday"]
SPANS = {"last": ("2015-07-18", "2015-07-31"), "2014": ("2014-08-01", "2014-09-17")}


def load_rossmann(folder: Path, rows: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The open days with sales, in order of time, and the days to forecast, both with all features.

    Args:
        folder: holds `train.csv`, `test.csv`, `store.csv` and `external/`.
        rows: keep the first stores, with about this many training rows in all.
    """
    sales = pd.read_csv(folder / "train.csv", dtype={"StateHoliday": str}, parse_dates=["Date"])
    coming = pd.read_csv(folder / "test.csv", dtype={"StateHoliday": str}, parse_dates=["Date"])
    days = pd.concat([sales, coming], ignore_index=True)  # events are counted over closed and coming days too
    if rows is not None:
        stores = round(days["Store"].nunique() * rows / len(sales))
        days = days[days["Store"] <= max(2, stores)].reset_index(drop=True)
    days["StateHoliday"] = days["StateHoliday"] != "0"
    days = add_elapsed(days, EVENTS, "Date", "Store", fill=0)
    days = add_event_counts(days, EVENTS, "Date", "Store", days=7)
    days = add_closures(days)
    days = join_tables(days[days["Sales"].isna() | ((days["Sales"] > 0) & (days["Open"] == 1))], folder)
    days = days.sort_values("Date", kind="stable")
    coming = days["Sales"].isna()
    return days[~coming].reset_index(drop=True), days[coming].reset_index(drop=True)


def add_closures(days: pd.DataFrame, shortest: int = 5, horizon: int = 30) -> pd.DataFrame:
    """Days since and until a closure of several days, such as a refurbishment, as far as they lie in a month.

    Stores sell out before one and are crowded after it. It is planned, so it is known ahead.
    """
    days = days.sort_values(["Store", "Date"], ignore_index=True)
    closed = days["Open"].eq(0)
    turn = closed.ne(closed.shift()) | days["Store"].ne(days["Store"].shift())
    days["LongClosure"] = closed & (turn.groupby(turn.cumsum()).transform("size") >= shortest)
    days = add_elapsed(days, ["LongClosure"], "Date", "Store", fill=horizon)
    for name in ("AfterLongClosure", "BeforeLongClosure"):
        days[name] = days[name].clip(upper=horizon).astype("int16")
    return days


def add_season(days: pd.DataFrame) -> pd.DataFrame:
    """The time of the year as two waves; levels for its weeks would remember the two times each came."""
    angle = (2 * np.pi / 365.25) * days["Dayofyear"]
    waves = {
        f"Season_{name}{k}": wave(k * angle)
        for k in (1, 2)
        for name, wave in (("sin", np.sin), ("cos", np.cos))
    }
    return days.assign(**waves)


def held_out_rows(days: pd.DataFrame, span: str) -> np.ndarray:
    """Numbers of the rows of one of the `SPANS`."""
    return np.flatnonzero(days["Date"].between(*SPANS[span]))


def join_tables(days: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Stores, their states, the weather there, and searches in that week, joined to every day."""
    external = folder / "external"
    states = pd.read_csv(external / "combined" / "state_names.csv").replace({"State": {"NI": "HB,NI"}})
    weather = pd.read_csv(external / "combined" / "weather.csv", parse_dates=["Date"])
    weather = weather.merge(states, left_on="file", right_on="StateName")
    weather["Events"] = weather["Events"].fillna("none")
    trends = pd.read_csv(external / "combined" / "googletrend.csv")
    trends["Monday"] = pd.to_datetime(trends["week"].str[:10]) + pd.Timedelta(
        days=1
    )  # those weeks begin on Sunday
    trends["State"] = trends["file"].str.split("_").str[2].replace({"NI": "HB,NI"})
    germany = trends.loc[trends["State"].isna(), ["Monday", "trend"]].rename(columns={"trend": "trend_DE"})

    days = add_season(add_datepart(days, "Date", drop=False)).merge(
        stores_with_starts(folder), on="Store", how="left"
    )
    days["Monday"] = days["Date"] - pd.to_timedelta(days["Dayofweek"], unit="D")
    days = days.merge(trends[["Monday", "State", "trend"]], on=["Monday", "State"], how="left")
    days = days.merge(germany, on="Monday", how="left")
    days = days.merge(weather[["Date", "State", "Events", *WEATHER]], on=["Date", "State"], how="left")
    months = (
        (days["Year"] - days["CompetitionOpenSinceYear"]) * 12
        + days["Month"]
        - days["CompetitionOpenSinceMonth"]
    )
    days["CompetitionMonthsOpen"] = months.clip(0, 24).fillna(0).astype("int16")
    weeks = (days["Date"] - days["Promo2Since"]).dt.days // 7
    days["Promo2Weeks"] = weeks.clip(0, 25).fillna(0).astype("int16")
    return days


def stores_with_starts(folder: Path) -> pd.DataFrame:
    """One row a store: what it is, where it is, since when it has a competitor and a standing promotion."""
    stores = pd.read_csv(folder / "store.csv").merge(
        pd.read_csv(folder / "external" / "store_states.csv"), on="Store"
    )
    year = stores["Promo2SinceYear"].fillna(1990).astype("int64")
    week = stores["Promo2SinceWeek"].fillna(1).astype("int64")
    fourth = pd.to_datetime((year * 10000 + 104).astype("str"), format="%Y%m%d")  # always in ISO week 1
    monday = fourth + pd.to_timedelta((week - 1) * 7 - fourth.dt.day_of_week, unit="D")
    stores["Promo2Since"] = monday.where(stores["Promo2SinceYear"].notna())
    stores["CompetitionOpenSinceYear"] = stores["CompetitionOpenSinceYear"].fillna(1990).clip(lower=1990)
    return stores.fillna({"PromoInterval": "none", "Promo2SinceYear": 1990})


def log_range(sales: pd.Series, held_out: np.ndarray) -> tuple[float, float]:
    """A range for the logarithm of sales, from the rows to train on alone."""
    return 0.0, 1.2 * float(np.log(np.delete(sales.to_numpy(), held_out).max()))


def boosting_forecast(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    rounds: int = 1000,
    categories: Sequence[str] = CATEGORIES,
    numbers: Sequence[str] = NUMBERS,
) -> np.ndarray:
    """Sales forecast by scikit-learn's gradient boosting, by default from the same columns."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    from zoo_tabular import TableProcessor

    processor = TableProcessor(list(categories), list(numbers), na_columns="seen").fit(train)
    model = HistGradientBoostingRegressor(
        max_iter=rounds, max_leaf_nodes=127, learning_rate=0.1, random_state=0
    )
    model.fit(processor.transform(train), np.log(train["Sales"]))
    return np.exp(model.predict(processor.transform(valid)))

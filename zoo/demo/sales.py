"""Tables: daily sales of simulated stores, so that the smallest reachable error is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zoo.inspect.plots import figure
from zoo.reports.section import Section, export_and_check, principal_plane, scatter_with_names
from zoo_tabular import (
    ColumnarModelData,
    add_datepart,
    add_elapsed,
    exp_rmspe,
    last_days_split,
    read_table,
    rmspe,
    write_table,
)

NOISE = 0.08
DAYS, AHEAD, HELD_OUT = 900, 150, 42
HOLIDAYS = ((1, 1), (5, 1), (6, 6), (10, 3), (12, 25), (12, 26))
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CATEGORIES = ["Store", "Kind", "Region", "Promo", "Holiday", "School", "Month", "Dayofweek"]
NUMBERS = ["CompetitionDistance", "AfterHoliday", "BeforeHoliday", "AfterPromo", "BeforePromo", "Dayofyear"]


def simulate(n_stores: int, seed: int) -> pd.DataFrame:
    """Daily sales whose logarithm is a sum of known parts and noise.

    log sales = store + trend + season + weekday (by kind of store) + promotion (by kind) + school holidays +
    public holidays, with a rush in the week before + noise of standard deviation 0.08. A third of the stores
    does not know how far away its competition is.

    Returns:
        Frame with one row a store and day; `Expected` holds the sales without the noise. The calendar of
        holidays and promotions goes on for 150 days in which there are no sales yet.
    """
    rng = np.random.default_rng(seed)
    n_days = DAYS + AHEAD
    dates = pd.date_range("2021-01-01", periods=n_days)
    store, day = np.divmod(np.arange(n_stores * n_days), n_days)
    kind, region = rng.integers(0, 3, n_stores)[store], rng.integers(0, 4, n_stores)[store]
    distance = np.where(rng.random(n_stores) < 0.33, np.nan, rng.lognormal(7, 1, n_stores).round())
    weekday, week = dates.day_of_week.to_numpy()[day], day // 7
    promo = (weekday < 5) & (week % 2 == 0) & (rng.random((n_stores, n_days // 7 + 1)) < 0.8)[store, week]
    holiday = np.array([(date.month, date.day) in HOLIDAYS for date in dates])
    rush = np.array([holiday[number + 1 : number + 6].any() for number in range(n_days)])
    school = ((dates.isocalendar().week.to_numpy()[day] + 2 * region) % 13) < 2
    by_weekday = rng.normal(0, 0.15, (3, 7))
    nearness = np.nan_to_num(0.1 * np.log(distance / 1000), nan=0.1)
    expected = (
        rng.normal(8.5, 0.3, n_stores)[store] + nearness[store] + 0.03 * day / 365
        + 0.12 * np.sin(2 * np.pi * (dates.day_of_year.to_numpy()[day] - 60) / 365.25)
        + by_weekday[kind, weekday] + promo * np.array([0.15, 0.3, 0.22])[kind]
        + 0.06 * school - 0.4 * holiday[day] + 0.18 * rush[day]
    )  # fmt: skip
    return pd.DataFrame(
        {
            "Store": [f"store {number}" for number in store],
            "Date": dates[day],
            "Kind": np.array(["city", "mall", "village"])[kind],
            "Region": np.array(["north", "east", "south", "west"])[region],
            "CompetitionDistance": distance[store],
            "Promo": promo.astype(np.int8),
            "Holiday": holiday[day].astype(np.int8),
            "School": school.astype(np.int8),
            "Sales": np.where(day < DAYS, np.exp(expected + rng.normal(0, NOISE, len(store))), np.nan),
            "Expected": np.exp(expected),
        }
    )


def run(out: Path, *, seed: int = 42, scale: float = 1.0) -> Section:
    """Forecast the last six weeks and compare the error with that of the sales without noise."""
    file = write_table(simulate(max(4, int(50 * scale)), seed), out / "data" / "sales.feather")
    raw = read_table(file)
    df = add_datepart(add_elapsed(raw, ["Holiday", "Promo"], "Date", "Store"), "Date", drop=False)
    df = df[df["Sales"].notna()].reset_index(drop=True)
    rows = last_days_split(df, "Date", HELD_OUT)
    features = df[[*CATEGORIES, *NUMBERS]]
    data = ColumnarModelData.from_data_frame(
        out,
        rows,
        features,
        df["Sales"],
        CATEGORIES,
        bs=512 if scale > 0.3 else 128,
        target_transform="log",
        seed=seed,
    )
    held_out, train = df.iloc[rows], df.drop(df.index[rows])
    logs = np.log(train["Sales"])
    learn = data.get_learner(
        szs=[200, 100],
        y_range=(float(logs.min()) - 0.5, float(logs.max()) + 0.5),
        metrics=[exp_rmspe],
        wd=0.3,
        seed=seed,
    )
    finder = learn.lr_find()
    learn.fit_one_cycle(10, 1e-2)

    floor = rmspe(held_out["Expected"], held_out["Sales"])
    usual = train.groupby(["Store", "Dayofweek", "Promo"])["Sales"].median().rename("usual").reset_index()
    guess = held_out.merge(usual, how="left", on=["Store", "Dayofweek", "Promo"])["usual"]
    simple = rmspe(guess.fillna(train["Sales"].median()), held_out["Sales"])
    section = Section(
        "Tables",
        f"{len(df):,} days of sales of {df['Store'].nunique()} stores, simulated with"
        " seasons, weekdays, promotions, public"
        f" and school holidays, missing values, and noise of standard deviation {NOISE}"
        " on the log scale; written and read"
        f" as Feather. The last {HELD_OUT} days are forecast.",
    )
    section.metric, section.reached = "exp_rmspe", float(learn.history[-1]["exp_rmspe"])
    section.reference = (
        f"a model that knew the truth {floor:.3f}; store's median by weekday and promotion {simple:.3f}"
    )
    section.expect("below the median's", section.reached < simple)
    section.add_curves(learn, finder)
    section.add_figure("six weeks of one store", _plot_store(held_out, learn.predict()))
    weekdays = learn.embedding("Dayofweek")
    weekdays = weekdays[weekdays.index.isin(range(7))]
    section.add_figure(
        "embedding of the weekday",
        scatter_with_names(
            principal_plane(weekdays.to_numpy()), [WEEKDAYS[int(day)] for day in weekdays.index]
        ),
    )
    section.model = export_and_check(learn, out / "models" / "sales", features.iloc[rows[:200]])
    return section


def _plot_store(held_out: pd.DataFrame, predicted: np.ndarray) -> Figure:
    drawn = figure(7.0, 4.0)
    axis = drawn.add_subplot()
    frame = held_out.assign(Predicted=np.ravel(predicted))
    frame = frame[frame["Store"] == frame["Store"].iloc[0]].sort_values("Date")
    for name, style in (("Sales", "k."), ("Expected", "C1-"), ("Predicted", "C0--")):
        label = {"Expected": "without noise", "Sales": "sales", "Predicted": "predicted"}[name]
        axis.plot(frame["Date"], frame[name], style, label=label)
    axis.set(ylabel="sales")
    axis.tick_params(axis="x", rotation=30)
    axis.legend()
    return drawn

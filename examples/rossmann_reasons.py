"""Why does the network forecast what it forecasts? Importance, dependence, what-if and errors of store sales.

python examples/rossmann_reasons.py --data path/to/data --rows 50000
python examples/rossmann_reasons.py --data path/to/data --model rossmann_out/rossmann.zip
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rossmann_features import CATEGORIES, NUMBERS, SEASON, WEATHER, load_rossmann, log_range

from zoo import load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_tabular import ColumnarModelData, exp_rmspe, last_days_split

GROUPS = {
    "date": ["Year", "Month", "Day", *SEASON],
    "weather": [*WEATHER, "Events"],
    "searches": ["trend", "trend_DE"],
    "promotion": ["Promo", "Promo_fw", "Promo_bw"],
    "standing promotion": ["Promo2Weeks", "Promo2SinceYear", "PromoInterval"],
    "state holidays": [
        "StateHoliday", "StateHoliday_fw", "StateHoliday_bw", "AfterStateHoliday", "BeforeStateHoliday"
    ],
    "school holidays": ["SchoolHoliday", "SchoolHoliday_fw", "SchoolHoliday_bw"],
    "closures": ["AfterLongClosure", "BeforeLongClosure"],
    "competition": ["CompetitionDistance", "CompetitionMonthsOpen", "CompetitionOpenSinceYear"],
    "kind of store": ["StoreType", "Assortment", "State"],
}  # fmt: skip
DAYS = {1: "Mon", 2: "Tue", 3: "Wed", 4: "Thu", 5: "Fri", 6: "Sat", 7: "Sun"}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, help="about this many rows, those of the first stores; all by default"
)
parser.add_argument("--model", type=Path, help="a model that rossmann.py exported; one is trained by default")
parser.add_argument("--epochs", type=int, default=4, help="of that training")
parser.add_argument(
    "--measure", type=int, default=5000, help="measure importance on so many of the held-out rows"
)
parser.add_argument("--out", type=Path, default=Path("rossmann_reasons_out"), help="folder for the plots")


def main() -> None:
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    set_seed(0)
    train, _ = load_rossmann(local_dataset(options.data, "rossmann", "store.csv"), options.rows)
    held_out = last_days_split(train, "Date", 42)
    days = train.iloc[held_out].reset_index(drop=True)
    learn = load_learner(options.model) if options.model else trained(train, held_out, options)

    # Which columns the model relies on; those that say the same are shuffled together.
    started = time.perf_counter()
    importance = learn.importance(days, "Sales", groups=GROUPS, n_rows=options.measure, blocks=days["Date"])
    print(importance, f"measured in {time.perf_counter() - started:.0f} s\n", sep="\n")
    save(importance.plot(), options.out / "importance.png")

    # How the forecast moves with one column.
    for column, names in {"DayOfWeek": DAYS, "CompetitionDistance": None}.items():
        dependence = learn.partial_dependence(column, days, unit="sales")
        print(dependence, end="\n\n")
        save(dependence.plot(names=names), options.out / f"dependence_{column}.png")

    # One day of one store: what if the promotion were off, and what else could move it?
    day = days[days["Promo"] == 1].iloc[0]
    print(f"store {day['Store']} on {day['Date']:%d %B %Y}: what if ...")
    print(learn.what_if(day, {"Promo": [0, 1], "SchoolHoliday": [0, 1]}).round(0).to_string(index=False))
    in_hand = [
        "Promo",
        "DayOfWeek",
        "StateHoliday",
        "SchoolHoliday",
        "CompetitionDistance",
        "Promo2Weeks",
        "Events",
    ]
    others = learn.alternatives(day, days, columns=in_hand, unit="sales")
    print(others, end="\n\n")
    save(others.plot(), options.out / "what_if.png")

    # Errors over time, by kind of store, and the worst days.
    residuals = learn.residuals(days, "Sales", "Date")
    print(residuals, residuals.by_time("week").round(1), residuals.by_group("StoreType").round(1), sep="\n\n")
    shown = ["actual", "forecast", "percent", "Store", "Date", "Promo", "StateHoliday"]
    print(residuals.worst(10)[shown].to_string(index=False, float_format="{:,.0f}".format))
    save(residuals.plot()[0], options.out / "residuals.png")
    save(residuals.plot(where={"Store": day["Store"]})[0], options.out / "residuals_one_store.png")
    print(f"plots: {options.out}")


def trained(train: pd.DataFrame, held_out: Any, options: argparse.Namespace) -> Any:
    """A small network, for a first look; rossmann.py trains a better one."""
    md = ColumnarModelData.from_data_frame(
        options.out, held_out, train, "Sales", CATEGORIES, 512, cont_flds=NUMBERS, target_transform="log"
    )
    y_range = log_range(train["Sales"], held_out)
    learn = md.get_learner(None, None, 0.04, 1, [200, 100], [0.001, 0.01], y_range, metrics=[exp_rmspe])
    learn.fit_one_cycle(options.epochs, 3e-3)
    return learn


def save(axes: Any, path: Path) -> None:
    axes.get_figure().savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""Forecast store sales: all tables joined, a network on 22 categories and 16 numbers, the last two weeks held out.

    python examples/rossmann.py --data path/to/data --rows 50000
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from rossmann_features import CATEGORIES, NUMBERS, boosting_forecast, load_rossmann

from zoo import load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_tabular import ColumnarModelData, exp_rmspe, last_days_split, rmspe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data sets")
    parser.add_argument("--rows", type=int, help="train on about this many rows, those of the first stores (all)")
    parser.add_argument("--epochs", type=int, default=7, choices=(1, 3, 7, 15), help="cycles of 1, 2, 4, 8 epochs")
    parser.add_argument("--bs", type=int, default=512, help="rows per batch")
    parser.add_argument("--fp32", action="store_true", help="train in float32 instead of bfloat16")
    parser.add_argument("--boosting", action="store_true", help="also fit gradient boosting on the same columns")
    parser.add_argument("--out", type=Path, default=Path("rossmann_out"), help="folder for plots, model, forecasts")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    set_seed(0)

    started = time.perf_counter()
    train, test = load_rossmann(local_dataset(options.data, "rossmann", "store.csv"))
    if options.rows is not None:
        stores = train["Store"].unique()[: max(2, round(train["Store"].nunique() * options.rows / len(train)))]
        train, test = train[train["Store"].isin(stores)], test[test["Store"].isin(stores)]
    held_out = last_days_split(train, "Date", 14)
    print(f"{len(train):,} rows with features in {time.perf_counter() - started:.1f} s, {len(held_out):,} held out")

    # data: raw columns; levels, medians and scales are learned from the training rows and kept in the model's file
    md = ColumnarModelData.from_data_frame(
        options.out, held_out, train, "Sales", CATEGORIES, options.bs, test, cont_flds=NUMBERS, target_transform="log"
    )
    # learner: the range of outputs is on the scale of the logarithm
    y_range = (0, 1.2 * float(np.log(train["Sales"].max())))
    learn = md.get_learner(emb_drop=0.04, szs=[1000, 500], drops=[0.001, 0.01], y_range=y_range, metrics=[exp_rmspe])
    if not options.fp32:
        learn.to_bf16()
    print(learn)

    found = learn.lr_find()
    found.plot().get_figure().savefig(options.out / "lr_find.png")
    started = time.perf_counter()
    cycles = (options.epochs + 1).bit_length() - 1
    learn.fit(1e-3, cycles, cycle_len=1, cycle_mult=2)
    print(f"trained in {time.perf_counter() - started:.0f} s")

    # look: predictions come back as sales
    sales, actual = learn.predict_with_targs()
    print(f"network: rmspe {rmspe(sales, actual):.4f} on the last two weeks")
    print("days of the week, as the network places them:", learn.embedding("DayOfWeek").round(2), sep="\n")
    if options.boosting:
        started = time.perf_counter()
        boosted = boosting_forecast(train.drop(train.index[held_out]), train.iloc[held_out])
        print(f"gradient boosting on the same columns: rmspe {rmspe(boosted, actual):.4f}", end=" ")
        print(f"in {time.perf_counter() - started:.0f} s; mean of both: {rmspe((boosted + sales) / 2, actual):.4f}")

    # predict: the coming six weeks, and one raw row with the exported model
    learn.write_submission(options.out / "submission.csv", test["Id"].astype(int), "Id", "Sales")
    learn.export(options.out / "rossmann.zip")
    day = test.iloc[0].to_dict()
    forecast = load_learner(options.out / "rossmann.zip").predict_one(day)
    print(f"store {day['Store']} on {day['Date']:%d %B %Y}: {forecast:,.0f} forecast; all forecasts in {options.out}")


if __name__ == "__main__":
    main()

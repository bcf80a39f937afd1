"""Forecast store sales from 22 categories and 16 numbers of seven joined tables; two weeks are held out.

python examples/rossmann.py --data path/to/data --rows 50000
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from rossmann_features import CATEGORIES, NUMBERS, boosting_forecast, load_rossmann, log_range

from zoo import load_learner, set_seed
from zoo.datasets import local_dataset
from zoo_tabular import ColumnarModelData, exp_rmspe, last_days_split, rmspe

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, help="about this many rows, those of the first stores; all by default"
)
parser.add_argument(
    "--epochs", type=int, default=7, choices=(1, 3, 7, 15), help="cycles of 1, 2, 4, 8 epochs"
)
parser.add_argument("--bs", type=int, default=512, help="rows per batch")
parser.add_argument("--fp32", action="store_true", help="train in float32 instead of bfloat16")
parser.add_argument("--boosting", action="store_true", help="gradient boosting on the same columns, too")
parser.add_argument(
    "--out", type=Path, default=Path("rossmann_out"), help="folder for plots, model, forecasts"
)


def main() -> None:
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    set_seed(0)

    started = time.perf_counter()
    train, test = load_rossmann(local_dataset(options.data, "rossmann", "store.csv"), options.rows)
    held_out = last_days_split(train, "Date", 14)
    print(f"{len(train):,} rows joined in {time.perf_counter() - started:.1f} s, {len(held_out):,} held out")

    # Data: raw columns. What is learned about them comes from the training rows and stays with the model.
    md = ColumnarModelData.from_data_frame(
        options.out, held_out, train, "Sales", CATEGORIES, options.bs, test,
        cont_flds=NUMBERS, target_transform="log",
    )  # fmt: skip

    # Learner: the outputs lie in a range of log sales.
    y_range = log_range(train["Sales"], held_out)
    learn = md.get_learner(None, None, 0.04, 1, [1000, 500], [0.001, 0.01], y_range, metrics=[exp_rmspe])
    if not options.fp32:
        learn.to_bf16()
    print(learn)

    # Find a rate, then fit with restarts: cycles of 1, 2 and 4 epochs.
    learn.lr_find().plot().get_figure().savefig(options.out / "lr_find.png")
    started = time.perf_counter()
    learn.fit(1e-3, (options.epochs + 1).bit_length() - 1, cycle_len=1, cycle_mult=2)
    print(f"trained in {time.perf_counter() - started:.0f} s")

    # Look: predictions come back as sales.
    sales, actual = learn.predict_with_targs()
    print(f"network: rmspe {rmspe(sales, actual):.4f} on the last two weeks")
    print("the days of the week, as the network sees them:", learn.embedding("DayOfWeek").round(2), sep="\n")
    if options.boosting:
        started = time.perf_counter()
        boosted = boosting_forecast(train.drop(train.index[held_out]), train.iloc[held_out])
        print(
            f"gradient boosting: rmspe {rmspe(boosted, actual):.4f} in {time.perf_counter() - started:.0f} s"
        )
        print(f"mean of both: rmspe {rmspe((boosted + sales) / 2, actual):.4f}")

    # Predict: the coming six weeks, then one raw row with the exported model.
    learn.write_submission(options.out / "submission.csv", test["Id"].astype(int), "Id", "Sales")
    learn.export(options.out / "rossmann.zip")
    day = test.iloc[0].to_dict()
    forecast = load_learner(options.out / "rossmann.zip").predict_one(day)
    print(f"store {day['Store']} on {day['Date']:%d %B %Y}: {forecast:,.0f}; all forecasts: {options.out}")


if __name__ == "__main__":
    main()

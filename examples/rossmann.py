"""Forecast the sales of 1,115 stores from seven joined tables; some weeks are held out.

Several networks that differ in their random start alone answer together, which is better than any of them.

python examples/rossmann.py --data path/to/data --rows 50000
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rossmann_features import (
    CATEGORIES,
    NUMBERS,
    SPANS,
    boosting_forecast,
    held_out_rows,
    load_rossmann,
    log_range,
)
from torch import nn

from zoo import Ensemble, load_learner, set_seed
from zoo.datasets import local_dataset
from zoo.distributed import write_once
from zoo.training.switches import Precision
from zoo_tabular import ColumnarModelData, TabularLearner, exp_rmspe, rmspe

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, help="about this many rows, those of the first stores; all by default"
)
parser.add_argument("--span", default="last", choices=SPANS, help="the weeks to hold out")
parser.add_argument("--networks", type=int, default=4, help="how many networks answer together")
parser.add_argument("--epochs", type=int, default=5, help="of each network, in one cycle")
parser.add_argument("--rate", type=float, default=8e-3, help="largest rate of the cycle")
parser.add_argument("--bs", type=int, default=512, help="rows per batch")
parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="number format")
parser.add_argument("--boosting", action="store_true", help="gradient boosting on the same columns, too")
parser.add_argument(
    "--out", type=Path, default=Path("rossmann_out"), help="folder for plots, model, forecasts"
)


def make_data(train: pd.DataFrame, span: str, bs: int, test: pd.DataFrame, out: Path) -> ColumnarModelData:
    """Raw columns; what is learned about them comes from the training rows and stays with the model."""
    return ColumnarModelData.from_data_frame(
        out, held_out_rows(train, span), train, "Sales", CATEGORIES, bs, test,
        cont_flds=NUMBERS, target_transform="log",
    )  # fmt: skip


def make_network(
    md: ColumnarModelData, y_range: tuple[float, float], seed: int, precision: Precision = "auto"
) -> TabularLearner:
    """A network for log sales. Its loss grows only linearly for the odd days that nobody could foresee."""
    return md.get_learner(
        emb_drop=0.04, szs=[1000, 500], drops=[0.001, 0.01], y_range=y_range,
        loss_fn=nn.HuberLoss(delta=0.3), metrics=[exp_rmspe], seed=seed, precision=precision,
    )  # fmt: skip


def train_networks(
    md: ColumnarModelData, y_range: tuple[float, float], options: argparse.Namespace
) -> Iterator[tuple[TabularLearner, float]]:
    """The networks one after the other, each with the seconds of training until then."""
    total = 0.0
    for seed in range(options.networks):
        learn = make_network(md, y_range, seed, options.precision)
        started = time.perf_counter()
        learn.fit_one_cycle(options.epochs, options.rate)
        total += time.perf_counter() - started
        yield learn, total


def main() -> None:
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    set_seed(0)

    started = time.perf_counter()
    train, test = load_rossmann(local_dataset(options.data, "rossmann", "store.csv"), options.rows)
    held_out = held_out_rows(train, options.span)
    print(f"{len(train):,} rows joined in {time.perf_counter() - started:.1f} s, {len(held_out):,} held out")
    md = make_data(train, options.span, options.bs, test, options.out)
    y_range = log_range(train["Sales"], held_out)

    # Find a rate, then fit each network in one cycle of the rate.
    finder = make_network(md, y_range, 0)
    print(finder)
    finder.lr_find().plot().get_figure().savefig(options.out / "lr_find.png")
    networks = []
    for learn, seconds in train_networks(md, y_range, options):
        sales, actual = learn.predict_with_targs()
        print(
            f"network {len(networks)}: rmspe {rmspe(sales, actual):.4f} on {options.span}, "
            f"after {seconds:.0f} s"
        )
        networks.append(learn)

    # Look: predictions come back as sales.
    together = Ensemble(networks)
    sales, actual = together.predict_with_targs()
    print(f"{len(networks)} networks together: rmspe {rmspe(sales, actual):.4f}")
    show_worst(train.iloc[held_out].assign(Forecast=sales))
    if options.boosting:
        started = time.perf_counter()
        boosted = boosting_forecast(train.drop(train.index[held_out]), train.iloc[held_out])
        seconds = time.perf_counter() - started
        print(f"gradient boosting: rmspe {rmspe(boosted, actual):.4f} in {seconds:.0f} s")
        print(f"mean of both: rmspe {rmspe((boosted + sales) / 2, actual):.4f}")

    # Predict: the coming six weeks, closed days sell nothing; then one raw row with an exported network.
    forecast = np.where(test["Open"].eq(0), 0.0, together.predict(is_test=True))
    submission = pd.DataFrame({"Id": test["Id"].astype(int), "Sales": forecast}).sort_values("Id")
    file = options.out / "submission.csv"
    write_once(file, lambda: submission.to_csv(file, index=False))  # once, also when several processes train
    networks[0].export(options.out / "rossmann.zip")
    day = test[test["Open"].ne(0)].iloc[0].to_dict()
    answer = load_learner(options.out / "rossmann.zip").predict_one(day)
    print(f"store {day['Store']} on {day['Date']:%d %B %Y}: {answer:,.0f}; all forecasts: {options.out}")


def show_worst(days: pd.DataFrame, n: int = 5) -> None:
    """The days with the largest errors: a few odd ones make much of the whole figure."""
    error = days["Forecast"] / days["Sales"] - 1
    share = np.square(error).nlargest(n).sum() / np.square(error).sum()
    columns = [
        "Store",
        "Date",
        "DayOfWeek",
        "Promo",
        "AfterLongClosure",
        "BeforeLongClosure",
        "Sales",
        "Forecast",
    ]
    worst = days.loc[error.abs().nlargest(n).index, columns].round({"Forecast": 0})
    print(
        f"the {n} worst days make {share:.0%} of the squared errors:", worst.to_string(index=False), sep="\n"
    )


if __name__ == "__main__":
    main()

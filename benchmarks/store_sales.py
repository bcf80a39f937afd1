"""Store sales of held-out weeks, forecast by our networks, by fastai's, and by gradient boosting.

All are judged on the same rows by the root mean square percentage error (rmspe). Our networks, fastai's and
one of the two boosted models (scikit-learn's) take the columns of `examples/rossmann_features.py`; the other
one takes the plain columns of the stores and the calendar. Two spans are held out in turn: the last two
weeks, and 2014-08-01 to 2014-09-17, where the published figure of a network is 0.097.

    python benchmarks/store_sales.py --data path/to/data                  # an hour on two cores
    python benchmarks/store_sales.py --data path/to/data --rows 20000 --epochs 1 --rounds 20
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import print_table, write_result

from zoo import Ensemble, set_seed
from zoo.datasets import local_dataset
from zoo_tabular import rmspe

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import rossmann
from rossmann_features import (
    CATEGORIES,
    NUMBERS,
    SPANS,
    boosting_forecast,
    held_out_rows,
    load_rossmann,
    log_range,
)

PLAIN_CATEGORIES = ["StateHoliday", "StoreType", "Assortment", "PromoInterval", "State"]
PLAIN_NUMBERS = [
    "Store", "DayOfWeek", "Year", "Month", "Day", "Week", "Dayofyear", "Promo", "SchoolHoliday", "Promo2",
    "CompetitionDistance", "CompetitionOpenSinceYear", "CompetitionOpenSinceMonth", "Promo2SinceYear",
    "Promo2SinceWeek",
]  # fmt: skip
KINDS = ("networks", "fastai", "boosting", "plain")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--rows", type=int, help="about this many rows, those of the first stores")
parser.add_argument("--spans", nargs="+", default=list(SPANS), choices=SPANS)
parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
parser.add_argument("--networks", type=int, default=4, help="of ours, that answer together")
parser.add_argument("--epochs", type=int, default=5, help="of each of ours, in one cycle")
parser.add_argument("--rate", type=float, default=8e-3, help="largest rate of ours")
parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of our networks")
parser.add_argument("--peer-epochs", type=int, default=5, help="of fastai's, in one cycle")
parser.add_argument("--peer-rate", type=float, default=3e-3, help="largest rate of fastai's")
parser.add_argument("--rounds", type=int, default=1000, help="of boosting")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def networks(
    train: pd.DataFrame, test: pd.DataFrame, span: str, args: argparse.Namespace, folder: Path
) -> Any:
    """One forecast for each network, and that of all together, with the seconds until then."""
    set_seed(0)
    md = rossmann.make_data(train, span, 512, test, folder)
    y_range = log_range(train["Sales"], held_out_rows(train, span))
    learners, found, seconds = [], {}, 0.0
    for learn, seconds in rossmann.train_networks(md, y_range, args):
        found[f"network {len(learners)}"] = learn.predict_with_targs()[0], seconds
        learners.append(learn)
    found[f"{len(learners)} networks together"] = Ensemble(learners).predict_with_targs()[0], seconds
    return found


def fastai(train: pd.DataFrame, span: str, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    """fastai's tabular learner with the settings of its own lesson on these sales (one cycle)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fastai.callback.all  # noqa: F401 (gives the learner its fits and switches)
        from fastai.losses import MSELossFlat
        from fastai.tabular.core import Categorify, FillMissing, Normalize, TabularPandas
        from fastai.tabular.learner import tabular_learner

        set_seed(0)
        started = time.perf_counter()
        valid = held_out_rows(train, span)
        known = np.setdiff1d(np.arange(len(train)), valid)
        frame = train[[*CATEGORIES, *NUMBERS]].copy()
        frame[NUMBERS] = frame[NUMBERS].astype("float32")
        frame["y"] = np.log(train["Sales"]).astype("float32")
        table = TabularPandas(
            frame, [Categorify, FillMissing, Normalize], list(CATEGORIES), list(NUMBERS), "y",
            splits=(list(known), list(valid)),
        )  # fmt: skip
        loaders = table.dataloaders(bs=512, device="cpu")
        learn = tabular_learner(
            loaders, layers=[1000, 500], y_range=log_range(train["Sales"], valid), loss_func=MSELossFlat(),
            config={"ps": [0.001, 0.01], "embed_p": 0.04},
        )  # fmt: skip
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(args.peer_epochs, args.peer_rate, wd=0.2)
            outputs, _ = learn.get_preds(dl=loaders.valid)
    return np.exp(outputs.squeeze(1).numpy()), time.perf_counter() - started


def boosting(
    train: pd.DataFrame, span: str, args: argparse.Namespace, cats: list[str], numbers: list[str]
) -> tuple[np.ndarray, float]:
    """scikit-learn's gradient boosting on the logarithm of sales."""
    started = time.perf_counter()
    valid = held_out_rows(train, span)
    known = np.setdiff1d(np.arange(len(train)), valid)
    forecast = boosting_forecast(train.iloc[known], train.iloc[valid], args.rounds, cats, numbers)
    return forecast, time.perf_counter() - started


def main() -> None:
    args = parser.parse_args()
    folder = Path(os.path.realpath(local_dataset(args.data, "rossmann", "store.csv")))
    train, test = load_rossmann(folder, args.rows)
    result: dict[str, Any] = {"rows": len(train), "settings": {k: v for k, v in vars(args).items() if k in (
        "networks", "epochs", "rate", "peer_epochs", "peer_rate", "rounds")}, "rmspe": {}}  # fmt: skip
    table = []
    for span in args.spans:
        actual = train["Sales"].to_numpy()[held_out_rows(train, span)]
        found: dict[str, tuple[np.ndarray, float]] = {}
        if "networks" in args.kinds:
            found |= networks(train, test, span, args, args.out)
        if "fastai" in args.kinds:
            found["fastai"] = fastai(train, span, args)
        if "boosting" in args.kinds:
            found["boosting, same columns"] = boosting(train, span, args, CATEGORIES, NUMBERS)
        if "plain" in args.kinds:
            found["boosting, plain columns"] = boosting(train, span, args, PLAIN_CATEGORIES, PLAIN_NUMBERS)
        result["rmspe"][span] = {
            name: {"rmspe": float(rmspe(forecast, actual)), "seconds": round(seconds, 1)}
            for name, (forecast, seconds) in found.items()
        }
        for name, one in result["rmspe"][span].items():
            table.append([span, name, f"{one['rmspe']:.4f}", f"{one['seconds']:.0f} s"])
            print(*table[-1], flush=True)
    print()
    print_table(["held out", "model", "rmspe", "training"], table)
    write_result(args.out, "store_sales", result)


if __name__ == "__main__":
    main()

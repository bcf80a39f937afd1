"""What the row for unknown levels is worth: sales of stores that training never saw.

Every fifth store is left out of training, so its days carry the unknown code of the column "Store". The
same network then forecasts them with its trained unknown row, and with other vectors in its place: zeros, the
mean of the known stores' rows, and random rows such as an untrained table holds. This is done for several
rates of category dropout; the last column shows what a rate costs on known stores, on the last two weeks.

A random row is what an untrained table of embeddings would hold. The row for unknown levels starts at zero,
the middle of the levels, and most of its gain over a random row comes from there; training keeps it up and
confirms it. On 223 left-out stores of 1,115 the log-RMSE was 0.334 trained, 0.334 with zeros, 0.367 with
random rows, and 0.344 for a model without the column "Store".

    python benchmarks/unknown_levels.py --data path/to/data --rows 100000 --rates 0 0.02 0.1
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from report import print_table, write_result

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo_tabular import ColumnarModelData, last_days_split, rmspe

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from rossmann_features import CATEGORIES, NUMBERS, load_rossmann, log_range

RANDOM_ROWS = 5

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, help="about this many rows, those of the first stores; all by default"
)
parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.01, 0.02, 0.05, 0.1, 0.2])
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--hidden", type=int, nargs="+", default=[1000, 500])
parser.add_argument("--seeds", type=int, default=1, help="trainings a rate; medians are shown")
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def train(known: pd.DataFrame, rate: float, args: argparse.Namespace, seed: int) -> Any:
    """A learner that saw all but the last two weeks of the known stores."""
    set_seed(seed)
    held_out = last_days_split(known, "Date", 14)
    md = ColumnarModelData.from_data_frame(
        tempfile.gettempdir(), held_out, known, "Sales", CATEGORIES, 512, cont_flds=NUMBERS,
        target_transform="log", cat_dropout=rate, seed=seed,
    )  # fmt: skip
    y_range = log_range(known["Sales"], held_out)
    learn = md.get_learner(
        None, None, 0.04, 1, args.hidden, 0.01, y_range, device="cpu", metrics=[], progress=False
    )
    learn.fit(1e-3, 1, cycle_len=args.epochs)
    return learn


@torch.no_grad()
def forecast_errors(learn: Any, strange: pd.DataFrame) -> dict[str, float]:
    """rmspe on unknown stores with different vectors in the row for unknown stores."""
    column = learn.data.processor.categories_[0]
    table = learn.model.embeddings.table(0)
    levels = table[1 : len(column.levels) + 1]
    trained = table[column.unknown_code].clone()
    generator = torch.Generator().manual_seed(0)
    actual = strange["Sales"].to_numpy()

    def error(row: torch.Tensor) -> float:
        table[column.unknown_code] = row
        try:
            return float(rmspe(learn.predict_batch(strange), actual))
        finally:
            table[column.unknown_code] = trained

    draws = [error(torch.randn(trained.shape, generator=generator)) for _ in range(RANDOM_ROWS)]
    return {
        "trained row": error(trained),
        "zeros": error(torch.zeros_like(trained)),
        "mean row": error(levels.mean(0)),
        "random rows": statistics.mean(draws),
        "best random": min(draws),
    }


def main() -> None:
    args = parser.parse_args()
    logging.getLogger("zoo_tabular").setLevel(logging.ERROR)
    df, _ = load_rossmann(local_dataset(args.data, "rossmann", "store.csv"), args.rows)
    left_out = df["Store"] % 5 == 0
    known, strange = df[~left_out].reset_index(drop=True), df[left_out].reset_index(drop=True)
    print(f"{len(known):,} rows of {known['Store'].nunique()} known stores, {len(strange):,} of unknown ones")
    found: dict[str, dict[str, float]] = {}
    for rate in args.rates:
        runs, started = [], time.perf_counter()
        for seed in range(args.seeds):
            learn = train(known, rate, args, seed)
            sales, actual = learn.predict_with_targs()
            runs.append({**forecast_errors(learn, strange), "known stores": float(rmspe(sales, actual))})
        found[f"{rate:g}"] = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
        print(f"rate {rate:g}: {time.perf_counter() - started:.0f} s", flush=True)
    heads = list(next(iter(found.values())))
    print("\nrmspe")
    print_table(
        ["cat_dropout", *heads],
        [[rate, *(f"{row[head]:.4f}" for head in heads)] for rate, row in found.items()],
    )
    write_result(
        args.out,
        "unknown_levels",
        {"rows": len(df), "epochs": args.epochs, "seeds": args.seeds, "rmspe": found},
    )


if __name__ == "__main__":
    main()

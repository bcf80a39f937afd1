"""What a network's embeddings give to boosting, a forest and neighbours, as in Guo & Berkhahn 2016.

python examples/rossmann_embeddings.py --data path/to/data --rows 50000

Setting of the paper ("Entity Embeddings of Categorical Variables", tables III and IV): seven columns of the
open days, the last tenth of the days (with --shuffled a random tenth) to test on, 200,000 training rows drawn
at random, log sales learned, mean absolute percentage error (MAPE). Without embeddings the columns are
whole-number codes, as there. Other than there: one network, not the mean of five, with batch norm;
scikit-learn's histogram boosting in place of XGBoost (the store number comes in two columns, since a column
has at most 255 bins); fewer trees in the forest, which tries a third of the columns at a split when there are
41; neighbours by the Euclidean distance, with embeddings scaled as the network reads them; 20,000 test rows
drawn at random.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from zoo import set_seed
from zoo.datasets import local_dataset
from zoo.losses import L1Flat
from zoo_tabular import ColumnarModelData, TableProcessor, plot_embedding, rmspe

WIDTHS = {"Store": 10, "DayOfWeek": 6, "Year": 2, "Month": 6, "Day": 10, "State": 6}
CATEGORIES = list(WIDTHS)
PUBLISHED = {  # MAPE without and with embeddings: table IV (in order of time) and III (shuffled) of the paper
    False: {
        "neighbours": (0.290, 0.116), "forest": (0.158, 0.108), "boosting": (0.152, 0.115),
        "network": (0.101, 0.093),
    },
    True: {
        "neighbours": (0.315, 0.099), "forest": (0.167, 0.089), "boosting": (0.122, 0.071),
        "network": (0.070, 0.070),
    },
}  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of the data")
parser.add_argument(
    "--rows", type=int, help="about this many rows, those of the first stores; all by default"
)
parser.add_argument("--sample", type=int, default=200_000, help="training rows drawn at random")
parser.add_argument("--test-rows", type=int, default=20_000, help="test rows drawn at random")
parser.add_argument("--shuffled", action="store_true", help="test on a random tenth, not on the last days")
parser.add_argument("--epochs", type=int, default=10, help="of the network")
parser.add_argument("--rounds", type=int, default=400, help="of boosting")
parser.add_argument("--trees", type=int, default=30, help="of the forest")
parser.add_argument(
    "--out", type=Path, default=Path("rossmann_embeddings_out"), help="folder for the drawings"
)


def main() -> None:
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    set_seed(0)
    folder = local_dataset(options.data, "rossmann", "store.csv")
    train, test = split(read_days(folder, options.rows), options)
    print(f"{len(train):,} rows to train on, {len(test):,} to test on")

    # The network: log sales, bounded from above by the training rows, absolute errors.
    md = ColumnarModelData.from_data_frames(
        options.out,
        train,
        test,
        "Sales",
        "Sales",
        CATEGORIES,
        512,
        cont_flds=["Promo"],
        target_transform="log",
    )
    sizes = [
        (levels, WIDTHS[name]) for name, (levels, _) in zip(CATEGORIES, md.embedding_sizes(), strict=True)
    ]
    y_range = (0.0, 1.1 * float(np.log(train["Sales"].max())))
    learn = md.get_learner(sizes, None, 0.0, 1, [1000, 500], 0.0, y_range, loss_fn=L1Flat())
    started = time.perf_counter()
    learn.fit_one_cycle(options.epochs, 3e-3)
    print(f"network trained in {time.perf_counter() - started:.0f} s")

    # The others: whole-number codes, or embeddings in their place.
    table = []
    for name in ("neighbours", "forest", "boosting"):
        for embedded in (False, True):
            if embedded:  # distances as the network reads them; trees need no more than the vectors
                features = learn.embedding_transformer(as_read=name == "neighbours")
            else:
                features = Codes(split_store=name == "boosting")
            model = make_pipeline(features, *other_model(name, embedded, options))
            started = time.perf_counter()
            sales = np.exp(model.fit(train, np.log(train["Sales"])).predict(test))
            seconds = time.perf_counter() - started
            table.append((name, embedded, *errors(sales, test), seconds))
    table.append(("network", True, *errors(learn.predict(), test), np.nan))
    report(pd.DataFrame(table, columns=["model", "embeddings", "MAPE", "RMSPE", "seconds"]), options.shuffled)

    states = pd.read_csv(folder / "external" / "combined" / "state_names.csv").set_index("State")["StateName"]
    drawings = {
        "State": {"names": states.rename({"NI": "HB,NI"}).to_dict()},
        "DayOfWeek": {"names": dict(enumerate(DAYS, 1)), "connect": True},
        "Month": {"names": dict(enumerate(MONTHS, 1)), "connect": True},
        "Day": {"connect": True},
    }
    for column, how in drawings.items():
        for of in ("vectors", "answers"):
            axes = plot_embedding(learn, column, of=of, **how)
            axes.get_figure().savefig(options.out / f"{column}_{of}.png", dpi=120)
    print(f"drawings of {', '.join(drawings)}: {options.out}")


def read_days(folder: Path, rows: int | None) -> pd.DataFrame:
    """Open days with sales in the order of time, with the columns of the paper."""
    days = pd.read_csv(folder / "train.csv", dtype={"StateHoliday": str}, parse_dates=["Date"])
    if rows is not None:
        days = days[days["Store"] <= max(2, round(days["Store"].nunique() * rows / len(days)))]
    days = days[(days["Open"] == 1) & (days["Sales"] > 0)]
    days = days.merge(pd.read_csv(folder / "external" / "store_states.csv"), on="Store")
    for part in ("year", "month", "day"):
        days[part.capitalize()] = getattr(days["Date"].dt, part)
    return days.sort_values("Date", kind="stable")[[*CATEGORIES, "Promo", "Sales"]].reset_index(drop=True)


def split(days: pd.DataFrame, options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train and to test on: nine tenths and one tenth, then a random sample of each."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(days)) if options.shuffled else np.arange(len(days))
    first, last = np.split(order, [int(0.9 * len(days))])
    chosen = [
        np.sort(rng.choice(part, min(most, len(part)), replace=False))
        for part, most in ((first, options.sample), (last, options.test_rows))
    ]
    return days.iloc[chosen[0]], days.iloc[chosen[1]]


class Codes(TableProcessor):
    """Every category as its whole-number code, the promotion as 0 or 1."""

    def __init__(self, split_store: bool = False) -> None:
        super().__init__(CATEGORIES, ["Promo"], na_columns="seen")
        self.split_store = split_store

    def transform(self, df: pd.DataFrame) -> pd.DataFrame:
        codes = super().transform(df)
        if self.split_store:  # so that 255 bins tell all stores apart
            codes["Rest"], codes["Store"] = codes["Store"] % 5, codes["Store"] // 5
        return codes


def other_model(name: str, embedded: bool, options: argparse.Namespace) -> list:
    """The steps after the features."""
    if name == "neighbours":
        return [Normalizer(), KNeighborsRegressor(10, weights="distance", algorithm="brute")]
    if name == "forest":
        tried = 1 / 3 if embedded else 1.0
        return [
            RandomForestRegressor(options.trees, max_depth=35, max_features=tried, n_jobs=-1, random_state=0)
        ]
    return [
        HistGradientBoostingRegressor(
            max_iter=options.rounds, max_leaf_nodes=127, learning_rate=0.1, random_state=0
        )
    ]


def errors(sales: np.ndarray, test: pd.DataFrame) -> tuple[float, float]:
    """Mean absolute and root mean square percentage error."""
    actual = test["Sales"].to_numpy()
    return float(np.mean(np.abs(sales - actual) / actual)), rmspe(sales, actual)


def report(found: pd.DataFrame, shuffled: bool) -> None:
    """Without and with embeddings side by side, beside what was published."""
    wide = found.pivot(index="model", columns="embeddings", values=["MAPE", "RMSPE", "seconds"])
    wide = wide.loc[["neighbours", "forest", "boosting", "network"]]
    wide.columns = [f"{what} {'with' if embedded else 'without'}" for what, embedded in wide.columns]
    for place, how in enumerate(("without", "with")):
        wide[f"published {how}"] = [PUBLISHED[shuffled][name][place] for name in wide.index]
    numbers = {name: "{:.0f}".format if "seconds" in name else "{:.3f}".format for name in wide.columns}
    wide = wide.drop(columns=[name for name in wide.columns if wide[name].isna().all()])
    split_name = "a random tenth of the days" if shuffled else "the last tenth of the days"
    print(f"\nerrors on {split_name}, without and with embeddings ('published': MAPE of Guo & Berkhahn 2016)")
    print(wide.to_string(formatters=numbers, na_rep="-"), end="\n\n")


if __name__ == "__main__":
    main()

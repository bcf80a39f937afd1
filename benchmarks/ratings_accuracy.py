"""Ratings: how near and how fast, beside Surprise, Cornac and fastai.

    PYTHONPATH=peers python benchmarks/ratings_accuracy.py --data path/to/data
    PYTHONPATH=peers python benchmarks/ratings_accuracy.py --speed
    python benchmarks/ratings_accuracy.py --million

A random fifth of MovieLens small is held out, five times (`--seeds`; settings were chosen on other splits),
a tenth of a million made ratings with `--million`. Squared errors are of answers clipped to the scale of
ratings; seconds are those of the fit. `--speed` trains the same dot product with biases in batches of one
size with `zoo` and fastai in turn, and prints how many times as many ratings a second `zoo` takes. Peers that
are not installed are left out.
"""

import argparse
import importlib
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from made_ratings import made

from zoo import Ensemble
from zoo.datasets import local_dataset
from zoo_collab import CollabFilterDataset

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--seeds", type=int, nargs="+", default=[300, 301, 302, 303, 304])
parser.add_argument("--million", action="store_true", help="made ratings instead")
parser.add_argument("--speed", action="store_true", help="ratings a second beside fastai")
parser.add_argument("--bs", type=int, nargs="+", default=[64, 256])
COLUMNS = ("userId", "movieId", "rating")
Answer = tuple[np.ndarray, float]


def ours(fit: Callable[[Any], Any]) -> Callable[[pd.DataFrame, np.ndarray, int], Answer]:
    def answers(frame: pd.DataFrame, held: np.ndarray, seed: int) -> Answer:
        table = CollabFilterDataset.from_data_frame(".", frame, *COLUMNS)
        learn = table.get_learner(50, held, seed=seed, progress=False)
        started = time.perf_counter()
        fit(learn)
        seconds = time.perf_counter() - started
        return learn.data.clip(np.asarray(learn.predict()).reshape(-1)), seconds

    return answers


def both(frame: pd.DataFrame, held: np.ndarray, seed: int) -> Answer:
    """The mean of a fit by gradients and one in closed form, whose errors differ."""
    table = CollabFilterDataset.from_data_frame(".", frame, *COLUMNS)
    by_steps, closed = (table.get_learner(50, held, seed=seed, progress=False) for _ in range(2))
    started = time.perf_counter()
    by_steps.fit_one_cycle(5, 5e-3)
    closed.fit_als()
    seconds = time.perf_counter() - started
    found = Ensemble([by_steps, closed]).predict()
    return by_steps.data.clip(np.asarray(found).reshape(-1)), seconds


def surprise(name: str) -> Callable[[pd.DataFrame, np.ndarray, int], Answer]:
    def answers(frame: pd.DataFrame, held: np.ndarray, seed: int) -> Answer:
        package = importlib.import_module("surprise")
        train = frame.drop(frame.index[held])[list(COLUMNS)]
        scale = package.Reader(rating_scale=(train.rating.min(), train.rating.max()))
        rows = package.Dataset.load_from_df(train, scale).build_full_trainset()
        model = getattr(package, name)(random_state=seed)
        started = time.perf_counter()
        model.fit(rows)
        seconds = time.perf_counter() - started
        asked = frame.iloc[held]
        pairs = zip(asked.userId, asked.movieId, strict=True)
        return np.array([model.predict(user, item).est for user, item in pairs]), seconds

    return answers


def cornac(frame: pd.DataFrame, held: np.ndarray, seed: int) -> Answer:
    package = importlib.import_module("cornac")
    train, asked = frame.drop(frame.index[held]), frame.iloc[held]
    rows = package.data.Dataset.from_uir(
        list(train[list(COLUMNS)].itertuples(index=False, name=None)), seed=seed
    )
    model = package.models.MF(
        k=10, max_iter=25, learning_rate=0.01, lambda_reg=0.02, use_bias=True, seed=seed
    )
    started = time.perf_counter()
    model.fit(rows)
    seconds = time.perf_counter() - started
    users = asked.userId.map(rows.uid_map).fillna(-1).astype(int)
    items = asked.movieId.map(rows.iid_map).fillna(-1).astype(int)
    own = np.append(np.asarray(model.u_factors), np.zeros((1, 10)), axis=0)[users]
    other = np.append(np.asarray(model.i_factors), np.zeros((1, 10)), axis=0)[items]
    biases = np.append(model.u_biases, 0)[users] + np.append(model.i_biases, 0)[items]
    rated = (own * other).sum(1) + biases + model.global_mean
    return np.clip(rated, train.rating.min(), train.rating.max()), seconds


MODELS: dict[str, Callable[[pd.DataFrame, np.ndarray, int], Answer]] = {
    "zoo: fit_one_cycle(5, 5e-3)": ours(lambda learn: learn.fit_one_cycle(5, 5e-3)),
    "zoo: fit_als()": ours(lambda learn: learn.fit_als()),
    "zoo: fit_als(draws=100)": ours(lambda learn: learn.fit_als(draws=100)),
    "zoo: mean of the first two": both,
    "zoo: fit_als(draws=0)": ours(lambda learn: learn.fit_als(draws=0)),
    "Surprise SVD": surprise("SVD"),
    "Surprise SVD++": surprise("SVDpp"),
    "Cornac MF": cornac,
}


def speed(frame: pd.DataFrame, sizes: list[int]) -> None:
    try:
        fastai = importlib.import_module("fastai.collab")
    except ImportError as error:
        print(f"fastai is left out ({error})")
        return
    table = CollabFilterDataset.from_data_frame(".", frame, *COLUMNS)
    for bs in sizes:
        learn = table.get_learner(50, None, bs, seed=0, progress=False)
        loaders = fastai.CollabDataLoaders.from_df(frame[list(COLUMNS)], valid_pct=0.01, bs=bs, seed=0)
        theirs = fastai.collab_learner(loaders, n_factors=50, y_range=(0.05, 5.45))
        fits: dict[str, Callable[[], Any]] = {
            "zoo": partial(learn.fit, 5e-3, 1),
            "fastai": partial(theirs.fit, 1, 5e-3),
        }
        taken: dict[str, list[float]] = {name: [] for name in fits}
        for _ in range(3):
            for name, fit in fits.items():
                with theirs.no_bar(), theirs.no_logging():
                    started = time.perf_counter()
                    fit()
                    seconds = time.perf_counter() - started
                taken[name].append(len(frame) * (1.0 if name == "zoo" else 0.99) / seconds)
        zoo, fast = (statistics.median(taken[name]) for name in ("zoo", "fastai"))
        print(f"bs {bs}: zoo {zoo:,.0f} ratings/s, fastai {fast:,.0f}, {zoo / fast:.1f} times")


def main() -> None:
    args = parser.parse_args()
    if args.million:
        frame, share, seeds = made(), 10, args.seeds[:1]
    else:
        frame, share = pd.read_csv(local_dataset(args.data, "ml-latest-small") / "ratings.csv"), 5
        seeds = args.seeds
    if args.speed:
        speed(frame, args.bs)
        return
    print(f"{len(frame):,} ratings, {len(seeds)} splits; MSE, RMSE, seconds of a fit (median)")
    for name, fit in MODELS.items():
        if args.million and name == "Surprise SVD++":
            print(f"{name}: left out (a million ratings take it ten minutes)")
            continue
        errors, seconds = [], []
        for seed in seeds:
            held = np.random.default_rng(seed).permutation(len(frame))[: len(frame) // share]
            try:
                found, took = fit(frame, held, seed)
            except ImportError as error:
                print(f"{name}: left out ({error})")
                break
            errors.append(float(np.mean((found - frame.rating.to_numpy()[held]) ** 2)))
            seconds.append(took)
        else:
            each = " ".join(f"{error:.4f}" for error in errors)
            mse = float(np.mean(errors))
            print(
                f"{name:28} {mse:.4f} {mse**0.5:.4f} {statistics.median(seconds):7.2f} s   ({each})",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What features of films are worth, on MovieLens small: genres, and the year in the title.

Films without ratings: all ratings of a fifth of the films are held out. How far off are the stars that are
predicted for them, with features and without (which leaves the user's bias)? And which of them will a user
take (pairs without ratings): lists of these films alone, beside lists at random, by how often films of the
same genres and decade are taken, and by how often each is among the held-out pairs, which nobody knows
beforehand.

Films with ratings: the dot product and the network, each with features and without, on a fifth of the ratings
held out at random, and on the latest fifth.

Settings were chosen on the first 70% of the ratings by time, with the seeds 0 and 1; `--early` repeats that.

    python benchmarks/ratings_features.py --data ../shared/data
"""

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from report import print_table, write_result
from torch import nn

from zoo.datasets import local_dataset
from zoo_collab import CollabFilterDataset, CollabLearner, SampledSoftmaxLoss, by_time
from zoo_collab.lists.metrics import METRICS, Judged
from zoo_collab.lists.ranking import rank

PLACES = 10
DOT = {"options": {}, "epochs": 5, "lr": 5e-3}
NET = {"options": {"n_factors": 10, "hidden": [200]}, "epochs": 3, "lr": 1e-2}
LISTS = {"options": {"n_factors": 64}, "epochs": 10, "lr": 3e-2}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="../shared/data")
parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
parser.add_argument("--early", action="store_true", help="the first 70% of the ratings only")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")


def read(root: str, early: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings, and features of all films."""
    folder = local_dataset(root, "ml-latest-small", "ratings.csv")
    ratings, films = (pd.read_csv(folder / name) for name in ("ratings.csv", "movies.csv"))
    films["year"] = films["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    if early:
        ratings = ratings[ratings["timestamp"] <= ratings["timestamp"].quantile(0.7)].reset_index(drop=True)
    return ratings, films[["movieId", "genres", "year"]]


def fitted(
    table: CollabFilterDataset, held: Any, seed: int, how: dict[str, Any], **more: Any
) -> CollabLearner:
    learn = table.get_learner(val_idxs=held, seed=seed, progress=False, **how["options"], **more)
    learn.callbacks = []  # nothing watches the epochs
    learn.fit_one_cycle(how["epochs"], how["lr"])
    return learn


def some_films(ratings: pd.DataFrame, seed: int) -> np.ndarray:
    """Rows of a fifth of the films."""
    films = np.random.default_rng(seed).permutation(np.sort(ratings["movieId"].unique()))
    return np.flatnonzero(ratings["movieId"].isin(films[: len(films) // 5]))


class Fixed(nn.Module):
    """The same list for everybody."""

    def __init__(self, scores: np.ndarray) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.from_numpy(scores).float())

    def all_scores(self, users: torch.Tensor) -> torch.Tensor:
        return self.scores[None].repeat(len(users), 1)


def judge(model: nn.Module, data: Any, held: pd.DataFrame) -> np.ndarray:
    """Recall and NDCG of lists of the films that training has not seen and the held-out rows have."""
    users, films = (
        data.users.encode(held["userId"], warn=False),
        data.items.encode(held["movieId"], warn=False),
    )
    users, films = users[users > 0], films[users > 0]
    allowed = torch.zeros(len(data.items), dtype=torch.bool)
    allowed[films] = True
    known = np.unique(users)
    lists = rank(model, torch.from_numpy(known), PLACES, len(data.items), allowed=allowed).items.numpy()
    judged = Judged.of(lists, np.searchsorted(known, users), films)
    return np.array([METRICS[name](judged, PLACES).mean() for name in ("recall", "ndcg")])


def like_it(data: Any, films: pd.DataFrame) -> np.ndarray:
    """Mean number of training ratings of films of the same genres and decade."""
    about = films.set_index("movieId").reindex(data.items.ids)
    frame = pd.DataFrame({"genre": about["genres"].str.split("|"), "decade": about["year"] // 10})
    frame = frame.assign(count=data.item_counts[1:].numpy(), index=range(1, len(data.items))).explode("genre")
    alike = frame[frame["count"] > 0].groupby(["genre", "decade"])["count"].mean().rename("alike")
    scores = frame.join(alike, on=["genre", "decade"]).groupby("index")["alike"].mean().fillna(0.0)
    return np.concatenate([[0.0], scores.to_numpy()])


def cold(table: CollabFilterDataset, ratings: pd.DataFrame, films: pd.DataFrame, seeds: list[int]) -> dict:
    stars: dict[str, list[float]] = {"without features": [], "with features": []}
    lists: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        held = some_films(ratings, seed)
        for name, kind in zip(stars, (table.without_features(), table), strict=True):
            stars[name].append(fitted(kind, held, seed, DOT).evaluate()["rmse"])
        learn = fitted(table.implicit(), held, seed, LISTS)
        softmax = fitted(table.implicit(), held, seed, LISTS, loss_fn=SampledSoftmaxLoss())
        data, rows = learn.data, ratings.iloc[held]
        taken = np.bincount(data.items.encode(rows["movieId"], warn=False), minlength=len(data.items))
        models = {
            "at random": Fixed(np.random.default_rng(seed).random(len(data.items))),
            "popularity of genres and decade": Fixed(like_it(data, films)),
            "features (BPR)": learn.model,
            "features (sampled softmax)": softmax.model,
            "held-out popularity": Fixed(taken.astype(np.float64)),
        }
        for name, model in models.items():
            lists.setdefault(name, []).append(judge(model, data, rows))
    print("\nratings of films without ratings")
    print_table(["dot product", "rmse"], [[name, told(found)] for name, found in stars.items()])
    print("\nlists of films without ratings")
    rows = [[name, *(told(column) for column in np.array(found).T)] for name, found in lists.items()]
    print_table(["", f"recall@{PLACES}", f"ndcg@{PLACES}"], rows)
    return {"rmse": stars, "lists": {name: np.array(found).tolist() for name, found in lists.items()}}


def warm(table: CollabFilterDataset, seeds: list[int]) -> dict:
    n = len(table)
    splits: dict[str, Callable[[int], Any]] = {
        "at random": lambda seed: np.random.default_rng(seed).permutation(n)[: n // 5],
        "the latest": lambda seed: by_time(0.2),
    }
    plain = table.without_features()
    models = {
        "dot product": (plain, DOT),
        "dot product with features": (table, DOT),
        "network": (plain, NET),
        "network with features": (table, NET),
    }
    found: dict[str, dict[str, list[float]]] = {}
    for name, (kind, how) in models.items():
        found[name] = {
            split: [fitted(kind, rows(seed), seed, how).evaluate()["rmse"] for seed in seeds]
            for split, rows in splits.items()
        }
    print("\nratings of films with ratings, rmse")
    print_table(["", *splits], [[name, *map(told, each.values())] for name, each in found.items()])
    return found


def told(values: Any) -> str:
    """Mean, and in brackets each."""
    return f"{np.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"


def main() -> None:
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger("zoo.collab").setLevel(logging.ERROR)
    started = time.perf_counter()
    ratings, films = read(args.data, args.early)
    columns = ("userId", "movieId", "rating")
    table = CollabFilterDataset(".", ratings, *columns, time_col="timestamp", item_features=films)
    found = {"cold": cold(table, ratings, films, args.seeds), "warm": warm(table, args.seeds)}
    print(f"\n{len(ratings):,} ratings, seeds {args.seeds}, {time.perf_counter() - started:.0f} s")
    write_result(args.out, "ratings_features", {"seeds": args.seeds, "early": args.early, **found})


if __name__ == "__main__":
    main()

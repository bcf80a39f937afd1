"""Lists by our models and by those of `implicit` and Cornac: one split, full rankings, one judge.

    PYTHONPATH=peers python benchmarks/ratings_lists.py --data path/to/data

Each user's latest fifth of MovieLens small is held out. Every model has 64 factors where it has any and else
its library's defaults; the numbers of a peer become a table of scores, which our judge ranks, so that only
the models differ. The interval is twice the standard error of the difference to ours over users. `--million`
takes made pairs instead, a million of them. Before the clock starts a network is trained for one batch: what
torch imports for its first optimizer takes a second.

Peers that are not installed are left out (`pip install implicit cornac`).
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from made_ratings import made
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from zoo.datasets import local_dataset
from zoo_collab import CollabFilterDataset, by_user_time
from zoo_collab.compare import MODELS
from zoo_collab.data.collab_data import CollabData
from zoo_collab.lists.evaluate import HeldOut
from zoo_collab.lists.metrics import METRICS, Judged
from zoo_collab.lists.ranking import rank

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--million", action="store_true", help="made ratings of 6,000 users and 3,700 items")
parser.add_argument("--seed", type=int, default=0)
K = 10


class Scores(nn.Module):
    """A peer's numbers: every item for every user."""

    def __init__(self, of_users: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.of_users = of_users
        self.register_buffer("nothing", torch.zeros(1))

    def all_scores(self, users: Tensor) -> Tensor:
        scores = np.asarray(self.of_users(users.numpy()), dtype=np.float32)
        return torch.from_numpy(scores)


def products(users: np.ndarray, items: np.ndarray) -> nn.Module:
    users, items = np.asarray(users, np.float32), np.asarray(items, np.float32)
    return Scores(lambda rows: users[rows] @ items.T)


def matrix(data: CollabData) -> csr_matrix:
    parts: Any = (np.ones(len(data.seen), np.float32), data.seen.items.numpy(), data.seen.starts.numpy())
    return csr_matrix(parts, shape=(len(data.users), len(data.items)))


def implicit_als(data: CollabData, seed: int) -> nn.Module:
    als = importlib.import_module("implicit.als")
    model = als.AlternatingLeastSquares(factors=64, random_state=seed, num_threads=2)
    model.fit(matrix(data), show_progress=False)
    return products(model.user_factors, model.item_factors)


def implicit_bpr(data: CollabData, seed: int) -> nn.Module:
    bpr = importlib.import_module("implicit.bpr")
    model = bpr.BayesianPersonalizedRanking(factors=64, random_state=seed, num_threads=2)
    model.fit(matrix(data), show_progress=False)
    return products(model.user_factors, model.item_factors)


def implicit_neighbours(data: CollabData, seed: int) -> nn.Module:
    neighbours = importlib.import_module("implicit.nearest_neighbours")
    model, taken = neighbours.CosineRecommender(K=100), matrix(data)
    model.fit(taken, show_progress=False)
    return Scores(lambda rows: (taken[rows] @ model.similarity).toarray())


def of_cornac(name: str, **options: Any) -> Callable[[CollabData, int], nn.Module]:
    def fit(data: CollabData, seed: int) -> nn.Module:
        cornac = importlib.import_module("cornac")
        rows, items = data.seen.places(torch.arange(len(data.users)))
        triples = [(int(row), int(item), 1.0) for row, item in zip(rows, items, strict=True)]
        train = cornac.data.Dataset.from_uir(triples, seed=seed)
        model = getattr(cornac.models, name)(seed=seed, verbose=False, **options)
        started = time.perf_counter()
        model.fit(train)
        found = np.full((len(data.users), len(data.items)), -1e9, dtype=np.float32)
        columns = np.fromiter((train.iid_map[item] for item in sorted(train.iid_map)), np.int64)
        for user, own in train.uid_map.items():
            scores = np.asarray(model.score(own), dtype=np.float32).reshape(-1)
            found[user, sorted(train.iid_map)] = scores[columns]
        module = Scores(lambda users: found[users])
        module.seconds = time.perf_counter() - started  # type: ignore[assignment]
        return module

    return fit


PAIRS: dict[str, dict[str, Callable[[CollabData, int], nn.Module]]] = {
    "implicit ALS": {"implicit's ALS": implicit_als, "Cornac's WMF": of_cornac("WMF", k=64)},
    "dot product by pairs (BPR)": {"implicit's BPR": implicit_bpr, "Cornac's BPR": of_cornac("BPR", k=64)},
    "item neighbours": {"implicit's cosine": implicit_neighbours},
    "EASE": {"Cornac's EASE": of_cornac("EASE")},
}


def main() -> None:
    args = parser.parse_args()
    if args.million:
        frame = made(args.seed)
        times = np.random.default_rng(args.seed).permutation(len(frame))
        frame = frame.assign(timestamp=times)
    else:
        frame = pd.read_csv(local_dataset(args.data, "ml-latest-small") / "ratings.csv")
    table = CollabFilterDataset(".", frame, "userId", "movieId", time_col="timestamp")
    data = table.get_data(by_user_time(share=0.2), seed=args.seed)
    table.get_learner(2, None, len(frame), progress=False).fit(1e-3, 1)
    held, rows = HeldOut(data), table.given[table.split(by_user_time(share=0.2))[1]]
    print(
        f"{table}\n{held.pairs:,} held-out pairs of {len(held.users):,} users; NDCG@{K}, recall@{K}, seconds"
    )

    def judged(model: nn.Module) -> tuple[np.ndarray, float]:
        lists = rank(model, torch.from_numpy(held.users), K, len(data.items), seen=[data.seen]).items
        found = Judged.of(lists.numpy(), held._rows, held._items, held._worth)
        return METRICS["ndcg"](found, K), float(METRICS["recall"](found, K).mean())

    for name, peers in PAIRS.items():
        started = time.perf_counter()
        model = MODELS[name](table, data, rows, args.seed)
        seconds = time.perf_counter() - started
        ndcg, recall = judged(model)
        print(f"{'ours: ' + name:34} {ndcg.mean():.4f} {recall:.4f} {seconds:7.2f} s")
        for peer, fit in peers.items():
            started = time.perf_counter()
            try:
                other = fit(data, args.seed)
            except ImportError as error:
                print(f"  {peer}: left out ({error})")
                continue
            took = getattr(other, "seconds", time.perf_counter() - started)
            theirs, recall = judged(other)
            apart = theirs - ndcg
            interval = 2 * apart.std(ddof=1) / len(apart) ** 0.5
            print(
                f"  {peer:32} {theirs.mean():.4f} {recall:.4f} {took:7.2f} s"
                f"   ours {-apart.mean():+.4f} +- {interval:.4f}"
            )


if __name__ == "__main__":
    main()

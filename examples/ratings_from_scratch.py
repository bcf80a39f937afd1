"""A recommender from plain modules: from a dot product to a small network, trained by the bare `zoo.fit`.

python examples/ratings_from_scratch.py --data path/to/data

Nothing here knows of ratings but the loaders, which hold two columns of numbers and the stars. Every stage
prints its mean squared error on the held-out rows; always to say the mean gives the first figure. The last
one is what `zoo_collab` has ready, `EmbeddingDotBias`, with the same rates.
"""

import argparse
import os
import time
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor, nn

import zoo
from zoo.datasets import local_dataset
from zoo_collab import EmbeddingDotBias

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--rows", type=int, help="use this many ratings only, drawn at random")
parser.add_argument("--factors", type=int, default=50)
parser.add_argument("--wd", type=float, default=0.5, help="decoupled weight decay of the factors")


class DotProduct(nn.Module):
    """Row by row: how much two vectors point the same way."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return (left * right).sum(-1)


class EmbeddingDot(nn.Module):
    """A vector a user and a film; the rating is their dot product."""

    def __init__(self, n_users: int, n_films: int, n_factors: int) -> None:
        super().__init__()
        self.users, self.films = nn.Embedding(n_users, n_factors), nn.Embedding(n_films, n_factors)
        for table in (self.users, self.films):
            nn.init.uniform_(table.weight, 0, 0.05)
        self.dot = DotProduct()

    def forward(self, users: Tensor, films: Tensor) -> Tensor:
        return self.dot(self.users(users), self.films(films))


class EmbeddingDotPlusBias(EmbeddingDot):
    """Some users like everything, some films are liked by everybody: a number each."""

    def __init__(self, n_users: int, n_films: int, n_factors: int) -> None:
        super().__init__(n_users, n_films, n_factors)
        self.user_bias, self.film_bias = nn.Embedding(n_users, 1), nn.Embedding(n_films, 1)
        for table in (self.user_bias, self.film_bias):
            nn.init.zeros_(table.weight)

    def forward(self, users: Tensor, films: Tensor) -> Tensor:
        return super().forward(users, films) + self.user_bias(users)[:, 0] + self.film_bias(films)[:, 0]


class InRange(nn.Module):
    """Squeezes what another module says between two numbers."""

    def __init__(self, module: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.module, self.low, self.high = module, low, high

    def forward(self, users: Tensor, films: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(self.module(users, films))


class EmbeddingNetwork(nn.Module):
    """Both vectors side by side into a hidden layer."""

    def __init__(self, n_users: int, n_films: int, n_factors: int, n_hidden: int = 20) -> None:
        super().__init__()
        self.users, self.films = nn.Embedding(n_users, n_factors), nn.Embedding(n_films, n_factors)
        for table in (self.users, self.films):
            nn.init.uniform_(table.weight, -0.05, 0.05)
        self.layers = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(2 * n_factors, n_hidden), nn.ReLU(), nn.Linear(n_hidden, 1)
        )

    def forward(self, users: Tensor, films: Tensor) -> Tensor:
        return self.layers(torch.cat([self.users(users), self.films(films)], -1))[:, 0]


def stages(sizes: tuple[int, int, int], mean: float) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules, each from the same random numbers."""
    low, high = 0.05, 5.45  # half a star to five, a tenth wider at either end
    for name, make in (
        ("dot product", lambda: EmbeddingDot(*sizes)),
        ("with biases", lambda: EmbeddingDotPlusBias(*sizes)),
        ("in the range of ratings", lambda: InRange(EmbeddingDotPlusBias(*sizes), low, high)),
        ("a network", lambda: InRange(EmbeddingNetwork(*sizes), low, high)),
        ("zoo_collab.EmbeddingDotBias", lambda: EmbeddingDotBias(*sizes, y_range=(low, high), mean=mean)),
    ):
        torch.manual_seed(0)
        yield name, make()


def main() -> None:
    args = parser.parse_args()
    path = local_dataset(args.data, "ml-latest-small", marker="ratings.csv")
    ratings = pd.read_csv(path / "ratings.csv")
    if args.rows:
        ratings = ratings.sample(min(args.rows, len(ratings)), random_state=0, ignore_index=True)
    users, user_ids = pd.factorize(ratings["userId"])
    films, film_ids = pd.factorize(ratings["movieId"])
    columns = [torch.from_numpy(values) for values in (users + 1, films + 1)]  # 0 is for nobody
    stars = torch.tensor(ratings["rating"].to_numpy(), dtype=torch.float32)
    held = torch.zeros(len(stars), dtype=torch.bool)
    held[torch.from_numpy(zoo.get_cv_idxs(len(stars)))] = True

    def loader(rows: Tensor, shuffle: bool) -> zoo.TensorLoader:
        parts = [values[rows] for values in (*columns, stars)]
        return zoo.TensorLoader(*parts, bs=256 if shuffle else 8192, shuffle=shuffle, seed=0)

    data, mean = zoo.ModelData(loader(~held, True), loader(held, False)), float(stars[~held].mean())
    print(f"{len(stars):,} ratings, {len(user_ids):,} users, {len(film_ids):,} films")
    print(f"{'always the mean':<28} {float((stars[held] - mean).square().mean()):.4f}")
    for name, model in stages((len(user_ids) + 1, len(film_ids) + 1, args.factors), mean):
        started = time.perf_counter()
        opt = torch.optim.AdamW(model.parameters(), weight_decay=args.wd)
        for rate in (5e-3, 5e-3, 5e-3, 1e-3):
            zoo.set_lrs(opt, [rate])
            rows = zoo.fit(model, data, 1, opt, nn.MSELoss())
        print(f"{name:<28} {rows[-1]['valid_loss']:.4f} {time.perf_counter() - started:6.1f} s", flush=True)


if __name__ == "__main__":
    main()

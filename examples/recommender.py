"""Recommend films: train on star ratings, look at what was learned, recommend, to people who were not in
training as well, tell why, take in new ratings, keep, recommend again.

python examples/recommender.py --data path/to/data --epochs 5
"""

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import pandas as pd

from zoo import get_cv_idxs, load_learner
from zoo.datasets import local_dataset
from zoo_collab import CollabFilterDataset

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
)
parser.add_argument("--rows", type=int, help="use this many ratings only, drawn at random")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=42, help="of the held-out rows and of the training")
parser.add_argument("--out", type=Path, help="folder for the exported model and the plots")


def main() -> None:
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    out = args.out or Path(tempfile.mkdtemp(prefix="recommender-"))
    out.mkdir(parents=True, exist_ok=True)
    path = local_dataset(args.data, "ml-latest-small", marker="ratings.csv")
    ratings, films = pd.read_csv(path / "ratings.csv"), pd.read_csv(path / "movies.csv")
    if args.rows:
        ratings = ratings.sample(min(args.rows, len(ratings)), random_state=args.seed, ignore_index=True)

    table = CollabFilterDataset.from_data_frame(
        out, ratings, "userId", "movieId", "rating", item_titles=films, rating_range=(0.5, 5)
    )
    print(table)
    held_out = get_cv_idxs(len(table), seed=args.seed)
    learn = table.get_learner(50, held_out, bs=256, seed=args.seed)
    print(learn.lr_find())

    started = time.perf_counter()
    learn.fit_one_cycle(args.epochs, 5e-3)
    seconds = time.perf_counter() - started
    print(f"validation MSE {learn.history[-1]['valid_loss']:.4f} after {seconds:.1f} s of training")

    often = min(30, len(ratings) // 1000)  # ratings of a film of which something is known
    biases = learn.item_biases(min_ratings=often)
    print("\nbest films beyond who rated them\n", biases.head(5).to_string(index=False))
    print("\nworst\n", biases.tail(5).to_string(index=False))
    learn.plot_predictions().savefig(out / "predictions.png")
    learn.sched.plot_loss().savefig(out / "losses.png")
    ends = learn.item_extremes(4, components=2, min_ratings=often)
    print("\nwhat the main directions of taste are about")
    for (number, end), rows in ends.groupby(["component", "end"], sort=False):
        print(f"  {number} {end}: {', '.join(rows['title'])}")
    learn.plot_items(60, min_ratings=often).savefig(out / "map.png")
    print(f"\nlike {learn.data.titles[1]}")
    print(learn.similar_items(learn.data.items.ids[0], 5, min_ratings=often).to_string(index=False))

    user = ratings["userId"].iloc[0]
    film = ratings["movieId"].iloc[0]
    print(f"\nuser {user} and film {film}: {learn.predict_one((user, film)):.2f} stars")
    drama = set(films.loc[films["genres"].str.contains("Drama"), "movieId"])
    best = learn.recommend(
        [user], n=5, only=lambda items: items["item"].isin(drama) & (items["n_ratings"] > 20)
    )
    print(best.to_string(index=False))
    print(learn.recommend("somebody new", n=3).to_string(index=False))
    first = learn.recommend(learn.data.users.ids[0], n=1)
    because = learn.why(first["user"].iloc[0], first["item"].iloc[0])
    print(f"\n{because}")
    because.plot().savefig(out / "why.png")

    somebody = ratings[ratings["userId"] == ratings["userId"].mode().iloc[0]].head(20)
    given = dict(zip(somebody["movieId"].tolist(), somebody["rating"].tolist(), strict=True))
    print(f"\nfor somebody of whom {len(given)} ratings are told, in milliseconds")
    print(learn.recommend_for(given, n=5).to_string(index=False))

    others = table.compare(held_out, k=10, models=["popularity", "item neighbours", "implicit ALS"])
    lists = pd.Series(learn.evaluate_ranking(10), name="this model").drop("users").to_frame().T
    print("\nlists of ten, by the held-out pairs: what predicts stars well makes no good lists")
    print(pd.concat([others.table.drop(columns="seconds"), lists]).round(4).to_string())

    new = somebody.assign(userId=ratings["userId"].max() + 1)
    print(f"\n{learn.update(new)}")
    print(learn.recommend(new["userId"].iloc[0], n=3).to_string(index=False))

    learn.export(out / "films.zoo")
    again = load_learner(out / "films.zoo")
    before, after = learn.recommend([user], n=10), again.recommend([user], n=10)
    pd.testing.assert_frame_equal(before, after)
    print(f"\nexported to {out / 'films.zoo'}; the loaded learner recommends the same films")


if __name__ == "__main__":
    main()

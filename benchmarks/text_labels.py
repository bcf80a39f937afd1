"""Film reviews: 500 labels that `learn.suggest` chose against 500 random ones; planted wrong labels found.

Every seed draws a pool of training reviews and begins with 100 random labels. One learner then asks four
times for 100 more by `learn.suggest`, made anew each time; the other gets 400 random ones. Both start from
the same encoder (`--encoder`, by default english-small; `benchmarks/few_labels.py` makes one of unlabelled
reviews) as classifiers do, may be tuned for some epochs (`--epochs`), and are scored on the same test
reviews; beside them the naive Bayes n-grams of `learn.baseline()` on the same labels. Printed for each seed,
then the mean of the differences with its standard error: with few seeds a difference below two of these is
none.

The second part swaps a share of the labels of 2,000 reviews and tells how many of the first 100 of
`learn.suspicious_labels()` are among them.

    python benchmarks/text_labels.py --data DIR [--seeds 5] [--pool 4000] [--test 5000] [--encoder FILE]
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import pandas as pd

from zoo.datasets import local_dataset
from zoo_text import Field, TextClassifierLearner, TextData
from zoo_text.data.padded_batches import TextLoader

START, ROUND, LABELS = 100, 100, 500


def learner(
    args: argparse.Namespace, field: Field, labelled: pd.DataFrame, seed: int
) -> TextClassifierLearner:
    """A classifier trained on some reviews; the vocabulary is the same for all."""
    data = TextData.from_df(
        None, Field.from_state(field.state()), labelled, labelled.head(10), bs=16, seed=seed
    )
    learn = data.get_model(None, pretrained=args.encoder, seed=seed, device=args.device, progress=False)
    if args.epochs:
        learn.fine_tune(args.epochs, 1e-2, clip=0.4)
    return learn


def scores(learn: TextClassifierLearner, test: TextLoader) -> tuple[float, float]:
    """Accuracy of the network, and of the n-grams on the same labels."""
    learn.data.valid_dl = test
    found = learn.baseline()
    return found.learner.metrics["accuracy"], found.metrics["accuracy"]


def compared(args: argparse.Namespace, pool: pd.DataFrame, test: pd.DataFrame, seed: int) -> np.ndarray:
    """Accuracies with random and with suggested labels, of network and n-grams: shape (2, 2)."""
    field = Field.from_pretrained(args.encoder)
    held = TextData.from_df(None, field, pool.head(10), test).valid_dl
    order = np.random.default_rng(seed).permutation(len(pool))
    random = scores(learner(args, field, pool.iloc[order[:LABELS]], seed), held)
    chosen = order[:START]
    while len(chosen) < LABELS:
        learn = learner(args, field, pool.iloc[chosen], seed)
        rest = np.setdiff1d(np.arange(len(pool)), chosen)
        found = learn.suggest(pool["text"].iloc[rest].tolist(), ROUND, seed=seed)
        chosen = np.concatenate([chosen, rest[found["row"]]])
    suggested = scores(learner(args, field, pool.iloc[chosen], seed), held)
    return np.array([random, suggested])


def planted(reviews: pd.DataFrame, share: float, seed: int) -> float:
    """Of the first 100 suspicious labels the share that was swapped."""
    sample = reviews.groupby("label").sample(1000, random_state=seed).sample(frac=1, random_state=seed)
    sample = sample.reset_index(drop=True)
    wrong = np.random.default_rng(seed).choice(2000, int(2000 * share), replace=False)
    sample.loc[wrong, "label"] = np.where(sample.loc[wrong, "label"] == "pos", "neg", "pos")
    data = TextData.from_df(None, Field(), sample, val_idxs=range(400))
    learn = data.get_model(None, 4, 4, 1, device="cpu", progress=False)
    return float(learn.suspicious_labels(100)["index"].isin(wrong).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", default=os.environ.get("ZOO_DATA", "../shared/data"), help="folder of data sets"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=4000, help="reviews to choose among")
    parser.add_argument("--test", type=int, default=5000, help="test reviews")
    parser.add_argument("--epochs", type=int, default=0, help="of fine_tune; 0: as a classifier starts")
    parser.add_argument("--encoder", default="english-small", help="its name, or a file of save_encoder")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    reviews = pd.read_parquet(local_dataset(args.data, "imdb.parquet"))
    train, test = reviews[reviews.split == "train"], reviews[reviews.split == "test"]

    print("accuracy with 500 labels          network            n-grams")
    print("seed  seconds             random  suggested  random  suggested", flush=True)
    differences = []
    for seed in range(args.seeds):
        started = time.perf_counter()
        pool = train.sample(min(args.pool, len(train)), random_state=seed).reset_index(drop=True)
        held = test.sample(min(args.test, len(test)), random_state=seed)
        random, suggested = compared(args, pool, held, seed)
        differences.append(suggested - random)
        row = f"{random[0]:>20.4f}{suggested[0]:>11.4f}{random[1]:>8.4f}{suggested[1]:>11.4f}"
        print(f"{seed:<6}{time.perf_counter() - started:>7.0f}{row}", flush=True)
    table = np.array(differences)
    if len(table) > 1:
        for name, column in zip(("network", "n-grams"), table.T, strict=True):
            error = column.std(ddof=1) / np.sqrt(len(column))
            print(f"{name}: suggested - random {column.mean():+.4f}, standard error {error:.4f}")
    for share in (0.05, 0.1):
        found = [planted(train, share, seed) for seed in range(args.seeds)]
        told = ", ".join(f"{one:.2f}" for one in found)
        print(f"{share:.0%} of 2,000 labels swapped: {told} of the first 100 suspicious ones", flush=True)


if __name__ == "__main__":
    main()
